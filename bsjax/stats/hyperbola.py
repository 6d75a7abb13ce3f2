"""The hyperbola of updates against examples, fitted to runs of which some never reached the target.

(S / S_min - 1)(E / E_min - 1) = 1 with E = S B is S = S_min (1 + B_crit / B), where B_crit =
E_min / S_min (McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11). In logarithms, for batch size i
and trial j, log S_ij = s_j + log(1 + B_crit / B_i) + normal error: at a given B_crit a linear
model, so everything is profiled over B_crit alone. Its limits are fits too: B_crit = 0 is no
gain from larger batches, B_crit = infinity perfect scaling. An interval that holds a limit says so.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from bsjax.stats import tobit
from bsjax.stats.estimate import Estimate, Reason, undefined
from bsjax.stats.tobit import EXACT, Peak

_BEYOND = 8.0  # natural logarithms searched beyond the batch sizes, where the limits are near
_STEP = 0.25
_FINE, _ROUNDS = 33, 4  # to a tenth of a thousandth of a step


class Fit(NamedTuple):
  """B_crit in examples, and the ends of the hyperbola as geometric means of trials.

  `b_crit` has no value at a limit; a `low` of 0 and `unbounded` say that its interval holds one.
  It is `over` what varied: 'residuals', or 'trials and residuals'; its `n` counts trials in which
  some batch size reached the target. Without an interval nothing was fitted. `residual_sd` is that
  of log updates, `df` its degrees of freedom. `parts` are the intervals over either alone, where
  `b_crit` is over both.
  """

  b_crit: Estimate
  df: int
  examples_min: float | None = None
  updates_min: float | None = None
  residual_sd: float | None = None
  parts: tuple[Estimate, ...] = ()


class Shared(NamedTuple):
  """The variance of what all trials of a batch size err by alike, in log updates, and its df."""

  variance: float
  df: int


def fit_hyperbola(
  batch_sizes: Int[np.ndarray, ' size'],
  updates: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
  confidence: float = 0.95,
  shared: Shared | None = None,
  rough_ends: bool = False,
) -> Fit:
  """Maximum likelihood, B_crit shared by the trials, each with its own S_min.

  `known` says what each entry of `updates` is: EXACT, or AT_LEAST or AT_MOST where only a bound on
  the updates is known (a Tobit likelihood: the probability of lying beyond the bound). A trial in
  which nothing is exact says nothing here, as its S_min is free, and is left out.

  The interval holds every B_crit with 2 (max l - l) <= N log(1 + t^2 / df), N exact entries and
  df = N - trials - 1. Without bounds that is the F test of the residual sum of squares, so a few
  trials suffice, and a hyperbola that does not fit widens it. It takes the errors to be equally
  wide at all batch sizes, and independent but for what is `shared`. With `rough_ends` it is up to a
  factor of 1.3 wider on either side, and cheaper, for those who ask only whether it is bounded.

  Raises:
    ValueError: an entry is not finite or not above zero.
  """
  peak = highest(batch_sizes, updates, known)
  return peak if isinstance(peak, Fit) else peak.fitted(confidence, shared, rough_ends)


def highest(
  batch_sizes: Int[np.ndarray, ' size'],
  updates: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
) -> Highest | Fit:
  """The most likely B_crit, before anything is said of its interval, or why there is none.

  Arguments and errors are those of `fit_hyperbola`.
  """
  _check(batch_sizes, updates)
  used = (known == EXACT).any(axis=0)
  profile = _Profile(np.log(batch_sizes), np.log(updates[:, used]), known[:, used])
  exact, trials = int((known == EXACT).sum()), int(used.sum())
  df = exact - trials - 1
  reaching = int((known == EXACT).any(axis=1).sum())
  if reaching < 3 or df < 1:
    return Fit(undefined('too_few_for_hyperbola', trials, exact=exact, batch_sizes=reaching), df)
  grid = np.concatenate([[-np.inf], profile.grid(), [np.inf]])
  curve = _Curve(profile, grid, profile.at(grid))
  best, top = _highest(curve)
  return Highest(curve, best, top, _describe(profile, best, exact, df), exact)


class Highest(NamedTuple):
  """Where the likelihood is highest: log B_crit `best` of `fit`, which has no interval yet."""

  curve: _Curve
  best: float
  top: float
  fit: Fit
  exact: int

  def fitted(
    self, confidence: float = 0.95, shared: Shared | None = None, rough_ends: bool = False
  ) -> Fit:
    """The fit with its interval, as `fit_hyperbola` has it."""
    fit, trials = self.fit, self.curve.profile.log_updates.shape[1]
    drop = self.exact / 2 * math.log1p(_squared_t(fit, confidence, trials, shared) / fit.df)
    low, high = _crossings(self.curve, self.best, self.top - drop, rough_ends)
    bounded = math.isfinite(high)
    ends = {'low': math.exp(low), 'high': math.exp(high) if bounded else None}
    b_crit = replace(fit.b_crit, **ends, unbounded=not bounded, confidence=confidence)
    return fit._replace(b_crit=b_crit)


def _squared_t(fit: Fit, confidence: float, trials: int, shared: Shared | None) -> float:
  """Student's, times what the shared errors of a mean over trials add to its variance.

  The degrees of freedom of a sum of variances are Satterthwaite's.
  """
  df, inflation = float(fit.df), 1.0
  if shared is not None and shared.variance > 0:
    added = trials * shared.variance / fit.residual_sd**2
    inflation += added
    df = inflation**2 / (1 / fit.df + added**2 / shared.df)
  return inflation * float(stdtrit(df, (1 + confidence) / 2)) ** 2


class _Profile(NamedTuple):
  """The log-likelihood as a function of log B_crit alone."""

  log_sizes: np.ndarray
  log_updates: np.ndarray
  known: np.ndarray

  def grid(self) -> np.ndarray:
    ends = self.log_sizes.min() - _BEYOND, self.log_sizes.max() + _BEYOND
    return np.linspace(*ends, math.ceil((ends[1] - ends[0]) / _STEP) + 1)

  def at(self, theta: np.ndarray, start: Peak | None = None) -> Peak:
    """The highest likelihood and its parameters at every log B_crit of `theta`.

    At infinity log(1 + B_crit / B) is replaced by -log B, and s_j is log E_min, not log S_min.
    """
    x = np.where(np.isposinf(theta), 0.0, theta)[:, None] - self.log_sizes
    shape = np.where(np.isposinf(theta)[:, None], x, np.logaddexp(0.0, x))
    return tobit.maximize(self.log_updates - shape[:, :, None], self.known, start)


class _Curve(NamedTuple):
  """A profile with its values on a grid of log B_crit that ends in both limits."""

  profile: _Profile
  grid: np.ndarray
  peaks: Peak

  def between(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Finely spaced log B_crit from one to another, and the likelihoods there."""
    theta = np.linspace(start, stop, _FINE)
    near = [int(np.argmin(np.abs(self.grid - (start + stop) / 2)))]
    return theta, self.profile.at(theta, Peak(*(part[near] for part in self.peaks))).height


def _highest(curve: _Curve) -> tuple[float, float]:
  """log B_crit of the highest likelihood, which may be a limit, and that likelihood."""
  grid, heights = curve.grid, curve.peaks.height
  i = int(np.argmax(heights))
  if not 2 <= i <= len(grid) - 3:
    # Beyond the outermost finite points the likelihood is that of the limit but for rounding.
    i = 0 if i < 2 else len(grid) - 1
    return float(grid[i]), float(heights.max())
  start, stop, top = grid[i - 1], grid[i + 1], (float(grid[i]), float(heights[i]))
  for _ in range(_ROUNDS):
    theta, height = curve.between(start, stop)
    i = int(np.argmax(height))
    top = max(top, (float(theta[i]), float(height[i])), key=lambda point: point[1])
    start, stop = theta[max(i - 1, 0)], theta[min(i + 1, _FINE - 1)]
  return top


def _crossings(curve: _Curve, best: float, level: float, rough: bool) -> tuple[float, float]:
  """The outermost log B_crit whose likelihood is not below the level; infinite at a limit."""
  points = np.append(curve.grid, best)
  order = np.argsort(points)
  points, inside = points[order], np.append(curve.peaks.height >= level, True)[order]
  first, last = np.flatnonzero(inside)[[0, -1]]
  ends = []
  for i, outside in ((first, first - 1), (last, last + 1)):
    at_limit = not 0 <= outside < len(points) or np.isinf(points[outside])
    limit = -np.inf if outside < i else np.inf
    if at_limit or rough:
      ends.append(limit if at_limit else float(points[outside]))
    else:
      ends.append(_root(curve, level, points[i], points[outside]))
  return ends[0], ends[1]


def _root(curve: _Curve, level: float, inside: float, outside: float) -> float:
  """Where the likelihood falls below the level; at a limit the first finite point outside."""
  if math.isinf(inside):
    return float(outside)
  for _ in range(2):
    theta, height = curve.between(inside, outside)
    i = int(np.argmax(height[1:] < level))
    inside, outside = theta[i], theta[i + 1]
  above, below = height[i], height[i + 1]
  if above <= level or below >= level:  # no change of sign but for rounding
    return float(inside)
  return float(inside + (outside - inside) * (above - level) / (above - below))


def _describe(profile: _Profile, best: float, exact: int, df: int) -> Fit:
  _, sharp, place = profile.at(np.array([best]))
  log_end = float((place[0] / sharp[0]).mean())
  limits = {np.inf: 'scales_perfectly', -np.inf: 'gains_nothing'}
  reasons = (Reason(limits[best]),) if best in limits else ()
  value, n = math.exp(best) if math.isfinite(best) else None, profile.log_updates.shape[1]
  b_crit = Estimate(value, n=n, over='residuals', reasons=reasons)
  # At perfect scaling the end is that of the examples, and elsewhere that of the updates.
  log_examples = log_end if best == np.inf else log_end + best
  return Fit(
    b_crit,
    df,
    examples_min=None if best == -np.inf else math.exp(log_examples),
    updates_min=None if best == np.inf else math.exp(log_end),
    # Maximum likelihood divides by N; an unbiased variance does not.
    residual_sd=math.sqrt(exact / df) / float(sharp[0]),
  )


def _check(batch_sizes: np.ndarray, updates: np.ndarray) -> None:
  for name, values in (('batch sizes', batch_sizes), ('updates', updates)):
    wrong = values[~(np.isfinite(values) & (values > 0))]
    if wrong.size:
      raise ValueError(f'{name} hold {wrong[0]}: a logarithm needs finite numbers above zero.')
