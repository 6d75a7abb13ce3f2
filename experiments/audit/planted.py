"""How often an audit names the cause that was planted, and claims an effect that is not there.

  python experiments/audit/planted.py --out=experiments/audit/planted.json --tables=200 --trials=5

Each table is simulated (`tests/helpers/audit_worlds.py`), written as a CSV and audited as the
command does it. Shares come with their 95% Wilson intervals. It goes on where the file ends, and
writes the table of the README beside it anew.
"""

import argparse
import collections
import json
import sys
import tempfile
import time
import zlib
from pathlib import Path

from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from helpers import audit_worlds  # noqa: E402

from bsjax.audit import audit  # noqa: E402

KINDS = 'named', 'false'
# What is planted in each world, in the words of the README.
SAID = {
  'real_effect': 'batch sizes 0.5 to 1.5 points worse, the rest alike',
  'only_updates': 'accuracy depends on the number of updates alone',
  'only_stale': 'running statistics (momentum 0.99, said) are to 0.99^updates still the first '
  'ones, which costs 20 points',
  'only_stale_reestimated': 'the same lag, with a column of re-estimated accuracy',
  'only_untuned': 'one rate, which suits one batch size',
  'only_undertrained': 'larger batches go slower, and are cut off',
  'nothing': 'all batch sizes alike',
}


def one(name, trials, seed, folder):
  """{'named', 'false', 'code'} of one table."""
  path = Path(folder) / 'table.csv'
  audit_worlds.table(name, trials, (*seed, zlib.crc32(name.encode()))).to_csv(path, index=False)
  answer = audit([path], **audit_worlds.PLANTED[name].said).result['answer']
  return audit_worlds.judged(name, answer) | {'code': answer['code']}


def wilson(count, total):
  return [round(float(end), 4) for end in binomtest(count, total).proportion_ci(method='wilson')]


def table(result):
  """The rows of the README, from the content of the file: world, named, claimed, answers."""
  lines = []
  for key, cell in result.items():
    name = key.partition(',')[0]
    shares = [
      f'{100 * cell[kind]["count"] / cell["tables"]:.1f} '
      f'[{", ".join(f"{100 * end:.1f}" for end in cell[kind]["ci95"])}] of {cell["tables"]}'
      for kind in KINDS
    ]
    answers = sorted(cell['answers'].items(), key=lambda pair: -pair[1])
    codes = ', '.join(f'{code} {count}' for code, count in answers)
    lines.append(f'| `{name}`: {SAID[name]} | {" | ".join(shares)} | {codes} |')
  return '\n'.join(lines)


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
    key = f'{name}, n = {given.trials}'
    known = result.get(key, row(0, {}, collections.Counter(), 0.0))
    counts = {kind: known[kind]['count'] for kind in KINDS}
    answers, start = collections.Counter(known['answers']), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
      for number in range(known['tables'], given.tables):
        found = one(name, given.trials, (given.trials, number), folder)
        counts = {kind: counts[kind] + bool(found[kind]) for kind in KINDS}
        answers[found['code']] += 1
        if (number + 1) % 10 == 0 or number + 1 == given.tables:
          seconds = known['cpu_seconds'] + time.process_time() - start
          result[key] = row(number + 1, counts, answers, seconds)
          path.write_text(json.dumps(result, indent=1) + '\n')
    print(name, result[key], flush=True)
  readme = path.with_name('README.md')
  if readme.exists():
    head, rule, rest = readme.read_text().partition('|---|---|---|---|\n')
    _, blank, tail = rest.partition('\n\n')
    readme.write_text(head + rule + table(result) + blank + tail)


def row(tables, counts, answers, seconds):
  """Counts with their intervals, and how many answers of each code there were."""
  result = {'tables': tables}
  for kind in KINDS:
    count = counts.get(kind, 0)
    result[kind] = {'count': count, 'ci95': wilson(count, tables) if tables else [0.0, 1.0]}
  return result | {'answers': dict(answers), 'cpu_seconds': round(seconds, 1)}


if __name__ == '__main__':
  main()
