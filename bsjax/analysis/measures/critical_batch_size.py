"""The critical batch size of a study: from its runs to the entry of summary.json.

Each batch size is taken at its best learning rate, so that what is compared is what each can do;
one whose best rate is the last of the grid may do better, and enters as a bound. Runs that never
reach a target stay in as bounds too: to drop them keeps, of the batch sizes that are slow, only the
lucky runs, and makes large batches look better than they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bsjax.analysis.runs.histories import Setting, level_of
from bsjax.analysis.runs.targets import Point, choose_targets, problem, soonest, trials
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.hyperbola import Fit
from bsjax.stats.hyperbola_trials import fit_trials
from bsjax.stats.intervals import mean_interval
from bsjax.stats.tobit import AT_LEAST, AT_MOST, EXACT, NOTHING

MORE = 1.2  # examples, as a multiple of the fewest (Zhang et al. 2024, arXiv:2410.21676)
EARLY = 'before first evaluation'
# What is said of batch sizes that another learning rate may make faster, by what says which.
MAY_BE_FASTER = {
  'at_grid_edge': 'target_at_grid_edge',
  'best_rates_unsafe': 'target_beside_unsafe',
  'best_rates_dropped': 'target_beside_dropped',
}
_STATUS = {EXACT: 'reached', AT_LEAST: 'never', AT_MOST: EARLY}


def critical_batch_size(
  by_size: Mapping[int, Sequence[Setting]],
  quantity: str = 'val_loss',
  targets: Sequence[float] | None = None,
) -> dict[str, Any]:
  """`at_target` for the middle target, and for all of them under 'targets'.

  Targets are ordered from easy to hard; 'targets_chosen' says whether they were taken from the
  runs (`choose_targets`). Where there is nothing to fit: {'undefined', 'quantity', 'targets': []}.
  The learning-rate schedule of a run is part of what is measured: one that decays over the whole
  training reaches late targets late at every batch size.

  Raises:
    ValueError: the quantity is neither a loss nor an accuracy, or a target is out of its range.
  """
  levels = problem(by_size, quantity)
  _check(quantity, targets or ())
  if levels is None:
    levels = choose_targets(by_size, quantity) if targets is None else list(targets)
  if isinstance(levels, Reason) or not levels:
    return {'undefined': levels or Reason('no_target_given'), 'quantity': quantity, 'targets': []}
  levels.sort(key=lambda level: -level_of(quantity, level))
  all_targets = [at_target(by_size, quantity, level) for level in levels]
  middle = all_targets[len(all_targets) // 2]
  return {**middle, 'targets_chosen': targets is None, 'targets': all_targets}


def middle_target(by_size: Mapping[int, Sequence[Setting]], quantity: str) -> float | Reason:
  """The middle one of the targets that are chosen from the runs, or why there is none."""
  levels = problem(by_size, quantity) or choose_targets(by_size, quantity)
  if isinstance(levels, Reason):
    return levels
  return sorted(levels, key=lambda level: -level_of(quantity, level))[len(levels) // 2]


def points_of(
  by_size: Mapping[int, Sequence[Setting]], quantity: str, target: float
) -> list[Point]:
  """Each batch size at the learning rate that reaches a target soonest, in ascending order."""
  use = trials(by_size)
  return [soonest(by_size[size], quantity, target, use) for size in sorted(by_size)]


def at_target(
  by_size: Mapping[int, Sequence[Setting]],
  quantity: str,
  target: float,
  confidence: float = 0.95,
) -> dict[str, Any]:
  """B_crit in examples, its interval and all that is needed to draw updates against examples.

  {'quantity', 'target', 'b_crit', 'ci95', 'unbounded', 'examples_min', 'updates_min', 'n',
  'interval_over', 'ci95_over_trials', 'ci95_over_residuals', 'residual_sd', 'without_largest',
  'resolution', 'at_grid_edge', 'best_rates_unsafe', 'note', 'points', 'within_20_percent'}, or with
  'undefined' instead of what the fit gives. 'n' counts trials in which some batch size reached the
  target. 'residual_sd' is in log updates, and so is 'resolution', the longest stretch between the
  two records around a crossing, in which interpolation may err. 'at_grid_edge' lists batch sizes
  that another learning rate may make faster: they need at most what was found, and what they missed
  says nothing. The same holds of 'best_rates_unsafe': some trial diverged at a rate at which the
  others were faster, though none did at a larger one; and of 'best_rates_dropped': the next rate
  was dropped before it could have been as fast. 'ci95' and the like are intervals of this
  `confidence`.
  """
  use, points = trials(by_size), points_of(by_size, quantity, target)
  sizes = np.array([point.batch_size for point in points])
  examples = np.array([[reach.examples for reach in point.reaches] for point in points])
  known = np.array([[reach.known for reach in point.reaches] for point in points])
  asked = {
    'at_grid_edge': _at_grid_edge(points),
    'best_rates_unsafe': [one.batch_size for one in points if one.skipped],
    'best_rates_dropped': [one.batch_size for one in points if one.dropped],
  }
  at_most = np.isin(sizes, [size for found in asked.values() for size in found])[:, None]
  updates = np.where(at_most & (known == AT_LEAST), NOTHING, examples / sizes[:, None])
  bounds = np.where(at_most & (known == EXACT), AT_MOST, known)
  fit, why = fit_trials(sizes, updates, bounds, confidence), _may_be_faster(asked)
  if fit.b_crit.has_interval:
    result = _fitted(fit, why, len(use), _without_largest(fit.b_crit, sizes, updates, bounds))
  else:
    result = {'undefined': _too_few(sizes, bounds, asked, fit)}
  return {
    'quantity': quantity,
    'target': float(target),
    **result,
    'resolution': _resolution(points),
    **{key: found for key, found in asked.items() if found or key != 'best_rates_dropped'},
    'points': [_point_row(point) for point in points],
    'within_20_percent': within(sizes, examples, known, fit.b_crit, why),
  }


def within(
  sizes: Int[np.ndarray, ' size'],
  examples: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
  b_crit: Estimate,
  may_be_faster: Sequence[Reason] = (),
) -> dict[str, Any]:
  """The largest batch size that needs at most 1.2 times the fewest examples.

  'tried': the largest of those tried, by geometric means over trials, batch sizes with a run that
  is no more than bounded left out; null if one of these, or one that `may_be_faster` at another
  rate, may be the fastest. 'batch_size':
  interpolated within each trial (logarithms, to the next larger batch size) and averaged over
  trials in the log, with Student's 'ci95'; null with a 'reason' where a trial does not bracket it,
  'at_least' if because the largest tried is within.
  'fitted': 0.2 B_crit with its interval. The fewest of noisy numbers is biased low, and with it
  'tried' and 'batch_size'; 'fitted' is not.
  """
  exact = (known == EXACT).all(axis=1)
  tried = None
  if exact.any() and not (known == AT_MOST).any() and not may_be_faster:
    means = np.exp(np.log(examples[exact]).mean(axis=1))
    tried = int(sizes[exact][means <= MORE * means.min()].max())
  fitted = b_crit.map(lambda value: (MORE - 1) * value)
  result: dict[str, Any] = {'tried': tried, 'batch_size': None, 'ci95': [None, None]}
  result |= {'n': 0, 'at_least': None, 'fitted': fitted.value}
  result['fitted_ci95'] = [fitted.low, fitted.high]
  if may_be_faster:
    return result | {'reason': may_be_faster[0]}
  by_trial = [_interpolated(sizes, *columns) for columns in zip(examples.T, known.T, strict=True)]
  if reasons := [value for value in by_trial if isinstance(value, Reason)]:
    bounds = [why.details['batch_size'] for why in reasons if why.code == 'largest_is_within']
    at_least = min(bounds) if len(bounds) == len(by_trial) else None
    return result | {'at_least': at_least, 'reason': reasons[0]}
  return result | mean_interval(np.log(by_trial)).map(math.exp).to_json('batch_size')


def _interpolated(
  sizes: Int[np.ndarray, ' size'],
  examples: Float[np.ndarray, ' size'],
  known: Int[np.ndarray, ' size'],
) -> float | Reason:
  """The batch size at which one trial needs 1.2 times its fewest examples, or why it has none."""
  if (known == AT_MOST).any():
    return Reason('target_before_first_evaluation')
  if not (known == EXACT).any():
    return Reason('target_not_reached')
  logs = np.where(known == EXACT, np.log(examples), np.inf)
  limit = logs.min() + math.log(MORE)
  i = int(np.flatnonzero(logs <= limit)[-1])
  if i == len(sizes) - 1:
    return Reason('largest_is_within', batch_size=int(sizes[i]))
  if math.isinf(logs[i + 1]):
    return Reason('next_missed_target', batch_size=int(sizes[i + 1]))
  share = (limit - logs[i]) / (logs[i + 1] - logs[i])
  return float(sizes[i] * (sizes[i + 1] / sizes[i]) ** share)


def _fitted(
  fit: Fit, may_be_faster: Sequence[Reason], trials: int, without: Mapping[str, Any]
) -> dict[str, Any]:
  b_crit = fit.b_crit
  notes = list(b_crit.reasons)
  if b_crit.unbounded:
    notes.append(Reason('not_bounded_above'))
  if b_crit.low == 0:
    notes.append(Reason('not_bounded_below'))
  if without.get('outside'):
    notes.append(Reason('moves_without_largest', **without))
  notes += may_be_faster
  if trials < 2:
    notes.append(Reason('chosen_on_one_trial'))
  over_trials, over_residuals = fit.parts or (Estimate(None), b_crit)
  return b_crit.to_json('b_crit') | {
    'unbounded': b_crit.unbounded,
    'examples_min': fit.examples_min,
    'updates_min': fit.updates_min,
    'interval_over': b_crit.over,
    'ci95_over_trials': [over_trials.low, over_trials.high],
    'ci95_over_residuals': [over_residuals.low, over_residuals.high],
    'residual_sd': fit.residual_sd,
    'without_largest': without,
    'note': tuple(notes) or '',
  }


def _without_largest(
  b_crit: Estimate,
  sizes: Int[np.ndarray, ' size'],
  updates: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
) -> dict[str, Any]:
  """The fit without the largest batch size, by which `factor` it moves, and whether `outside`.

  A hyperbola that bends otherwise than training hangs on its end: B_crit moves out of its interval.
  """
  largest = int(sizes[-1])
  refit = fit_trials(sizes[:-1], updates[:-1], known[:-1]).b_crit
  if not refit.has_interval:
    return {'batch_size': largest, 'undefined': refit.reasons[0]}
  at = math.inf if refit.unbounded else 0.0
  at = at if refit.value is None else refit.value
  outside = at < b_crit.low or not (b_crit.unbounded or at <= b_crit.high)
  factor = refit.value / b_crit.value if refit.value and b_crit.value else None
  result = {'batch_size': largest, **refit.to_json('b_crit'), 'unbounded': refit.unbounded}
  return result | {'factor': factor, 'outside': outside}


def _too_few(
  sizes: Int[np.ndarray, ' size'],
  known: Int[np.ndarray, 'size trial'],
  asked: Mapping[str, Sequence[int]],
  fit: Fit,
) -> Reason:
  reached = int((known == EXACT).any(axis=1).sum())
  if reached >= 3:
    return Reason('use_more', why=fit.b_crit.reasons[0])
  if any(asked.values()):
    why = {key: found for key, found in asked.items() if found or key == 'at_grid_edge'}
    return Reason('few_inside_grid', inside=reached, batch_sizes=len(sizes), **why)
  early = sizes[(known == AT_MOST).any(axis=1)].tolist()
  return Reason('few_reach_target', reached=reached, batch_sizes=len(sizes), early=early)


def _may_be_faster(asked: Mapping[str, Sequence[int]]) -> list[Reason]:
  """Why batch sizes need at most what was found."""
  return [
    Reason(MAY_BE_FASTER[key], batch_sizes=list(sizes)) for key, sizes in asked.items() if sizes
  ]


def _at_grid_edge(points: Sequence[Point]) -> list[int]:
  """Where the best rate is the last of the grid, and more than its first evaluation is known."""
  return [
    point.batch_size
    for point in points
    if point.at_grid_edge and any(reach.known != AT_MOST for reach in point.reaches)
  ]


def _resolution(points: Sequence[Point]) -> float | None:
  stretches = [reach.between for point in points for reach in point.reaches if reach.between]
  return max((math.log(end / start) for start, end in stretches), default=None)


def _point_row(point: Point) -> dict[str, Any]:
  """'examples' and 'updates' by trial, null where not reached; then 'bounds' holds the examples."""
  exact = [reach.examples if reach.known == EXACT else None for reach in point.reaches]
  return {
    'batch_size': point.batch_size,
    'learning_rate': point.learning_rate,
    'learning_rates': [point.learning_rate] * len(point.reaches),
    # Of a batch size that never reaches the target inside the grid nothing more is known.
    'at_grid_edge': point.at_grid_edge or (None if point.learning_rate is None else False),
    'examples': exact,
    'updates': [None if value is None else value / point.batch_size for value in exact],
    'status': [_STATUS[reach.known] for reach in point.reaches],
    'bounds': [None if reach.known == EXACT else reach.examples for reach in point.reaches],
    'censored': sum(reach.known == AT_LEAST for reach in point.reaches),
  }


def _check(quantity: str, levels: Sequence[float]) -> None:
  high = judged().metric.highest if judged().is_metric(quantity) else math.inf
  for level in levels:
    if not (math.isfinite(level) and 0 < level <= high):
      raise ValueError(f'target is {level}: give {quantity} above 0 and at most {high:g}, finite.')
