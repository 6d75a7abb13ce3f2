"""Statistics of contrasts within trials: the best against every other, families, trials needed.

The batch sizes of a trial share their initialization and the order of examples, and so what makes a
trial a lucky one. A contrast within the trial is free of it, and trials are its repetitions.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import chdtri, stdtr, stdtrit

from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval

# Below this an interval has no width but for rounding: every trial gave the same number.
NO_WIDTH = 1e-9
MOST_TRIALS = 10_000


class Difference(NamedTuple):
  """The best batch size less another, over trials.

  `interval` belongs to a family that holds with 95% at once; `p_holm` is Holm's adjusted p-value of
  no difference (None where there is no spread to test by). `confidence` is that of one interval.
  """

  best: int | str
  other: int | str
  interval: Estimate
  p_holm: float | None
  confidence: float


def slope_weights(sizes: Sequence[int]) -> Float[np.ndarray, ' size']:
  """What least squares on log2(batch size) multiplies the values by to get their slope."""
  if len(set(sizes)) < 2:
    raise ValueError(f'batch sizes are {list(sizes)}: a slope needs two different ones.')
  x = np.log2(np.asarray(sizes, dtype=np.float64))
  x -= x.mean()
  return x / (x @ x)


def simultaneous(count: int, confidence: float = 0.95) -> float:
  """The confidence of each of several intervals that hold together (Bonferroni)."""
  return 1 - (1 - confidence) / max(1, count)


def against_best(
  values: Mapping[int | str, ArrayLike], confidence: float = 0.95
) -> list[Difference]:
  """The batch size (or rule) of the highest mean against every other.

  `values` are finite, one for each trial in one order.

  The family is that of *all* pairs, not only of those with the best: which one is the best was read
  off the same numbers, and correcting for the pairs with it alone would err more often than stated.
  Intervals: Bonferroni's. p-values: Holm (1979), Scand. J. Statist. 6, 65-70.
  """
  columns = {size: np.asarray(column, dtype=np.float64) for size, column in values.items()}
  _check(columns)
  pairs = list(itertools.combinations(columns, 2))
  if not pairs:
    return []
  p_values = holm([p_value(columns[a] - columns[b]) for a, b in pairs])
  adjusted = {frozenset(pair): p for pair, p in zip(pairs, p_values, strict=True)}
  best = max(columns, key=lambda size: columns[size].mean())
  single = simultaneous(len(pairs), confidence)
  return [
    Difference(
      best,
      other,
      mean_interval(columns[best] - columns[other], single),
      adjusted[frozenset((best, other))],
      single,
    )
    for other in columns
    if other != best
  ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
  """Holm's step-down adjusted p-values; what could not be tested (None) still counts."""
  order = sorted((i for i, p in enumerate(p_values) if p is not None), key=lambda i: p_values[i])
  adjusted: list[float | None] = [None] * len(p_values)
  highest = 0.0
  for rank, i in enumerate(order):
    highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
    adjusted[i] = highest
  return adjusted


def has_no_width(interval: Estimate) -> bool:
  """Whether all trials gave the same number: a split too coarse to see a spread, and no proof."""
  if interval.low is None or interval.high is None:
    return False
  return interval.high - interval.low <= NO_WIDTH


def trials_needed(interval: Estimate, half_width: float, confidence: float = 0.95) -> int | None:
  """How many trials are enough to make half the interval smaller than `half_width`.

  A bound: it holds even where the spread is as large as its own upper 95% limit, which with few
  degrees of freedom is far above the spread found. None where more than MOST_TRIALS would be
  needed, or where there is no spread to go by.
  """
  if interval.low is None or half_width <= 0:
    return None
  df = _df(interval)
  sd = standard_error(interval) * math.sqrt(interval.n) * math.sqrt(df / float(chdtri(df, 0.95)))
  df_per_trial = round(df / (interval.n - 1), 6)

  def enough(n: int) -> bool:
    quantile = float(stdtrit(df_per_trial * (n - 1), (1 + confidence) / 2))
    return quantile * sd / math.sqrt(n) < half_width

  numbers = range(2, MOST_TRIALS + 1)
  first = bisect.bisect_left(numbers, True, key=enough)
  return numbers[first] if first < len(numbers) else None


def p_value_of(interval: Estimate) -> float | None:
  """The two-sided p-value of zero, from the interval; None without a spread."""
  if interval.low is None or has_no_width(interval):
    return None
  return 2 * float(stdtr(_df(interval), -abs(interval.value) / standard_error(interval)))


def _df(interval: Estimate) -> float:
  return float(interval.n - 1 if interval.df is None else interval.df)


def standard_error(interval: Estimate) -> float:
  """The standard error behind an interval."""
  half = (interval.high - interval.low) / 2
  return half / float(stdtrit(_df(interval), (1 + interval.confidence) / 2))


def _check(columns: Mapping[int | str, np.ndarray]) -> None:
  shapes = {size: column.shape for size, column in columns.items()}
  if len(set(shapes.values())) > 1 or any(
    len(shape) != 1 or not shape[0] for shape in shapes.values()
  ):
    raise ValueError(
      f'values have the shapes {shapes}: give one number for each trial, in one order.'
    )
  broken = [size for size, column in columns.items() if not np.isfinite(column).all()]
  if broken:
    raise ValueError(f'values of batch sizes {broken} are not finite: leave them out and say so.')


def p_value(differences: Float[np.ndarray, ' trial']) -> float | None:
  """Student's two-sided p-value of a mean of zero."""
  n = differences.size
  error = differences.std(ddof=1) / math.sqrt(n) if n > 1 else 0.0
  if error <= NO_WIDTH:
    return None
  return 2 * float(stdtr(n - 1, -abs(differences.mean()) / error))
