"""Whole made-up studies that go on in rounds, the first with learning rates dropped or without.

  python experiments/decide/halved_rounds.py --minutes=7

adds studies to halved_rounds.json until every world has its number. 'wrong': a false statement at
some look. Runs of the first round are the same in both, up to where they are dropped.
"""

import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is of this checkout

import grown  # noqa: E402
import numpy as np  # noqa: E402
from helpers import decided_studies, rounds  # noqa: E402
from helpers.worlds import World  # noqa: E402

BASE = World(
  'one of three worse',
  batch_sizes=(16, 32, 64),
  learning_rates=tuple(0.0125 * 2**i for i in range(8)),
  worse=(0.0, 0.0, 0.5),
  curvature=0.5,
)
WORLDS = (
  BASE,
  replace(BASE, name='three alike', worse=(0.0,) * 3),
  replace(BASE, name='curves cross at the largest', worse=(0.0,) * 3, crossing={64: np.log(8.0)}),
)
RUNGS = 1 / 4, 1 / 2
OUT = Path(__file__).with_name('halved_rounds.json')


def outcome(world, seed):
  """(decided, wrong, share of the full studies' examples) without and with rungs."""
  found = [rounds.study(world, seed, rungs=rungs) for rungs in ((), RUNGS)]
  return [(*_ended(world, one), _cost(one)) for one in found]


def _ended(world, found):
  truth = decided_studies.World(world.name, world.worse)
  wrong = any(decided_studies.false(claim, truth) for look in found.looks for claim in look.claims)
  return found.last.why == 'decided', wrong


def _cost(found):
  """In runs to their end, also of what was dropped before."""
  return sum(look.lane_examples for look in found.looks) / found.plan[0]['examples']


def row(outcomes):
  """A row of the table."""
  studies, result = len(outcomes), {'studies': len(outcomes)}
  for name, ended in zip(('all', 'dropped'), zip(*outcomes, strict=True), strict=True):
    decided, wrong, cost = zip(*ended, strict=True)
    result[name] = {
      'decided': sum(decided),
      'wrong': sum(wrong),
      'wrong_ci95': grown.interval(sum(wrong), studies),
      'runs': float(np.mean(cost)),
    }
  return result


if __name__ == '__main__':
  decided_studies.quicken()
  grown.main(__doc__, OUT, WORLDS, outcome, row)
