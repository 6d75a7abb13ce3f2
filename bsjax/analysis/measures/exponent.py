"""How the best learning rate grows with the batch size: the exponent, and where growth ends.

Trials are the independent repetitions: each gives one log optimum per batch size, and every number
here is a weighted sum of those in each trial, with Student's interval over trials. It holds
whatever the correlation of a trial's optima at different batch sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import expit, stdtrit

from bsjax.analysis.measures.optimum import Optimum
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval, widened

EXPONENTS = {'linear': 1.0, 'square_root': 0.5, 'none': 0.0}
FEWEST = 3  # batch sizes: any two lie on a power law
_REACH = math.log(1e3)  # a B_lr beyond the batch sizes by this factor is at its limit
_GRID = 2001


class Points(NamedTuple):
  """The batch sizes with an optimum, the trials' log optima there, and who was left out, why."""

  batch_sizes: Float[np.ndarray, ' size']
  log_rates: Float[np.ndarray, 'trial size']
  slack: Float[np.ndarray, ' size']
  left_out: dict[int, Reason]

  @property
  def too_few(self) -> Reason | None:
    """Why no law can be fitted, or None."""
    known = len(self.batch_sizes)
    if known >= FEWEST:
      return None
    left_out = [[size, reason] for size, reason in self.left_out.items()]
    return Reason('too_few_optima', needed=FEWEST, known=known, left_out=left_out)


def points(optima: Mapping[int, Optimum]) -> Points:
  """The optima that are known between the points of the grid, in ascending batch size.

  Those of fewer trials than others have are left out: the numbers here are of each trial. A study
  that is to decide a question gives no more trials to a batch size that is shown to be worse.
  """
  bracketed = {size: best for size, best in sorted(optima.items()) if best.state == 'found'}
  most = max((best.rate.n for best in bracketed.values()), default=0)
  known = {size: best for size, best in bracketed.items() if best.rate.n == most}
  left_out = {
    size: Reason('fewer_trials', trials=best.rate.n, of=most)
    if size in bracketed
    else best.rate.reasons[0]
    for size, best in sorted(optima.items())
    if size not in known
  }
  return Points(
    np.array(list(known), dtype=np.float64),
    np.array([best.log_rates for best in known.values()], dtype=np.float64).T,
    np.array([best.slack for best in known.values()], dtype=np.float64),
    left_out,
  )


def exponent(given: Points) -> dict[str, Any]:
  """d log(learning rate) / d log(batch size), by least squares in each trial.

  With one trial the interval is that of the regression's residuals, from four batch sizes on: it
  then takes the power law for true. `rules` says which exponents lie in the interval, null without
  one. `change` is the exponent of the upper half of the batch sizes minus that of the lower (of an
  odd number both have the middle one): where its interval leaves out 0 there is no power law.
  """
  if given.too_few:
    return {'undefined': given.too_few}
  sizes, count = given.batch_sizes, len(given.batch_sizes)
  weights = _slope_weights(sizes, slice(None))
  slope = _contrast(given, weights)
  if slope.n < 2 and count > FEWEST:
    slope = _over_residuals(given, weights)
  lower = _slope_weights(sizes, slice(0, (count + 1) // 2))
  upper = _slope_weights(sizes, slice(count // 2, count))
  change = _contrast(given, upper - lower)
  return slope.to_json('value') | {
    'interval_over': slope.over if slope.has_interval else None,
    'batch_sizes': [int(size) for size in sizes],
    'left_out': {str(size): reason for size, reason in given.left_out.items()},
    'rules': {
      name: slope.low <= rule <= slope.high if slope.has_interval else None
      for name, rule in EXPONENTS.items()
    },
    'lower_half': _contrast(given, lower).to_json('value'),
    'upper_half': _contrast(given, upper).to_json('value'),
    'change': change.to_json('value'),
    'power_law_rejected': None if change.n < 2 else not change.low <= 0 <= change.high,
  }


def _slope_weights(sizes: np.ndarray, part: slice) -> np.ndarray:
  """The weights with which log optima sum to the least squares slope over a part of the sizes."""
  weights, x = np.zeros(len(sizes)), np.log(sizes[part])
  weights[part] = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
  return weights


def _contrast(given: Points, weights: np.ndarray) -> Estimate:
  """A weighted sum of the log optima, over trials; what the trials do not show widens it."""
  return widened(mean_interval(given.log_rates @ weights), float(np.abs(weights) @ given.slack))


def _over_residuals(given: Points, weights: np.ndarray) -> Estimate:
  """The slope of the only trial, with the interval of the regression's residuals."""
  x, y = np.log(given.batch_sizes), given.log_rates[0]
  value = float(y @ weights)
  residuals = (y - y.mean()) - value * (x - x.mean())
  degrees = len(x) - 2
  error = math.sqrt(residuals @ residuals / degrees * (weights @ weights))
  half = float(stdtrit(degrees, 0.975)) * error + float(np.abs(weights) @ given.slack)
  return Estimate(value, value - half, value + half, 1, over='batch sizes')


def saturation(given: Points) -> dict[str, Any]:
  """B_lr, the noise scale that the optima themselves show: lr(B) = lr_max / (1 + B_lr / B).

  The law of McCandlish et al. 2018 (arXiv:1812.06162, section 2.2), fitted to log optima: the value
  by least squares to their means. The interval holds every B_lr at which the score (the sum of the
  residuals weighted by their derivative in log B_lr) has a mean over trials within Student's t of
  0. It needs no estimate per trial, which may not exist, and so has no upper end
  where the law cannot be told from linear scaling, and starts at 0 where not from a constant.
  It takes the law for true; the rules' misfits say how well it fits.
  """
  if given.too_few:
    return {'undefined': given.too_few}
  b_rate = _saturation(given)
  if isinstance(b_rate, Reason):
    return {'undefined': b_rate}
  result = b_rate.to_json('b_learning_rate') | {'unbounded': b_rate.unbounded}
  return result | ({'reason': b_rate.reasons} if b_rate.reasons else {})


def _saturation(given: Points) -> Estimate | Reason:
  """B_lr, or how the optima contradict the law."""
  sizes, n = given.batch_sizes, len(given.log_rates)
  grid = np.linspace(np.log(sizes[0]) - _REACH, np.log(sizes[-1]) + _REACH, _GRID)
  means = given.log_rates.mean(axis=0)
  index = int(np.argmin(_misfit(grid, sizes, means)))
  reasons, value = [], None
  if 0 < index < _GRID - 1:
    near = (grid[index - 1], grid[index + 1])
    fit = scipy.optimize.minimize_scalar(
      _misfit, bounds=near, args=(sizes, means), method='bounded', options={'xatol': 1e-9}
    )
    value = math.exp(fit.x)
  else:
    reasons.append(Reason('no_scaling_fits_best' if index == 0 else 'linear_scaling_fits_best'))
  if n < 2:
    return Estimate(value, n=n, reasons=(*reasons, Reason('one_trial_has_no_interval')))
  accepted = np.flatnonzero(_accepted(given, grid))
  if value is None and not accepted.size:
    return Reason('rate_falls' if index == 0 else 'rate_grows_faster')
  ends = [*accepted, index] if value is not None else accepted
  first, last = min(ends), max(ends)
  # One step of the grid outwards: the ends lie between its points.
  low = math.exp(grid[first - 1]) if first else 0.0
  high = math.exp(grid[last + 1]) if last < _GRID - 1 else None
  reasons += [Reason('linear_scaling_fits')] if high is None else []
  return Estimate(value, low, high, n, unbounded=high is None, reasons=tuple(reasons))


def _misfit(theta: ArrayLike, sizes: np.ndarray, log_rates: np.ndarray) -> np.ndarray | np.float64:
  """Squared log misfit of the law at each B_lr = exp(theta), with the best factor."""
  residuals = log_rates + np.logaddexp(0, np.asarray(theta)[..., None] - np.log(sizes))
  return np.sum((residuals - residuals.mean(axis=-1, keepdims=True)) ** 2, axis=-1)


def _accepted(given: Points, thetas: np.ndarray) -> np.ndarray:
  """At which log B_lr the trials do not contradict the law."""
  offsets = thetas[:, None] - np.log(given.batch_sizes)
  derivatives = expit(offsets)  # of log(1 + B_lr / B); centred, so that the factor drops out
  weights = derivatives - derivatives.mean(axis=1, keepdims=True)
  scores = given.log_rates @ weights.T + np.sum(weights * np.logaddexp(0, offsets), axis=1)
  n = len(scores)
  half = float(stdtrit(n - 1, 0.975)) * scores.std(axis=0, ddof=1) / math.sqrt(n)
  return np.abs(scores.mean(axis=0)) <= half + np.abs(weights) @ given.slack
