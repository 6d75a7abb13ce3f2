"""Contrasts: weighted sums of readings, each taken within a trial, and what they are on average.

A difference of two settings has the weights 1 and -1, a trend over batch sizes those of its
least-squares slope. Whatever the trials share (easy or hard examples, a lucky initialization)
cancels, and trials are the repetitions. `batch_size_contrasts` learns more from the lanes of a
batch size; here nothing is assumed of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs.reading import Reading
from bsjax.config.metrics import REESTIMATED
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval

DIFFERENCE = np.array([1.0, -1.0])


class Contrast(NamedTuple):
  """A weighted sum in each trial; `low` and `high` bound it for any values between records."""

  trials: tuple[Any, ...]
  at: Float[np.ndarray, ' trial']
  low: Float[np.ndarray, ' trial']
  high: Float[np.ndarray, ' trial']


class Effect(NamedTuple):
  """The mean of a contrast over trials.

  `low` and `high` bound the interval wherever between their records the interpolated values lie;
  they are those of `interval` where nothing was interpolated. `sizes` are the batch sizes of a
  slope that took part.
  """

  interval: Estimate
  low: float | None = None
  high: float | None = None
  sizes: tuple[int, ...] = ()

  def map(self, function: Callable[[float], float]) -> Effect:
    """The effect of a rising function of the value."""
    low, high = (None if end is None else function(end) for end in (self.low, self.high))
    return self._replace(interval=self.interval.map(function), low=low, high=high)


def exact(interval: Estimate) -> Effect:
  """The effect of an interval for which nothing was interpolated."""
  return Effect(interval, interval.low, interval.high)


def contrast(
  readings: Iterable[Reading], weights: Float[np.ndarray, ' reading'], quantity: str
) -> Contrast | None:
  """The weighted sum of a quantity over readings, within each trial that all of them have.

  A reading without re-estimated values of the quantity takes part with the plain ones: a model
  without BatchNorm has one kind. None where a value is missing or not finite in any trial, or where
  the readings have no trial in common.
  """
  readings = list(readings)
  names = [_name(reading, quantity) for reading in readings]
  if not readings or None in names:
    return None
  trials = tuple(sorted(set.intersection(*(set(reading.trials) for reading in readings))))
  if not trials:
    return None
  at, low, high = (
    np.stack([
      _aligned(reading, part, name, trials) for reading, name in zip(readings, names, strict=True)
    ])
    for part in ('values', 'low', 'high')
  )  # fmt: skip
  ends = weights[:, None] * low, weights[:, None] * high
  return Contrast(trials, weights @ at, np.minimum(*ends).sum(0), np.maximum(*ends).sum(0))


def average(contrasts: Sequence[Contrast | None]) -> Contrast | None:
  """The mean of several contrasts within each trial that all have; None where one is missing."""
  if not contrasts or None in contrasts:
    return None
  trials = tuple(sorted(set.intersection(*(set(one.trials) for one in contrasts))))
  if not trials:
    return None
  kept = [[one.trials.index(trial) for trial in trials] for one in contrasts]
  parts = (
    np.mean([part[use] for part, use in zip(column, kept, strict=True)], axis=0)
    for column in list(zip(*contrasts, strict=True))[1:]
  )
  return Contrast(trials, *parts)


def effect(differences: Contrast | None, confidence: float = 0.95) -> Effect:
  """The mean over trials with Student's interval; without a value where there is no contrast."""
  if differences is None:
    return Effect(Estimate(None, confidence=confidence))
  ends = [mean_interval(part, confidence) for part in differences[1:]]
  if ends[0].low is None:
    return Effect(ends[0])
  return Effect(ends[0], min(end.low for end in ends), max(end.high for end in ends))


def difference(first: Reading, second: Reading, quantity: str, confidence: float = 0.95) -> Effect:
  """The mean of the first less the second, within trials."""
  return effect(contrast((first, second), DIFFERENCE, quantity), confidence)


def both_kinds(
  measure: Callable[[str], Effect], readings: Iterable[Reading], quantity: str
) -> tuple[Effect, Effect | None]:
  """A measure of the quantity, and the same under re-estimated statistics where there are any."""
  name = REESTIMATED + quantity
  again = any(name in reading.values for reading in readings)
  return measure(quantity), measure(name) if again else None


def name_in(reading: Reading, quantity: str) -> str:
  """Under which name a reading holds the quantity, if it does: without BatchNorm the plain one."""
  return quantity if quantity in reading.values else quantity.removeprefix(REESTIMATED)


def _name(reading: Reading, quantity: str) -> str | None:
  """Under which name a reading holds the quantity in every trial; None where it does not."""
  name = name_in(reading, quantity)
  known = name in reading.values and np.isfinite(reading.values[name]).all()
  return name if known else None


def _aligned(
  reading: Reading, part: str, name: str, trials: Sequence[Any]
) -> Float[np.ndarray, ' trial']:
  """The values of these trials, in their order."""
  by_trial = dict(zip(reading.trials, reading.repeated(name, part), strict=True))
  return np.array([by_trial[trial] for trial in trials])
