"""Made-up studies of how long runs take to a target, with a planted critical batch size.

A run's loss depends on its examples over its slowness alone, so that B_crit is the same at every
target. Slowness is the hyperbola, times what its learning rate costs, times luck of trial and lane.
"""

import math

import numpy as np

from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.config.metrics import judged

TRAIN, VAL = judged().train, judged().val

SIZES = (8, 16, 32, 64, 128, 256, 512)
RATES = {  # by the factor between neighbours
  2.0: (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56),
  3.2: (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
}
BUDGET = 102_400
B_RATE = 79  # up to where the best learning rate grows with the batch size
ENDED_WELL = {VAL: 0.5, TRAIN: 0.5}  # no accuracy is asked for here


def quadratic(u):
  """log of the examples at exp(u) times the best rate, over the fewest; infinite where it diverges.

  On a quadratic an update's progress goes as 2x - x^2 (McCandlish et al. 2018, equation 2.6).
  """
  progress = 1 - np.expm1(np.minimum(u, 2.0)) ** 2
  return np.where(progress > 0.05, -np.log(np.maximum(progress, 0.05)), np.inf)


def cliff(u):
  """Inversely as small rates, faster beyond the best, divergence from 2.2 times it on."""
  log_cost = np.log((np.exp(-u) + np.exp(2 * u) / 2) / 1.5)
  return np.where(u < math.log(2.2), log_cost, np.inf)


def parabola(u):
  return 0.4 * u * u


def settings(
  random,
  b_crit=200.0,
  trials=3,
  factor=2.0,
  valley=quadratic,
  lane_sd=0.1,
  between_sd=0.0,
  knee=1.0,
  b_rate=B_RATE,
  best=0.6,
  highest=math.inf,
  sizes=SIZES,
  evaluations=32,
  speed=60.0,
):
  """The settings of one study by batch size; `random` draws its luck and where its optima lie.

  b_crit: infinite for perfect scaling. between_sd: by how much its log differs between trials.
  knee: 1 is the hyperbola, more a sharper one, (1 + (B / B_crit)^knee)^(1 / knee) examples.
  factor: between neighbouring learning rates, of which those above `highest` are left out.
  best: the learning rate of the largest batch sizes; its log is uniform over one step of the grid.
  speed: what training reaches, 2 / (1 + speed) at the fastest.
  """
  log_sizes = np.log(sizes)[:, None]
  rates = np.array([rate for rate in RATES[factor] if rate <= highest])
  optimum = math.log(best) + random.uniform(-0.5, 0.5) * math.log(factor)
  optima = optimum - np.log1p(b_rate / np.array(sizes))[:, None]
  own = math.log(b_crit) + between_sd * random.normal(size=trials)
  slow = np.logaddexp(0, knee * (log_sizes - own)) / knee  # (size, trial)
  slow = slow[:, None] + valley(np.log(rates) - optima)[:, :, None]
  slow = slow + lane_sd * random.normal(size=slow.shape) + 0.1 * random.normal(size=trials)
  examples = np.arange(evaluations + 1) * (BUDGET // evaluations)
  with np.errstate(over='ignore'):
    losses = 2 / (1 + speed * examples / BUDGET / np.exp(slow)[..., None])
  return {
    size: [
      Setting(size, rate, tuple(_lane(size, rate, j, one, examples) for j, one in enumerate(runs)))
      for rate, runs in zip(rates.tolist(), of_size, strict=True)
    ]
    for size, of_size in zip(sizes, losses, strict=True)
  }


def _lane(size, rate, trial, losses, examples):
  diverged = losses[-1] == losses[0]  # infinitely slow
  plan = {'batch_size': size, 'learning_rate': rate, 'trial': trial, 'examples': BUDGET}
  rows = [
    {'examples': seen, 'train_loss': loss, 'diverged': diverged, **ENDED_WELL}
    for seen, loss in zip(examples.tolist(), losses.tolist(), strict=True)
  ]
  return LaneHistory(plan, tuple(rows))
