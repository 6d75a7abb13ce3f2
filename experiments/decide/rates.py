"""Whole made-up studies that ask where the best learning rates lie: how often intervals hold them.

  python experiments/decide/rates.py --minutes=7

adds studies to rates.json until every world has its number. The best rate lies anywhere
between two rates of the first grid, anew in each study. 'wrong': at some look some interval does
not hold the best rate of its batch size; 'wrong_at_end': at the last look. Where a valley is no
parabola its best rate is still what is planted.
"""

import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is of this checkout

import grown  # noqa: E402
import numpy as np  # noqa: E402
from helpers import rounds  # noqa: E402
from helpers.worlds import World  # noqa: E402

QUESTION = 'best_learning_rate'
BASE = World(
  'parabolas',
  batch_sizes=(16, 32, 64),
  learning_rates=(0.03, 0.1, 0.3),
  optimum_power=0.5,
  curvature=0.5,
  unaligned=float(np.log(3.0)),
)
WORLDS = (
  BASE,
  replace(BASE, name='noisier lanes', lane_sd=0.6),
  replace(BASE, name='t2', heavy_tails=True),
  replace(BASE, name='kinks', valley='kink'),
  replace(BASE, name='flat', curvature=0.2),
)
OUT = Path(__file__).with_name('rates.json')


def outcome(world, seed):
  """(decided, wrong at some look, wrong at the last look, trials, runs) of one study."""
  placed = world.placed(np.random.default_rng((7, seed)))
  found = rounds.study(placed, seed, question=QUESTION)
  looks = [look for look in found.looks if look.known]
  lost = [any(_lost(one, placed) for one in look.known) for look in looks]
  decided = found.last.why == 'decided'
  return decided, any(lost), any(lost[-1:]), found.looks[-1].trials, len(found.plan)


def _lost(one, world):
  low, high, true = one.rate.low, one.rate.high, world.best_rate(one.batch_size)
  return low is not None and not low <= true <= high


def row(outcomes):
  """A row of the table."""
  studies, columns = len(outcomes), list(zip(*outcomes, strict=True))
  counts = {
    name: int(sum(column))
    for name, column in zip(('decided', 'wrong', 'wrong_at_end'), columns, strict=False)
  }
  of_decided = sum(bool(one[0] and one[2]) for one in outcomes)
  intervals = {
    f'{name}_ci95': grown.interval(count, of)
    for name, count, of in (
      ('wrong', counts['wrong'], studies),
      ('wrong_of_decided', of_decided, max(counts['decided'], 1)),
    )
  }
  means = {'trials': float(np.mean(columns[3])), 'runs': float(np.mean(columns[4]))}
  return {'studies': studies, **counts, 'wrong_of_decided': of_decided, **intervals, **means}


if __name__ == '__main__':
  grown.main(__doc__, OUT, WORLDS, outcome, row)
