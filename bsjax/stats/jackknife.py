"""The jackknife: the spread of a statistic from its values with one observation left out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from bsjax.stats.estimate import Estimate

NOTHING = Estimate(None)


def pseudo_values(
  whole: Float[np.ndarray, '*statistic'], without: Float[np.ndarray, '*statistic n']
) -> Float[np.ndarray, '*statistic n']:
  """n `whole` - (n - 1) `without`, one for each observation left out (Tukey 1958).

  They vary as independent observations whose mean is the statistic would.
  """
  n = without.shape[-1]
  return n * whole[..., None] - (n - 1) * without


def log_jackknife(
  statistic: Callable[[Bool[np.ndarray, ' trial']], float],
  n: int,
  fewest: int,
  confidence: float = 0.95,
) -> Estimate:
  """The log of a positive statistic of n trials, with Student's interval of its pseudo-values.

  `statistic` takes a mask of the trials to use, and needs `fewest`: with no more there is no
  interval. There is no value where it is not positive. For the mean of a spread over few trials the
  log keeps close to 95%, the value itself does not (docs/analysis.md has the simulation).
  """
  if n < fewest:
    return NOTHING
  everyone = np.ones(n, dtype=bool)
  whole = _log(statistic(everyone))
  if not math.isfinite(whole):
    return NOTHING
  estimate = Estimate(whole, n=n, confidence=confidence)
  if n == fewest:
    return estimate
  without = np.array([_log(statistic(everyone & (np.arange(n) != left))) for left in range(n)])
  if not np.isfinite(without).all():
    return estimate
  error = float(pseudo_values(np.array(whole), without).std(ddof=1) / math.sqrt(n))
  half = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
  return Estimate(whole, whole - half, whole + half, n, confidence)


def _log(value: float) -> float:
  return math.log(value) if value > 0 else math.nan
