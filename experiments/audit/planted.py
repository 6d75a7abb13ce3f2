"""How often an audit names the cause that was planted, and claims an effect that is not there.

  python experiments/audit/planted.py --out=planted.json --tables=200 --trials=5

Each table is simulated (`tests/helpers/audit_worlds.py`), written as a CSV and audited as the
command does it. Shares come with their 95% Wilson intervals.
"""

import argparse
import collections
import json
import math
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from helpers import audit_worlds  # noqa: E402

from bsjax.audit import audit  # noqa: E402


def one(name, trials, seed, folder):
  """{'named', 'false', 'code'} of one table."""
  path = Path(folder) / 'table.csv'
  audit_worlds.table(name, trials, (*seed, zlib.crc32(name.encode()))).to_csv(path, index=False)
  answer = audit([path], **audit_worlds.PLANTED[name].said).result['answer']
  return audit_worlds.judged(name, answer) | {'code': answer['code']}


def wilson(count, total):
  z, share = 1.96, count / total
  middle = (share + z * z / (2 * total)) / (1 + z * z / total)
  half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
  return [round(middle - half, 4), round(middle + half, 4)]


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--out', required=True)
  parser.add_argument('--tables', type=int, default=200)
  parser.add_argument('--trials', type=int, default=5)
  parser.add_argument('--worlds', default=','.join(audit_worlds.PLANTED))
  given = parser.parse_args()
  path = Path(given.out)
  result = json.loads(path.read_text()) if path.exists() else {}
  for name in given.worlds.split(','):
    start, found = time.process_time(), []
    with tempfile.TemporaryDirectory() as folder:
      for number in range(given.tables):
        found.append(one(name, given.trials, (given.trials, number), folder))
        if (number + 1) % 20 == 0 or number + 1 == given.tables:
          result[f'{name}, n = {given.trials}'] = row(found, time.process_time() - start)
          path.write_text(json.dumps(result, indent=1) + '\n')
    print(name, row(found, time.process_time() - start), flush=True)


def row(found, seconds):
  """Counts with their intervals, and how many answers of each code there were."""
  result = {'tables': len(found)}
  for key in ('named', 'false'):
    count = sum(bool(each[key]) for each in found)
    result[key] = {'count': count, 'ci95': wilson(count, len(found))}
  result['answers'] = dict(collections.Counter(each['code'] for each in found))
  return result | {'cpu_seconds': round(seconds, 1)}


if __name__ == '__main__':
  main()
