"""Made-up studies that ask for the critical batch size: how often intervals hold the planted one.

  python experiments/decide/critical.py --minutes=7

adds studies to critical.json until every world has its number. 'wrong': at some look the
interval does not hold the planted value; 'wrong_of_decided': at the one that decided.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is of this checkout

import grown  # noqa: E402
import numpy as np  # noqa: E402
from helpers import training_times  # noqa: E402
from helpers.critical_studies import World, quicken, study  # noqa: E402

WORLDS = (
  World('all inside'),
  World('batch sizes end at 64', sizes=(8, 16, 32, 64)),
  World('learning rates a factor of 3 apart', rates=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
  World('learning rates end below', rates=(0.01, 0.02, 0.04, 0.08)),
  World('valleys with a cliff', valley=training_times.cliff),
  World('trials differ by a factor of 1.35', between_sd=0.3),
  World('noisier lanes', lane_sd=0.3),
  World('a sharper knee', knee=1.5),
)
OUT = Path(__file__).with_name('critical.json')


def outcome(world, seed):
  """[decided, wrong at some look, wrong at the last look, rounds, runs, trials] of one study."""
  found = study(world, seed)
  looks = [look.critical for look in found.looks if look.critical and look.critical.low is not None]
  lost = [not one.low <= world.b_crit <= (one.high or np.inf) for one in looks]
  decided = found.last.why == 'decided'
  ends = len(found.looks), found.runs, found.looks[-1].trials
  return [decided, any(lost), any(lost[-1:]), *ends]


def row(outcomes):
  """A row of the table."""
  columns = list(zip(*outcomes, strict=True))
  decided, wrong = sum(columns[0]), sum(columns[1])
  of_decided = sum(one[0] and one[2] for one in outcomes)
  return {
    'studies': len(outcomes),
    'decided': decided,
    'wrong': wrong,
    'wrong_ci95': grown.interval(wrong, len(outcomes)),
    'wrong_of_decided': of_decided,
    'wrong_of_decided_ci95': grown.interval(of_decided, max(decided, 1)),
    **{name: float(np.mean(columns[i])) for i, name in ((3, 'rounds'), (4, 'runs'), (5, 'trials'))},
  }


if __name__ == '__main__':
  quicken()
  grown.main(__doc__, OUT, WORLDS, outcome, row)
