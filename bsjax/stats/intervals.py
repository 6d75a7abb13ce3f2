"""Confidence intervals for means, ratios of means and means of ratios, on the host in float64.

The noise scale is a ratio of two means, and so uncertain that the usual normal interval misleads.
Fieller's theorem is exact for normal means and says when the data set no upper bound at all.
Nothing is clamped and nothing is dropped: what is not finite is undefined, with a reason.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from bsjax.stats.estimate import Estimate, Reason, undefined

_LOG_MAX = 600.0  # the factor exp(600) stays far from the largest float64


class PairMoments(NamedTuple):
  """Means of n independent pairs (a, b) and their sample (co)variances, normalised by n - 1."""

  mean_a: float
  mean_b: float
  var_a: float
  var_b: float
  cov: float
  n: int | float


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
  """Student's interval for the mean; a missing or not finite value leaves it undefined."""
  x = np.asarray(values, dtype=np.float64)
  if not x.size or not np.isfinite(x).all():
    return undefined('not_finite' if x.size else 'no_values', x.size)
  mean = float(x.mean())
  if x.size < 2:
    return Estimate(mean, n=x.size, confidence=confidence)
  half = _quantile(confidence, x.size) * float(x.std(ddof=1)) / math.sqrt(x.size)
  return Estimate(mean, mean - half, mean + half, x.size, confidence)


def mean_intervals(
  values: Float[np.ndarray, 'row column'], confidence: float = 0.95
) -> Float[np.ndarray, '3 column']:
  """`mean_interval` of every column, at once: means, then the ends, NaN where one row has none."""
  rows = len(values)
  mean = values.mean(axis=0)
  if rows < 2:
    return np.stack([mean, *[np.full_like(mean, math.nan)] * 2])
  half = _quantile(confidence, rows) * values.std(axis=0, ddof=1) / math.sqrt(rows)
  return np.stack([mean, mean - half, mean + half])


def widened(estimate: Estimate, by: float) -> Estimate:
  """The estimate with an interval that reaches further by so much on either side, if it has one."""
  if not estimate.has_interval:
    return estimate
  return replace(estimate, low=estimate.low - by, high=estimate.high + by)


def pair_moments(numerators: ArrayLike, denominators: ArrayLike) -> PairMoments:
  """The moments of n independent pairs; (co)variances are NaN for one pair, all for none."""
  a = np.asarray(numerators, dtype=np.float64)
  b = np.asarray(denominators, dtype=np.float64)
  if a.ndim != 1 or a.shape != b.shape:
    raise ValueError(
      f'numerators have the shape {a.shape} and denominators {b.shape}: give one pair per '
      'independent observation, as two equally long lists.'
    )
  return weighted_moments(a, b, np.ones(a.size))


def weighted_moments(a: np.ndarray, b: np.ndarray, sizes: np.ndarray) -> PairMoments:
  """Moments over n blocks `(a, b)` such that variance / n is that of the size-weighted mean.

  With equal sizes these are the plain sample moments. Otherwise the sum of squared, weighted
  deviations is scaled to be unbiased where a block's variance goes as one over its size.
  """
  n, weights = a.size, sizes / sizes.sum() if sizes.size else sizes
  if n == 0:
    return PairMoments(*[math.nan] * 5, n=0)
  mean_a, mean_b = float(weights @ a), float(weights @ b)
  if n == 1:
    return PairMoments(mean_a, mean_b, math.nan, math.nan, math.nan, n=1)
  with np.errstate(invalid='ignore'):  # what is not finite stays so, for the interval to report
    da, db = weights * (a - mean_a), weights * (b - mean_b)
  scale = n / (1 - float(weights @ weights))
  variances = (scale * float(product) for product in (da @ da, db @ db, da @ db))
  return PairMoments(mean_a, mean_b, *variances, n=n)


def fieller(numerators: ArrayLike, denominators: ArrayLike, confidence: float = 0.95) -> Estimate:
  """Fieller's interval for the ratio of means, from n independent pairs."""
  return fieller_from_moments(pair_moments(numerators, denominators), confidence)


def fieller_from_moments(pairs: PairMoments, confidence: float = 0.95) -> Estimate:
  """The ratios r >= 0 for which mean_a - r mean_b is within t standard errors of 0 (Fieller 1954).

  They satisfy A r^2 - 2 H r + C <= 0. Where mean_b is not t standard errors from 0, A <= 0 and the
  set has no upper end: a ray from C / (H + sqrt(D)), or, if 0 belongs to it, the whole half-line or
  two rays with a gap between, reported as starting at 0.
  """
  mean_a, mean_b, var_a, var_b, cov, n = pairs
  if why := _why_undefined(pairs):
    return undefined(why, n)
  value, doubts = _value(pairs)
  ratio = Estimate(value, n=n, confidence=confidence, over='measurements')
  if n < 2:
    return replace(ratio, reasons=doubts or (Reason('one_observation'),))
  t2 = _quantile(confidence, n) ** 2
  va, vb, vab = t2 * var_a / n, t2 * var_b / n, t2 * cov / n
  a, h, c = mean_b**2 - vb, mean_a * mean_b - vab, mean_a**2 - va
  if (c > 0 and mean_a < 0) or (a > 0 and mean_b < 0):
    return undefined('mean_below_zero', n)
  # D = h^2 - a c, with the products that cancel exactly taken out.
  d = mean_b**2 * va - 2 * mean_a * mean_b * vab + mean_a**2 * vb - (va * vb - vab**2)
  root = h + math.sqrt(max(d, 0.0))
  if c > 0 and root <= 0:
    return undefined('denominator_zero', n)
  low = c / root if c > 0 else 0.0  # c <= 0: a ratio of 0 fits the data
  if a > 0:
    return replace(ratio, low=low, high=root / a, reasons=doubts)
  why = Reason('denominator_not_above_zero')
  return replace(ratio, low=low, unbounded=True, reasons=(*doubts, why))


def harmonic_ratio(
  numerators: ArrayLike, denominators: ArrayLike, confidence: float = 0.95
) -> Estimate:
  """One over the mean of b / a, with Student's interval of that mean, from n independent pairs.

  What multiplies both of a pair cancels, so pairs of different scale count alike: a ratio of means
  is that of the largest, and Fieller's interval takes their spread for one of the ratio. Where the
  pairs agree it is as wide as Fieller's. A mean of b / a that is not significantly above zero
  leaves no upper bound. Of an `a` that is not above zero there is no b / a: the ratio of means with
  Fieller's interval then, and a reason.
  """
  pairs = pair_moments(numerators, denominators)
  if pairs.n < 2 or _why_undefined(pairs):
    return fieller_from_moments(pairs, confidence)
  a, b = (np.asarray(x, dtype=np.float64) for x in (numerators, denominators))
  if not (a > 0).all():
    of_means = fieller_from_moments(pairs, confidence)
    return replace(of_means, reasons=(*of_means.reasons, Reason('numerator_not_above_zero')))
  inverse = mean_interval(b / a, confidence)
  if inverse.high <= 0:
    return undefined('mean_below_zero' if inverse.high < 0 else 'denominator_zero', pairs.n)
  value = 1 / inverse.value if inverse.value > 0 else None
  ratio = Estimate(value, 1 / inverse.high, n=pairs.n, confidence=confidence)
  if inverse.low > 0:
    return replace(ratio, high=1 / inverse.low)
  doubts = () if value else (Reason('mean_denominator_not_above_zero'),)
  return replace(ratio, unbounded=True, reasons=(*doubts, Reason('denominator_not_above_zero')))


def log_delta(numerators: ArrayLike, denominators: ArrayLike, confidence: float = 0.95) -> Estimate:
  """The delta-method interval of the log ratio, from n independent pairs."""
  return log_delta_from_moments(pair_moments(numerators, denominators), confidence)


def log_delta_from_moments(pairs: PairMoments, confidence: float = 0.95) -> Estimate:
  """Student's interval for log(mean_a / mean_b), linearised at the means.

  Always bounded, so it claims too much where mean_b is within a few standard errors of zero.
  """
  mean_a, mean_b, var_a, var_b, cov, n = pairs
  if why := _why_undefined(pairs):
    return undefined(why, n)
  value, doubts = _value(pairs)
  if not value:
    return undefined(doubts[0].code if doubts else 'ratio_zero', n)
  ratio = Estimate(value, n=n, confidence=confidence, over='measurements')
  if n < 2:
    return replace(ratio, reasons=(Reason('one_observation'),))
  variance = var_a / mean_a**2 - 2 * cov / (mean_a * mean_b) + var_b / mean_b**2
  half = _quantile(confidence, n) * math.sqrt(max(variance, 0.0) / n)
  if half > _LOG_MAX:
    return replace(ratio, low=0.0, unbounded=True, reasons=(Reason('upper_bound_overflows'),))
  return replace(ratio, low=value * math.exp(-half), high=value * math.exp(half))


def _why_undefined(pairs: PairMoments) -> str:
  """The code of the reason why moments give no ratio, or nothing."""
  if pairs.n < 1:
    return 'nothing_measured'
  needed = pairs if pairs.n >= 2 else pairs[:2]
  return '' if all(map(math.isfinite, needed)) else 'moments_not_finite'


def _value(pairs: PairMoments) -> tuple[float | None, tuple[Reason, ...]]:
  """The ratio of the means, or why a ratio that cannot be negative has no such estimate."""
  if pairs.mean_b <= 0:
    return None, (Reason('mean_denominator_not_above_zero'),)
  if pairs.mean_a < 0:
    return None, (Reason('mean_numerator_below_zero'),)
  return pairs.mean_a / pairs.mean_b, ()


def _quantile(confidence: float, n: int | float) -> float:
  """Student's t with n - 1 degrees of freedom, two-sided."""
  if not 0 < confidence < 1:
    raise ValueError(f'confidence is {confidence}: give a share between 0 and 1, such as 0.95.')
  return float(stdtrit(n - 1, (1 + confidence) / 2))
