"""The best learning rate of a batch size, between the points of the grid that was tried.

The loss against the log of the learning rate is a valley. A smooth curve through its lowest
points gives each trial an optimum of its own; the spread of those over trials gives the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs import dropped
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Estimate, Reason, undefined
from bsjax.stats.intervals import mean_interval, widened

_NO_SPREAD = 1e-9  # of the window: trials that agree to this measure no spread


class Optimum(NamedTuple):
  """The best learning rate of a batch size, or why there is none.

  state: 'found'; 'next_to_divergence', known only to within its neighbours on the grid;
    'at_grid_edge', with a bound on one side; 'undetermined'.
  rate: over 'trials', or next to divergence over the 'grid'.
  log_rates: the log of each trial's optimum, empty unless found.
  slack: by how much the interval of the log is wider, on either side, than the trials say.
  interpolation: the error of the fitted curve, as a log; None where too few points check it.
  bound: {'below': rate} or {'above': rate} for an optimum at the edge of the grid.
  """

  state: str
  rate: Estimate
  log_rates: tuple[float, ...] = ()
  slack: float = 0.0
  interpolation: float | None = None
  bound: dict[str, float] | None = None


def optimum_of(tried: Sequence[Setting], objective: str = 'val_loss') -> Optimum:
  """The optimum of one batch size by `objective` at the end of training, the lower the better.

  objective: the name of a loss in the records, or of a metric of which less is better, or that of
    an accuracy with 'error' in the place of 'accuracy' ('val_error').
  """
  if judged().is_metric(objective) and judged().metric.higher_is_better:
    error = objective.removesuffix(judged().metric.name) + 'error'
    raise ValueError(f'objective is {objective!r}, of which more is better: give {error!r}.')
  ended = [setting for setting in tried if not setting.dropped]
  trials = [[lane.plan['trial'] for lane in setting.lanes] for setting in ended]
  if any(one != trials[0] for one in trials):
    return _undetermined('different_trials')
  for setting in ended:
    for lane in setting.lanes:
      if lane.final is None and lane.problem.code != 'diverged':
        where = {'trial': lane.plan['trial'], 'learning_rate': setting.learning_rate}
        return _undetermined('lane_failed', len(setting.lanes), problem=lane.problem, **where)
  losses = [[_objective(lane, objective) for lane in setting.lanes] for setting in ended]
  rates = np.array([setting.learning_rate for setting in ended], dtype=np.float64)
  best = optimum(rates, np.array(losses, dtype=np.float64).T)
  return _beside_dropped(best, tried, ended, losses)


def _beside_dropped(
  found: Optimum,
  tried: Sequence[Setting],
  ended: Sequence[Setting],
  losses: Sequence[Sequence[float]],
) -> Optimum:
  """What is known where the best of the rates that ended is the last before one that was dropped.

  That is no edge of the grid: the next was tried, and left before its end is known.
  """
  if found.state not in ('at_grid_edge', 'undetermined') or not losses or not losses[0]:
    return found
  best = {min(range(len(ended)), key=lambda i: row[i]) for row in zip(*losses, strict=True)}
  beside = {rate for i in best for rate in dropped.beside(tried, ended[i].learning_rate)}
  if not beside:
    return found
  return _undetermined('next_to_dropped', found.rate.n, learning_rates=sorted(beside))


def _objective(lane: LaneHistory, objective: str) -> float:
  """What the lane ended with; infinity for one that diverged."""
  if lane.problem:
    return math.inf
  is_error = objective.endswith('error') and not judged().is_metric(objective)
  value = lane.final[
    objective.removesuffix('error') + judged().metric.name if is_error else objective
  ]
  if value is None or not math.isfinite(value):
    return math.inf
  return judged().metric.cost(value) if is_error else value


def optimum(rates: Float[np.ndarray, ' rate'], losses: Float[np.ndarray, 'trial rate']) -> Optimum:
  """The optimum from ascending learning rates and each trial's loss there.

  An infinite loss is a run that diverged. No curve can pass through it: where a best point has
  such a neighbour in any trial, the optimum is the best rate of the grid, its interval the
  neighbours of the trials' best points, which hold it as the loss has one valley only.

  Otherwise one least squares cubic per trial, of the log loss unless some loss is 0, goes through
  the points that are best in some trial and their neighbours, with a fourth point where the grid
  has one, else a parabola through three. The same points for all trials, because a choice that
  follows a trial's noise would bias its optimum. The interval is Student's for the mean log optimum
  over trials. It is widened by twice the distance to the optimum of the inner parabola, or of the
  cubic with its fourth point on the other side, where that is beyond the noise of the trials; and
  to the neighbours of the best points where the trials do not differ at all. Not covered: an error
  of the curve that the noise hides, or that three points or a grid coarser than five cannot show.
  """
  n = len(losses)
  if unusable := _unusable(rates, losses):
    return Optimum('undetermined', Estimate(None, n=n, reasons=(unusable,)))
  best, last = losses.argmin(axis=1), len(rates) - 1
  centre = int(losses.mean(axis=0).argmin())
  if (best == 0).all() or (best == last).all():
    return _at_edge(rates, n, low=bool(best[0] == 0))
  at_edge = [trial for trial, index in enumerate(best) if index in (0, last)]
  if at_edge:
    return _undetermined('trials_at_grid_edge', n, trials=at_edge, of=n)
  window = slice(best.min() - 1, best.max() + 2)
  if not np.isfinite(losses[:, window]).all():
    low, high = float(rates[window][0]), float(rates[window][-1])
    why = (Reason('next_to_divergence'),)
    rate = Estimate(float(rates[centre]), low, high, n, over='grid', reasons=why)
    return Optimum('next_to_divergence', rate)
  # A trial near instability may lose ten times as much as others: in logs it is one among them.
  heights = np.log(losses) if (losses > 0).all() else losses
  return _between_points(np.log(rates), heights, window)


def _unusable(rates: np.ndarray, losses: np.ndarray) -> Reason | None:
  if len(rates) < 3:
    return Reason('too_few_rates', needed=3, tried=len(rates))
  if not (np.isfinite(rates).all() and (rates > 0).all() and (np.diff(rates) > 0).all()):
    return Reason('rates_not_ascending')
  if not losses.size:
    return Reason('no_trial')
  if np.isnan(losses).any() or (losses < 0).any():
    return Reason('loss_negative_or_missing')
  if not np.isfinite(losses).all(axis=0).any():
    return Reason('every_rate_diverged')
  return None


def _at_edge(rates: np.ndarray, n: int, low: bool) -> Optimum:
  end, beyond, side = ('lowest', rates[1], 'below') if low else ('highest', rates[-2], 'above')
  edge = Reason('best_at_grid_edge', end=end, learning_rate=float(rates[0] if low else rates[-1]))
  rate = Estimate(None, n=n, reasons=(edge,))
  return Optimum('at_grid_edge', rate, bound={side: float(beyond)})


def _between_points(log_rates: np.ndarray, losses: np.ndarray, inner: slice) -> Optimum:
  n, windows = len(losses), _windows(losses, inner)
  window = windows[0]
  u = log_rates[window]
  curvature = _parabola(u, losses[:, window])[1]
  spread = mean_interval(curvature)
  if (curvature <= 0).any() or (n > 1 and spread.low <= 0):
    return _undetermined('flat_curve', n)
  optima = _cubic_minima(u, losses[:, window]) if len(u) > 3 else _parabola(u, losses[:, window])[0]
  if not ((u[0] <= optima) & (optima <= u[-1])).all():  # NaN, too
    return _undetermined('no_minimum_between_points', n)
  log, trials = mean_interval(optima), tuple(optima.tolist())
  if n < 2:
    single_trial = (Reason('one_trial_has_no_interval'),)
    return Optimum('found', replace(log.map(math.exp), reasons=single_trial), trials)
  error = None
  if len(u) > 3:
    others = [_parabola(log_rates[inner], losses[:, inner])[0]]
    others += [_cubic_minima(log_rates[other], losses[:, other]) for other in windows[1:]]
    error = max(_interpolation_error(other - optima, u) for other in others)
  slack = error or 0.0
  if optima.std() < _NO_SPREAD * (u[-1] - u[0]):
    slack = float(max(log.value - log_rates[inner][0], log_rates[inner][-1] - log.value))
  return Optimum('found', widened(log, slack).map(math.exp), trials, slack, error)


def _windows(losses: np.ndarray, inner: slice) -> list[slice]:
  """The points to fit: where the inner window has three, one more on the side to which the minimum
  leans; then, to check, on the other side. The inner window where there is no more.

  On three points the optimum of a trial cannot pass the middle between two rates, and trials that
  agree on the best rate would agree too well.
  """
  if inner.stop - inner.start > 3:
    return [inner]
  finite, means = np.isfinite(losses).all(axis=0), losses.mean(axis=0)
  sides = [slice(inner.start, inner.stop + 1), slice(inner.start - 1, inner.stop)]
  if means[inner.start] < means[inner.stop - 1]:
    sides.reverse()
  inside = (side for side in sides if side.start >= 0 and side.stop <= len(finite))
  return [side for side in inside if finite[side].all()] or [inner]


def _coefficients(u: np.ndarray, losses: np.ndarray, degree: int) -> np.ndarray:
  """Those of the powers 1 to degree of u - mean(u) in each trial's least squares polynomial."""
  powers = np.vander(u - u.mean(), degree + 1, increasing=True)
  return np.linalg.lstsq(powers, losses.T, rcond=None)[0][1:]


def _parabola(u: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The extremum of each trial's least squares parabola, and its coefficient of u^2."""
  slope, curvature = _coefficients(u, losses, 2)
  with np.errstate(divide='ignore', invalid='ignore'):  # a straight line has none
    return u.mean() - slope / (2 * curvature), curvature


def _cubic_minima(u: np.ndarray, losses: np.ndarray) -> np.ndarray:
  """The minimum of each trial's least squares cubic; NaN where it has none."""
  b, c, d = _coefficients(u, losses, 3)
  with np.errstate(divide='ignore', invalid='ignore'):
    # The root of the derivative that is a minimum, in a form that is exact for a small cubic term.
    return u.mean() - b / (c + np.sqrt(c * c - 3 * b * d))


def _interpolation_error(differences: np.ndarray, u: np.ndarray) -> float:
  """Twice the mean distance of another curve's optimum; 0 if that may be noise.

  Twice, as on a coarse grid either curve can be the closer one. Tested at 99%, so that a false
  alarm hardly widens intervals that need it not.
  """
  half_window = float(u[-1] - u[0]) / 2
  if not np.isfinite(differences).all():
    return half_window
  mean = mean_interval(differences, 0.99)
  return min(2 * abs(mean.value), half_window) if mean.low > 0 or mean.high < 0 else 0.0


def _undetermined(code: str, n: int = 0, **details: Any) -> Optimum:
  return Optimum('undetermined', undefined(code, n, **details))


def as_json(batch_size: int, best: Optimum) -> dict[str, Any]:
  """The optimum as summary.json holds it; `ci95` over trials, or over the grid next to divergence.

  `interpolation_error` is a factor minus 1, by which the interval is wider on either side.
  """
  rate, error = best.rate, best.interpolation
  return {
    'batch_size': batch_size,
    'state': best.state,
    **rate.to_json('learning_rate'),
    'interval_over': rate.over if rate.has_interval else None,
    'bound': best.bound,
    'interpolation_error': None if error is None else math.expm1(error),
  } | ({'reason': rate.reasons} if rate.reasons else {})
