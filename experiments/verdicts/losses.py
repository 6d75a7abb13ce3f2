"""How often intervals of a validation loss hold what was planted, read in several ways.

  python experiments/verdicts/losses.py

The learning rate of a batch size is chosen by accuracy: a parabola in log rate, 0.2 points per
squared unit, six rates a factor of 3.2 apart, luck of trials and of lanes 0.3 points each. Its loss
need not be least there: `SHAPES` around the best rate, luck 0.1 in log loss each. Read as it is
(logs, with the doubt about the rate), as if that was known, and as a plain sum. Printed per shape
and number of trials: how many of the intervals of the mean, and of the difference of two batch
sizes that are alike, hold the truth; and the plain sums below zero. Seed 0.
"""

import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is that of this checkout

from helpers import curves  # noqa: E402

from bsjax.analysis.measures.contrast import difference  # noqa: E402
from bsjax.analysis.measures.gap import estimate  # noqa: E402
from bsjax.analysis.runs.budgets import at_end  # noqa: E402
from bsjax.analysis.runs.selection import tune  # noqa: E402
from bsjax.config.metrics import Judged, LossEntry, judging  # noqa: E402

RATES = 0.003, 0.01, 0.03, 0.1, 0.3, 1.0
STUDIES, BEST, LOSS = 300, 0.06, 0.02
# Log loss less that at the best rate, by log rate less the best.
SHAPES = {
  'least at the best rate': lambda x: 0.1 * x * x,
  'falls as rate^-0.3': lambda x: -0.3 * x,
  'falls as 1 / rate': lambda x: -x,
  'least at 4.5 times the best rate': lambda x: 0.4 * ((x - 1.5) ** 2 - 1.5**2),
}
PLAIN = Judged(loss=LossEntry('loss'))  # of which no bound is known


def tuned(shape, trials, rng):
  """A batch size at its best learning rate."""
  best = math.log(BEST) + rng.uniform(-0.5, 0.5)
  luck, losses = (
    rng.normal(0, sd, trials) + rng.normal(0, sd, (len(RATES), trials)) for sd in (0.003, 0.1)
  )

  def values(lane, updates):
    place, trial = RATES.index(lane['learning_rate']), lane['trial']
    x = math.log(lane['learning_rate']) - best
    loss = LOSS * math.exp(shape(x) + losses[place, trial])
    return {'val_accuracy': 0.9 - 0.002 * x * x + luck[place, trial], 'val_loss': loss}

  return tune(curves.study([64], RATES, trials, values, evaluations=1)[64])


def readings(setting):
  """As it is, with the rate as if it was known, and as a plain sum with that."""
  with judging(PLAIN):
    plain = at_end(setting)._replace(moved={})
  return at_end(setting), at_end(setting)._replace(moved={}), plain


def measured(shape, trials, rng):
  """Shares: [mean held, difference held] of each way to read, and plain sums below zero."""
  held, below = np.zeros((3, 2)), 0
  truth = LOSS * math.exp(0.1**2)  # of a mean of two lognormal factors
  for _ in range(STUDIES):
    pairs = list(zip(*(readings(tuned(shape, trials, rng)) for _ in range(2)), strict=True))
    for way, pair in enumerate(pairs):
      low, high = estimate(pair[0].repeated('val_loss'), 'val_loss')['ci95']
      interval = difference(*pair, 'val_loss').interval
      held[way] += low <= truth <= high, interval.low <= 0 <= interval.high
    below += bool((pairs[2][0].values['val_loss'] < 0).any())
  return held / STUDIES, below / STUDIES


def main():
  rng = np.random.default_rng(0)
  for name, shape in SHAPES.items():
    for trials in (3, 5, 8):
      held, below = measured(shape, trials, rng)
      parts = '; '.join(f'{mean:.1%}, {pair:.1%}' for mean, pair in held)
      print(f'{name}, n = {trials} ({STUDIES}): {parts}; below zero {below:.1%}', flush=True)


if __name__ == '__main__':
  main()
