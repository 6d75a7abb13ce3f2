"""Made-up studies whose truth is known: what is planted, and the noise that hides it.

Accuracies are in points (percent) here and fractions in records. A lane's final accuracy is the
best of its batch size, less what its learning rate costs, plus effects of its trial, of its batch
size within the trial, and its own; each evaluation errs by itself. Training losses are planted
apart: the updates to a target are S_min (1 + B_crit / B) at the best learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

BATCH_SIZES = (8, 16, 32, 64, 128, 256)
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
TRAIN_EXAMPLES, VALIDATION_EXAMPLES, EPOCHS, EVALUATIONS = 8192, 5000, 10.0, 32
TOTAL = TRAIN_EXAMPLES * EPOCHS
CHANCE = 10.0  # points
RISE = 12.0  # of accuracy over the whole training, in e-folds
APPROACH = 0.6  # power of updates with which accuracy nears its end, where only updates count


@dataclass(frozen=True)
class World:
  """What is true, how lanes scatter, and what spoils runs.

  `worse` is in points, for each batch size. The best learning rate is `optimum` at the smallest
  batch size and grows as batch size to `optimum_power`; with None as B / (B + B_crit), as theory
  has it where B_crit is what `b_crit` says. `valley` is 'parabola' (`curvature` points per squared
  unit of natural log), 'kink' (points per unit) or 'cliff' (a kink that ends at the optimum: above
  it all lanes diverge). With `updates_cost` accuracy depends on updates alone; it is what the
  largest batch size lacks at the end. `stale` is what running BatchNorm statistics cost, in points
  per doubling. With `crossing` the best rate is lower at first, by so much in natural log (of some
  batch sizes alone, where it is given by batch size), and comes to be `optimum` in the end, so that
  curves cross. `confound` is the cause, if any, that explains away what validation accuracy shows.
  """

  name: str
  batch_sizes: tuple[int, ...] = BATCH_SIZES
  learning_rates: tuple[float, ...] = LEARNING_RATES
  worse: tuple[float, ...] = ()
  top: float = 95.0
  crossing: float | Mapping[int, float] = 0.0
  optimum: float = 0.1
  optimum_power: float | None = 0.0
  unaligned: float = 0.0  # natural log; each study draws where its optima lie, over so wide a range
  valley: str = 'parabola'
  curvature: float = 0.2
  updates_cost: float = 0.0
  stale: float = 0.0
  confound: str | None = None
  b_crit: float = 200.0
  slowness: float = 0.2  # of log updates to a target, per squared unit off the best rate
  trial_sd: float = 0.3
  lane_sd: float = 0.3
  evaluation_sd: float = 0.07
  noisier: Mapping[int, float] = field(default_factory=dict)  # factors on lane_sd by batch size
  within_size: float = 0.0  # share of a lane's variance common to its batch size within the trial
  heavy_tails: bool = False
  outliers: float = 0.0  # share of lanes that are 5 lane_sd lower
  diverged_per_trial: int = 0
  unstable_above: float = math.inf  # learning rate
  unstable_share: float = 0.0
  unfinished: int = 0  # lanes that have come half the way

  def best_accuracy(self, size: int) -> float:
    """Of a batch size at its best learning rate, on or off the grid; in points."""
    worse = dict(zip(self.batch_sizes, self.worse, strict=True)) if self.worse else {}
    return self.top - worse.get(size, 0.0) - self.lacking(TOTAL / size, TOTAL)

  def accuracy(self, size: int, learning_rate: float, progress: float = 1.0) -> float:
    """The expected final accuracy at a learning rate, in points; chance where all lanes diverge.

    Before the end of training it is what the rate would come to if the best one stayed as it is.
    """
    if self.beyond_cliff(size, learning_rate):
      return CHANCE
    crossing = self.crossing
    if isinstance(crossing, Mapping):
      crossing = crossing.get(size, 0.0)
    distance = math.log(learning_rate / self.best_rate(size)) + crossing * (1 - progress)
    return self.best_accuracy(size) - self._off(distance)

  def beyond_cliff(self, size: int, learning_rate: float) -> bool:
    return self.valley == 'cliff' and learning_rate > self.best_rate(size) * 1.001

  def best_rate(self, size: int) -> float:
    """The best learning rate of a batch size, on or off the grid."""
    smallest = self.batch_sizes[0]
    if self.optimum_power is None:
      growth = size / (size + self.b_crit) * (smallest + self.b_crit) / smallest
    else:
      growth = (size / smallest) ** self.optimum_power
    return self.optimum * growth

  def placed(self, random: np.random.Generator) -> World:
    """The world of one study: its optima lie somewhere between the rates of the grid."""
    if not self.unaligned:
      return self
    moved = self.optimum * math.exp(self.unaligned * (random.random() - 0.5))
    return replace(self, optimum=moved, unaligned=0.0)

  def at_equal_updates(self, size: int) -> float:
    """Where a batch size stands, at its best rate, after all updates of the largest; in points."""
    examples = size * TOTAL / max(self.batch_sizes)
    if self.updates_cost:
      return self.best_accuracy(size) + self.lacking(TOTAL / size, TOTAL) - self.updates_cost
    best = self.best_accuracy(size)
    return CHANCE + (best - CHANCE) * float(risen(np.array(examples / TOTAL)))

  def truth(self) -> Truth:
    """What verdicts are held against."""
    best = {size: self.best_accuracy(size) for size in self.batch_sizes}
    at_updates = {size: self.at_equal_updates(size) for size in self.batch_sizes}
    # Without a confound what is shown at equal examples is an effect of the batch size itself.
    return Truth(best, {'epochs': best, 'updates': at_updates}, self.confound, self.b_crit)

  def _off(self, distance: float) -> float:
    """Points lost at a distance from the best log learning rate."""
    return self.curvature * (distance**2 if self.valley == 'parabola' else abs(distance))

  def lacking(self, updates: float, total: float) -> float:
    """Points that accuracy lacks after so many updates, where only updates count."""
    fewest = total / max(self.batch_sizes)
    return self.updates_cost * (fewest / updates) ** APPROACH if self.updates_cost else 0.0


class Truth(NamedTuple):
  """`best` accuracy of each tuned batch size, the same at equal values of each clock, in points."""

  best: Mapping[int, float]
  at_clock: Mapping[str, Mapping[int, float]]
  confound: str | None = None
  b_crit: float = math.inf

  def slope(self, clock: str) -> float:
    """Points per doubling of the batch size; zero where only rounding errors are left."""
    values = self.at_clock[clock]
    slope = np.polyfit(np.log2(list(values)), list(values.values()), 1)[0]
    return float(slope) if abs(slope) > 1e-9 else 0.0


def risen(progress: Float[np.ndarray, '*evaluation']) -> Float[np.ndarray, '*evaluation']:
  """The share of its way that accuracy has gone at a share of the training."""
  return -np.expm1(-RISE * progress) / -math.expm1(-RISE)
