"""What is read of a batch size: one number for each trial, and the lanes that it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason

Trials = Float[np.ndarray, ' trial']


class Reading(NamedTuple):
  """The trials of a batch size or setting at one value of a clock.

  `values`, `low` and `high` hold, for each quantity, one number per trial: interpolated, and bounds
  on it from the records around; all three are equal where the value lies on a record. `between` is
  the stretch between those records, of all lanes together, or None on a record. `lanes` holds what
  each value is made of, one row for each setting read together, and `weights` theirs: the weighted
  sum varies as the value does, and is it but for what is added up as logs. `problem` says why there
  is nothing to read. `subset` counts the training and validation examples that lanes
  were evaluated on where these are not whole splits. `moved` says by how much each trial moves the
  mean of a quantity with the learning rate at which all are read, which it helped to choose.
  """

  trials: tuple[int, ...] = ()
  values: Mapping[str, Trials] = {}
  low: Mapping[str, Trials] = {}
  high: Mapping[str, Trials] = {}
  between: tuple[float, float] | None = None
  lanes: Mapping[str, Float[np.ndarray, 'setting trial']] = {}
  weights: Float[np.ndarray, ' setting'] = np.ones(1)
  problem: Reason | None = None
  subset: tuple[int, int] | None = None
  moved: Mapping[str, Trials] = {}

  def repeated(self, name: str, part: str = 'values') -> Trials:
    """One number per trial, of the same mean, whose spread holds the doubt about the rate too."""
    return getattr(self, part)[name] + self.moved.get(name, 0.0)


def of_columns(trials: Iterable[Any], columns: Mapping[str, ArrayLike]) -> Reading:
  """A reading of one number for each trial and quantity, that lies on records; None becomes NaN."""
  values = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
  lanes = {name: column[None] for name, column in values.items()}
  return Reading(tuple(trials), values, values, values, lanes=lanes)


class Weights(NamedTuple):
  """How readings at several learning rates are read as one, see `selection.Tuned`."""

  values: Sequence[float]
  slope: Sequence[float] = ()
  shifts: Mapping[Any, float] = {}


def combined(readings: Sequence[Reading], weights: Weights) -> Reading:
  """The weighted sum of readings of the same trials, with the lanes it is made of.

  What is bounded on one side, such as a loss, is added up as the log of its distance from there: a
  parabola's top lies beyond its points, and a sum with negative weights beyond the bound.
  """
  if problem := next((reading.problem for reading in readings if reading.problem), None):
    return Reading(problem=problem)
  if len(readings) == 1:
    return readings[0]
  factors, trials = np.array(weights.values), readings[0].trials
  shifts = np.array([weights.shifts.get(trial, 0.0) for trial in trials])
  slope = np.array(weights.slope or np.zeros(len(factors)))
  added = {
    name: _added(readings, factors, slope, shifts - shifts.mean(), name)
    for name in readings[0].values
  }
  values, low, high, lanes, moved = (
    {name: parts[part] for name, parts in added.items()} for part in range(5)
  )
  between = [reading.between for reading in readings if reading.between]
  return Reading(
    trials,
    values,
    low,
    high,
    (min(low for low, _ in between), max(high for _, high in between)) if between else None,
    lanes,
    factors,
    subset=readings[0].subset,
    moved=moved,
  )


def _added(
  readings: Sequence[Reading],
  weights: Float[np.ndarray, ' setting'],
  slope: Float[np.ndarray, ' setting'],
  shifts: Trials,
  name: str,
) -> tuple[Trials, Trials, Trials, Float[np.ndarray, 'setting trial'], Trials]:
  """The values, low, high, lanes and moved of one quantity of a weighted sum."""
  parts = [[getattr(reading, part)[name] for reading in readings] for part in Reading._fields[1:4]]
  at, low, high = (np.stack(part) for part in parts)
  lanes = np.concatenate([reading.lanes[name] for reading in readings])
  least, most = judged().bounds(name)
  one_sided = math.isfinite(least) != math.isfinite(most)
  side, bound = (1, least) if math.isfinite(least) else (-1, most)
  # A value on the bound has no log: sums then end there.
  as_logs = one_sided and all((side * (x - bound) > 0).all() for x in (at, low, high, lanes))
  if as_logs:
    at, low, high, lanes = (np.log(side * (x - bound)) for x in (at, low, high, lanes))
  ends = weights[:, None] * low, weights[:, None] * high
  sums = [weights @ at, np.minimum(*ends).sum(axis=0), np.maximum(*ends).sum(axis=0)]
  moved = slope @ at.mean(axis=1) * shifts
  if as_logs:
    sums = [bound + side * np.exp(total) for total in sums]
    # To first order what is a sum of logs varies as these do.
    lanes, moved = (side * abs(sums[0] - bound).mean() * x for x in (lanes, moved))
  elif one_sided:
    sums = [np.clip(total, least, most) for total in sums]
  return sums[0], np.minimum(*sums[1:]), np.maximum(*sums[1:]), lanes, moved
