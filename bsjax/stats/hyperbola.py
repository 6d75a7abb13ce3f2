"""The hyperbola of updates against examples, fitted to runs of which some never reached the target.

(S / S_min - 1)(E / E_min - 1) = 1 with E = S B is S = S_min (1 + B_crit / B), where B_crit =
E_min / S_min (McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11). In logarithms, for batch size i
and trial j, log S_ij = s_j + log(1 + B_crit / B_i) + normal error: at a given B_crit a linear
model, so everything is profiled over B_crit alone. Its limits are fits too: B_crit = 0 is no
gain from larger batches, B_crit = infinity perfect scaling. An interval that holds a limit says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy  # whose `optimize` loads when a curve is fitted: reading a fit must not wait for it
from jaxtyping import Float, Int
from scipy.special import stdtrit

from bsjax.stats import tobit
from bsjax.stats.estimate import Estimate, Reason, undefined
from bsjax.stats.intervals import mean_interval
from bsjax.stats.tobit import EXACT, Peak

_BEYOND = 8.0  # natural logarithms searched beyond the batch sizes, where the limits are near
_STEP = 0.25


class Fit(NamedTuple):
  """B_crit in examples, and the ends of the hyperbola as geometric means of trials.

  `b_crit` has no value at a limit; a `low` of 0 and `unbounded` say that its interval holds one.
  It is `over` what varied: 'trials', or 'residuals' of all batch sizes and trials; its `n` counts
  trials in which some batch size reached the target. Without an interval nothing was fitted.
  `residual_sd` is that of log updates, `df` its degrees of freedom.
  """

  b_crit: Estimate
  df: int
  examples_min: float | None = None
  updates_min: float | None = None
  residual_sd: float | None = None


def fit_hyperbola(
  batch_sizes: Int[np.ndarray, ' size'],
  updates: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
  confidence: float = 0.95,
) -> Fit:
  """Maximum likelihood, B_crit shared by the trials, each with its own S_min.

  `known` says what each entry of `updates` is: EXACT, or AT_LEAST or AT_MOST where only a bound on
  the updates is known (a Tobit likelihood: the probability of lying beyond the bound). A trial in
  which nothing is exact says nothing here, as its S_min is free, and is left out.

  The interval holds every B_crit with 2 (max l - l) <= N log(1 + t^2 / df), N exact entries and
  df = N - trials - 1. Without bounds that is the F test of the residual sum of squares, so a few
  trials suffice, and a hyperbola that does not fit widens it. It takes the errors to be
  independent and equally wide at all batch sizes.

  Raises:
    ValueError: an entry is not finite or not above zero.
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
  drop = exact / 2 * math.log1p(float(stdtrit(df, (1 + confidence) / 2)) ** 2 / df)
  low, high = _crossings(curve, best, top - drop)
  return _describe(profile, best, low, high, exact, df)


def fit_trials(
  batch_sizes: Int[np.ndarray, ' size'],
  updates: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
) -> Fit:
  """The fit of all trials, with Student's interval over trials where they allow one.

  That needs three trials or more, each of which bounds its own B_crit: then log B_crit is averaged
  over trials, and nothing is assumed of the errors within one, nor that all trials have the same
  B_crit. Otherwise `fit_hyperbola` as it is.
  """
  joint = fit_hyperbola(batch_sizes, updates, known)
  trials = updates.shape[1]
  if joint.b_crit.value is None or trials < 3:
    return joint
  fits = [fit_hyperbola(batch_sizes, updates[:, [j]], known[:, [j]]) for j in range(trials)]
  alone = [fit.b_crit for fit in fits]
  if any(one.value is None or not one.low or one.unbounded for one in alone):
    return joint
  mean = mean_interval(np.log([one.value for one in alone])).map(math.exp)
  ends = {'value': mean.value, 'low': mean.low, 'high': mean.high}
  return joint._replace(
    b_crit=replace(joint.b_crit, over='trials', **ends),
    examples_min=_geometric_mean([fit.examples_min for fit in fits]),
    updates_min=_geometric_mean([fit.updates_min for fit in fits]),
  )


def _geometric_mean(values: Sequence[float]) -> float:
  return math.exp(math.fsum(map(math.log, values)) / len(values))


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

  def height(self, theta: float) -> float:
    near = [int(np.argmin(np.abs(self.grid - theta)))]
    start = Peak(*(part[near] for part in self.peaks))
    return float(self.profile.at(np.array([theta]), start).height[0])


def _highest(curve: _Curve) -> tuple[float, float]:
  """log B_crit of the highest likelihood, which may be a limit, and that likelihood."""
  grid, heights = curve.grid, curve.peaks.height
  i = int(np.argmax(heights))
  if not 2 <= i <= len(grid) - 3:
    # Beyond the outermost finite points the likelihood is that of the limit but for rounding.
    i = 0 if i < 2 else len(grid) - 1
    return float(grid[i]), float(heights.max())
  minimum = scipy.optimize.minimize_scalar(
    lambda theta: -curve.height(theta),
    bounds=(grid[i - 1], grid[i + 1]),
    method='bounded',
    options={'xatol': 1e-5},
  )
  if -minimum.fun < heights[i]:
    return float(grid[i]), float(heights[i])
  return float(minimum.x), float(-minimum.fun)


def _crossings(curve: _Curve, best: float, level: float) -> tuple[float, float]:
  """The outermost log B_crit whose likelihood is not below the level; infinite at a limit."""
  points = np.append(curve.grid, best)
  order = np.argsort(points)
  points, inside = points[order], np.append(curve.peaks.height >= level, True)[order]
  first, last = np.flatnonzero(inside)[[0, -1]]

  def excess(theta: float) -> float:
    return curve.height(theta) - level

  ends = []
  for i, outside in ((first, first - 1), (last, last + 1)):
    at_limit = not 0 <= outside < len(points) or np.isinf(points[outside])
    limit = -np.inf if outside < i else np.inf
    ends.append(limit if at_limit else _root(excess, points[i], points[outside]))
  return ends[0], ends[1]


def _root(excess: Callable[[float], float], inside: float, outside: float) -> float:
  """Where the excess changes its sign; an end where rounding leaves no change, or at a limit."""
  if math.isinf(inside):
    return float(outside)
  if excess(inside) <= 0 or excess(outside) >= 0:
    return float(inside)
  return float(scipy.optimize.brentq(excess, inside, outside, xtol=1e-5))


def _describe(profile: _Profile, best: float, low: float, high: float, exact: int, df: int) -> Fit:
  _, sharp, place = profile.at(np.array([best]))
  log_end = float((place[0] / sharp[0]).mean())
  limits = {np.inf: 'scales_perfectly', -np.inf: 'gains_nothing'}
  b_crit = Estimate(
    math.exp(best) if math.isfinite(best) else None,
    math.exp(low),
    math.exp(high) if math.isfinite(high) else None,
    profile.log_updates.shape[1],
    over='residuals',
    unbounded=not math.isfinite(high),
    reasons=(Reason(limits[best]),) if best in limits else (),
  )
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
