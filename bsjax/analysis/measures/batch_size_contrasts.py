"""Contrasts between batch sizes, with variances estimated from all lanes near the best rates.

Three trials of a difference say little of how much it varies. The lanes around the best learning
rate of each batch size are repetitions, too, once what their trial shares is taken off, and every
batch size keeps a variance of its own (`stats.trial_effects`). Where there are too few lanes for
that, contrasts are taken within trials and nothing is pooled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from bsjax.analysis.measures.contrast import Effect, contrast, effect, name_in
from bsjax.analysis.runs.reading import Reading
from bsjax.stats.estimate import Estimate, Reason, undefined
from bsjax.stats.joint import Family
from bsjax.stats.paired import NO_WIDTH, p_value_of, simultaneous, slope_weights
from bsjax.stats.trial_effects import spreads

# Lanes of other batch sizes, those with a single one aside, that tell the effect of a trial.
FEWEST_OTHERS = 3


class Comparison:
  """The batch sizes that hold a quantity in the same trials, one mean each.

  `out` says why others take no part. A reading without re-estimated values takes part with the
  plain ones, as a model without BatchNorm has one kind.
  """

  def __init__(self, read: Mapping[int, Reading], quantity: str):
    self.quantity = quantity
    names = {size: name_in(reading, quantity) for size, reading in sorted(read.items())}
    most = max((len(reading.trials) for reading in read.values()), default=0)
    self.out: dict[int, Reason] = {}
    for size, name in names.items():
      if why := _problem(read[size], name, most):
        self.out[size] = why
    self.readings = {size: read[size] for size in names if size not in self.out}
    self._names = [names[size] for size in self.readings]
    self.total = len(read)

  @property
  def sizes(self) -> tuple[int, ...]:
    return tuple(self.readings)

  @cached_property
  def means(self) -> Float[np.ndarray, ' size']:
    """The mean over trials of each batch size."""
    both = zip(self.readings.values(), self._names, strict=True)
    return np.array([reading.values[name].mean() for reading, name in both])

  def contrast(self, weights: Float[np.ndarray, ' size'], confidence: float = 0.95) -> Effect:
    """A weighted sum of the batch sizes' means; the weights add up to 0."""
    paired = contrast(self.readings.values(), weights, self.quantity)
    if paired is None:
      return Effect(undefined('sizes_share_no_trial'), sizes=self.sizes)
    within = effect(paired, confidence)
    if self.variances is None or within.interval.low is None:
      return within._replace(sizes=self.sizes)
    variance, df = self._error(weights)
    estimate = within.interval
    half = float(stdtrit(df, (1 + confidence) / 2)) * math.sqrt(variance)
    ends = {'low': estimate.value - half, 'high': estimate.value + half, 'df': df}
    low, high = float(paired.low.mean()), float(paired.high.mean())
    return Effect(replace(estimate, **ends), low - half, high + half, self.sizes)

  def slope(self, confidence: float = 0.95) -> Effect:
    """The change per doubling of the batch size, by least squares."""
    if len(self.sizes) < 2:
      few = undefined('too_few_batch_sizes', readable=len(self.sizes), of=self.total)
      return Effect(few, sizes=self.sizes)
    return self.contrast(slope_weights(self.sizes), confidence)

  def difference(self, first: int, second: int, confidence: float = 0.95) -> Effect:
    """The first batch size less the second."""
    return self.contrast(self._pair(first, second), confidence)

  @cached_property
  def pairs_and_slope(self) -> Joint:
    """All pairs of batch sizes and the slope over them, as one family."""
    weights = [self._pair(*pair) for pair in itertools.combinations(self.sizes, 2)]
    if len(self.sizes) > 2:
      weights.append(slope_weights(self.sizes))
    return Joint(self, weights)

  def _pair(self, first: int, second: int) -> Float[np.ndarray, ' size']:
    return np.array([float(size == first) - float(size == second) for size in self.sizes])

  @cached_property
  def variances(self) -> tuple[np.ndarray, np.ndarray] | None:
    """The variance of each batch size's mean, trial effects aside, and its degrees of freedom.

    The doubt about its best learning rate counts. None where there are too few lanes or trials to
    tell.
    """
    readings = list(self.readings.values())
    lanes = [reading.lanes[name] for reading, name in zip(readings, self._names, strict=True)]
    several = [len(group) if len(group) > 1 else 0 for group in lanes]
    if len(lanes) < 2 or len({reading.trials for reading in readings}) > 1:
      return None
    trials = len(readings[0].trials)
    if trials < 2 or sum(several) - max(several) < FEWEST_OTHERS:
      return None
    spread = spreads(lanes, [reading.weights for reading in readings])
    variances = np.array([one.variance for one in spread])
    if not (np.sqrt(variances) > NO_WIDTH).all():
      return None
    moved = [reading.moved.get(name) for reading, name in zip(readings, self._names, strict=True)]
    of_rates = np.array([0.0 if one is None else one.var(ddof=1) for one in moved])
    df = np.array([one.df for one in spread])
    both = variances + of_rates
    # Satterthwaite's, of a sum of variances.
    df = np.square(both) / (np.square(variances) / df + np.square(of_rates) / (trials - 1))
    return both / trials, df

  def _error(self, weights: np.ndarray) -> tuple[float, float]:
    """The variance of a contrast and Satterthwaite's degrees of freedom."""
    variances, dfs = self.variances
    parts = np.square(weights) * variances
    return float(parts.sum()), float(np.square(parts.sum()) / (np.square(parts) / dfs).sum())


class Joint:
  """Contrasts of batch sizes whose intervals hold together."""

  def __init__(self, comparison: Comparison, weights: Sequence[Float[np.ndarray, ' size']]):
    self._count = len(weights)
    variances = comparison.variances
    self._family = Family(np.array(weights), *variances) if variances and weights else None

  def confidence(self, joint: float = 0.95) -> float:
    """The confidence of each interval at which all hold together with `joint`."""
    return self._family.confidence(joint) if self._family else simultaneous(self._count, joint)

  def adjusted(self, estimate: Estimate) -> float | None:
    """The p-value of no effect, corrected for the family; None where there is no spread."""
    p = p_value_of(estimate)
    if p is None:
      return None
    most = min(1.0, self._count * p)
    return float(np.clip(self._family.false(p), p, most)) if self._family else most


def _problem(reading: Reading, name: str, most: int) -> Reason | None:
  """Why a reading takes no part in a comparison."""
  if reading.problem:
    return reading.problem
  if len(reading.trials) < most or not reading.trials:
    return Reason('fewer_trials', trials=len(reading.trials), of=most)
  if name not in reading.lanes or not np.isfinite(reading.lanes[name]).all():
    return Reason('trial_not_finite')
  return None
