"""What is read of a batch size: one number for each trial, and the lanes that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from bsjax.stats.estimate import Reason

Trials = Float[np.ndarray, ' trial']


class Reading(NamedTuple):
  """The trials of a batch size or setting at one value of a clock.

  `values`, `low` and `high` hold, for each quantity, one number per trial: interpolated, and bounds
  on it from the records around; all three are equal where the value lies on a record. `between` is
  the stretch between those records, of all lanes together, or None on a record. `lanes` holds what
  each value is made of, one row for each setting read together, and `weights` theirs. `problem`
  says why there is nothing to read. `subset` counts the training and validation examples that lanes
  were evaluated on where these are not whole splits.
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


def of_columns(trials: Iterable[Any], columns: Mapping[str, ArrayLike]) -> Reading:
  """A reading of one number for each trial and quantity, that lies on records; None becomes NaN."""
  values = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
  lanes = {name: column[None] for name, column in values.items()}
  return Reading(tuple(trials), values, values, values, lanes=lanes)


def combined(readings: Sequence[Reading], weights: Sequence[float]) -> Reading:
  """The weighted sum of readings of the same trials, with the lanes it is made of."""
  if problem := next((reading.problem for reading in readings if reading.problem), None):
    return Reading(problem=problem)
  if len(readings) == 1:
    return readings[0]
  names = readings[0].values.keys()
  factors = np.array(weights)[:, None]

  def stacked(part: str, name: str) -> np.ndarray:
    return factors * np.stack([getattr(reading, part)[name] for reading in readings])

  ends = {name: (stacked('low', name), stacked('high', name)) for name in names}
  between = [reading.between for reading in readings if reading.between]
  return Reading(
    readings[0].trials,
    {name: stacked('values', name).sum(axis=0) for name in names},
    {name: np.minimum(*pair).sum(axis=0) for name, pair in ends.items()},
    {name: np.maximum(*pair).sum(axis=0) for name, pair in ends.items()},
    (min(low for low, _ in between), max(high for _, high in between)) if between else None,
    {name: np.concatenate([reading.lanes[name] for reading in readings]) for name in names},
    np.array(weights),
    subset=readings[0].subset,
  )
