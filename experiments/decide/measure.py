"""How often studies that look again and again decide wrongly, and what looking saves.

  python experiments/decide/measure.py --minutes=7

adds studies to decisions.json, a hundred at a time, until every cell has its number; a cell is a
world, a question, a design (the product's; 'naive', whose looks spend the whole error each; 'fixed'
with one look) and the trials of the first round. Study i has the same runs in all designs of a
world.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is of this checkout

import numpy as np  # noqa: E402
from helpers.decided_studies import ALL, PAIR, World, errors_of, quicken, study  # noqa: E402
from scipy.stats import binomtest  # noqa: E402

from bsjax.config.decide_keys import TREND, Asked  # noqa: E402

OUT = Path(__file__).with_name('decisions.json')
SLOPE = Asked(TREND)
BORDER, NONE = (0.0, 0.5), (0.0, 0.0)  # points: just not alike, and alike
ONE_WORSE = (0.0, 0.0, 0.5)
CHUNK = 100


def cells():
  """{name: (world, question, design, first, most, studies)}, the most needed ones first."""
  table = {}

  def add(world, asked, designs=('product',), first=3, most=30, studies=2000):
    for design in designs:
      key = f'{world.name}, {asked.kind}, {design}, {first} to {most}'
      table[key] = world, asked, design, first, most, studies

  hard = {'lane_sd': 0.6}
  add(World('border', BORDER, **hard), PAIR, ('product', 'naive'))
  add(World('border, t2', BORDER, tails='t2', **hard), PAIR)
  add(World('border, outliers', BORDER, tails='outliers', **hard), PAIR)
  add(World('border, outliers in one', BORDER, tails='outliers in one', **hard), PAIR)
  add(World('border, one noisier', BORDER, noisier=(1.0, 4.0), **hard), PAIR)
  add(World('border, one rate', BORDER, rates=1), PAIR, first=2)
  add(World('border, one rate, t2', BORDER, rates=1, tails='t2'), PAIR, first=2)
  add(World('one of three worse', ONE_WORSE, **hard), ALL, ('product', 'naive'))
  add(World('one of three worse, t2', ONE_WORSE, tails='t2', **hard), ALL)
  add(World('one of three worse, outliers', ONE_WORSE, tails='outliers', **hard), ALL)
  add(World('one of three worse, best noisier', ONE_WORSE, noisier=(4.0, 1.0, 1.0)), ALL)
  add(World('one of three worse', ONE_WORSE, **hard), ALL, first=2)
  add(World('one of three worse, one rate', ONE_WORSE, rates=1), ALL, first=2)
  add(World('three alike', (0.0,) * 3, **hard), ALL, ('product', 'naive'))
  add(World('three alike, t2', (0.0,) * 3, tails='t2', **hard), ALL)
  add(World('six', (0.0, 0.0, 0.0, 0.5, 1.0, 1.5)), ALL)
  add(World('no trend', (0.0,) * 4, **hard), SLOPE, ('product', 'naive'))
  add(World('border, two rates', BORDER, rates=2, **hard), PAIR)
  for most in (4, 6, 8, 10, 12, 14, 16, 20, 24, 30):
    for lost in (NONE, (0.0, 1.0)):
      name = 'alike' if lost == NONE else 'worse by 1'
      add(World(name, lost, **hard), PAIR, ('fixed',), first=most, most=most, studies=1000)
  for lost in (NONE, (0.0, 1.0)):
    name = 'alike' if lost == NONE else 'worse by 1'
    add(World(name, lost, **hard), PAIR, studies=1000)
  return table


def chunk(cell, begin):
  """The outcomes of a hundred studies from `begin` on."""
  world, asked, design, first, most, _ = cell
  errors = errors_of(design, first, most)
  seeds = range(begin, begin + CHUNK)
  return [study(world, asked, errors, np.random.default_rng((20, i))) for i in seeds]


def added(row, outcomes):
  """A row of the table with more studies in it."""
  row = row or {'studies': 0, 'decided': 0, 'wrong': 0, 'trials': 0.0}
  row['studies'] += len(outcomes)
  row['decided'] += sum(one.decided for one in outcomes)
  row['wrong'] += sum(one.wrong for one in outcomes)
  row['trials'] += sum(one.cost for one in outcomes)
  row['wrong_ci95'] = list(binomtest(row['wrong'], row['studies']).proportion_ci(method='wilson'))
  return row


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=7.0)
  parser.add_argument('--only', default='', help='cells whose names hold this')
  flags = parser.parse_args()
  quicken()
  end = time.time() + 60 * flags.minutes
  table = json.loads(OUT.read_text()) if OUT.exists() else {}
  for name, cell in cells().items():
    while flags.only in name and (done := table.get(name, {}).get('studies', 0)) < cell[-1]:
      if time.time() > end:
        return
      table[name] = added(table.get(name), chunk(cell, done))
      OUT.write_text(json.dumps(table, indent=1) + '\n')
    if name in table:
      row = table[name]
      share, trials = row['wrong'] / row['studies'], row['trials'] / row['studies']
      print(f'{name}: {100 * share:.1f}% wrong, {row["decided"]} decided, {trials:.1f} trials')


if __name__ == '__main__':
  main()
