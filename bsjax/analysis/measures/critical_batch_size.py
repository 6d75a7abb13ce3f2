"""The critical batch size of a study: from its runs to the entry of summary.json.

Each batch size is taken at its best learning rate, so that what is compared is what each can do.
Runs that never reach a target stay in as bounds: to drop them keeps, of the batch sizes that are
slow, only the lucky runs, and makes large batches look better than they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bsjax.analysis.runs.histories import Setting
from bsjax.analysis.runs.targets import Point, choose_targets, level_of, problem, soonest, trials
from bsjax.config.metrics import METRIC
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.hyperbola import Fit, fit_trials
from bsjax.stats.intervals import mean_interval
from bsjax.stats.tobit import AT_LEAST, AT_MOST, EXACT

MORE = 1.2  # examples, as a multiple of the fewest (Zhang et al. 2024, arXiv:2410.21676)
EARLY = 'before first evaluation'
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


def at_target(
  by_size: Mapping[int, Sequence[Setting]], quantity: str, target: float
) -> dict[str, Any]:
  """B_crit in examples, its interval and all that is needed to draw updates against examples.

  {'quantity', 'target', 'b_crit', 'ci95', 'unbounded', 'examples_min', 'updates_min', 'n',
  'interval_over', 'residual_sd', 'resolution', 'at_grid_edge', 'note', 'points',
  'within_20_percent'}, or with 'undefined' instead of what the fit gives. 'n' counts trials in
  which some batch size reached the target. 'residual_sd' is in log updates, and so is 'resolution',
  the longest stretch between the two records around a crossing, in which interpolation may err: as
  far as it does, it is part of the residuals, but not of the spread of trials that err alike.
  'at_grid_edge' lists batch sizes that another learning rate may make faster: what they need is an
  upper bound.
  """
  use = trials(by_size)
  points = [soonest(by_size[size], quantity, target, use) for size in sorted(by_size)]
  sizes = np.array([point.batch_size for point in points])
  examples = np.array([[reach.examples for reach in point.reaches] for point in points])
  known = np.array([[reach.known for reach in point.reaches] for point in points])
  fit = fit_trials(sizes, examples / sizes[:, None], known)
  fitted = _fitted(fit, points) if fit.b_crit.has_interval else {'undefined': _too_few(points, fit)}
  return {
    'quantity': quantity,
    'target': float(target),
    **fitted,
    'resolution': _resolution(points),
    'at_grid_edge': _at_grid_edge(points),
    'points': [_point_row(point) for point in points],
    'within_20_percent': within(sizes, examples, known, fit.b_crit),
  }


def within(
  sizes: Int[np.ndarray, ' size'],
  examples: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
  b_crit: Estimate,
) -> dict[str, Any]:
  """The largest batch size that needs at most 1.2 times the fewest examples.

  'tried': the largest of those tried, by geometric means over trials, batch sizes with a run that
  is no more than bounded left out; null if one of these may be the fastest. 'batch_size':
  interpolated within each trial (logarithms, to the next larger batch size) and averaged over
  trials in the log, with Student's 'ci95'; null with a 'reason' where a trial does not bracket it,
  'at_least' if because the largest tried is within.
  'fitted': 0.2 B_crit with its interval. The fewest of noisy numbers is biased low, and with it
  'tried' and 'batch_size'; 'fitted' is not.
  """
  exact = (known == EXACT).all(axis=1)
  tried = None
  if exact.any() and not (known == AT_MOST).any():
    means = np.exp(np.log(examples[exact]).mean(axis=1))
    tried = int(sizes[exact][means <= MORE * means.min()].max())
  fitted = b_crit.map(lambda value: (MORE - 1) * value)
  result: dict[str, Any] = {'tried': tried, 'batch_size': None, 'ci95': [None, None]}
  result |= {'n': 0, 'at_least': None, 'fitted': fitted.value}
  result['fitted_ci95'] = [fitted.low, fitted.high]
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


def _fitted(fit: Fit, points: Sequence[Point]) -> dict[str, Any]:
  b_crit = fit.b_crit
  notes = list(b_crit.reasons)
  if b_crit.unbounded:
    notes.append(Reason('not_bounded_above'))
  if b_crit.low == 0:
    notes.append(Reason('not_bounded_below'))
  if edges := _at_grid_edge(points):
    notes.append(Reason('target_at_grid_edge', batch_sizes=edges))
  if len(points[0].reaches) < 2:
    notes.append(Reason('chosen_on_one_trial'))
  return b_crit.to_json('b_crit') | {
    'unbounded': b_crit.unbounded,
    'examples_min': fit.examples_min,
    'updates_min': fit.updates_min,
    'interval_over': b_crit.over,
    'residual_sd': fit.residual_sd,
    'note': tuple(notes) or '',
  }


def _too_few(points: Sequence[Point], fit: Fit) -> Reason:
  states = {point.batch_size: {reach.known for reach in point.reaches} for point in points}
  reached = [size for size, state in states.items() if EXACT in state]
  if len(reached) >= 3:
    return Reason('use_more', why=fit.b_crit.reasons[0])
  early = [size for size, state in states.items() if AT_MOST in state]
  return Reason('few_reach_target', reached=len(reached), batch_sizes=len(points), early=early)


def _at_grid_edge(points: Sequence[Point]) -> list[int]:
  return [point.batch_size for point in points if point.at_grid_edge]


def _resolution(points: Sequence[Point]) -> float | None:
  stretches = [reach.between for point in points for reach in point.reaches if reach.between]
  return max((math.log(end / start) for start, end in stretches), default=None)


def _point_row(point: Point) -> dict[str, Any]:
  """'examples' and 'updates' by trial, null where not reached; then 'bounds' holds the examples."""
  exact = [reach.examples if reach.known == EXACT else None for reach in point.reaches]
  return {
    'batch_size': point.batch_size,
    'learning_rate': point.learning_rate,
    'learning_rates': list(point.learning_rates),
    'at_grid_edge': point.at_grid_edge,
    'examples': exact,
    'updates': [None if value is None else value / point.batch_size for value in exact],
    'status': [_STATUS[reach.known] for reach in point.reaches],
    'bounds': [None if reach.known == EXACT else reach.examples for reach in point.reaches],
    'censored': sum(reach.known == AT_LEAST for reach in point.reaches),
  }


def _check(quantity: str, levels: Sequence[float]) -> None:
  high = METRIC.highest if quantity.endswith(METRIC.name) else math.inf
  for level in levels:
    if not (math.isfinite(level) and 0 < level <= high):
      raise ValueError(f'target is {level}: give {quantity} above 0 and at most {high:g}, finite.')
