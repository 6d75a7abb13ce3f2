"""Tables of made-up studies that grow by as many studies as there is time for."""

import argparse
import json
import time

from scipy.stats import binomtest

STUDIES = 200


def interval(count, of):
  """Wilson's 95% interval of a share."""
  return list(binomtest(count, of).proportion_ci(method='wilson'))


def main(doc, out, worlds, outcome, row):
  """Adds `outcome(world, seed)` of each world to the file up to `STUDIES`, and prints its rows."""
  parser = argparse.ArgumentParser(description=doc.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=7.0)
  parser.add_argument('--only', default='', help='worlds whose names hold this')
  flags = parser.parse_args()
  end = time.time() + 60 * flags.minutes
  table = json.loads(out.read_text()) if out.exists() else {}
  for world in (world for world in worlds if flags.only in world.name):
    done = table.setdefault(world.name, {'outcomes': []})['outcomes']
    for seed in range(len(done), STUDIES):
      if time.time() > end:
        return
      done.append([*outcome(world, seed)])
      table[world.name] = {'outcomes': done, **row(done)}
      out.write_text(json.dumps(table) + '\n')
  for name, one in table.items():
    print(name, {key: value for key, value in one.items() if key != 'outcomes'})
