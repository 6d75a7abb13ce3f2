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

from bsjax.analysis.runs.histories import Setting
from bsjax.analysis.runs.targets import Point, choose_targets, level_of, problem, soonest, trials
from bsjax.stats.hyperbola import Fit, fit_trials
from bsjax.stats.intervals import mean_interval
from bsjax.stats.tobit import AT_LEAST, AT_MOST, EXACT

MORE = 1.2  # examples, as a multiple of the fewest (Zhang et al. 2024, arXiv:2410.21676)
EARLY = 'before first evaluation'
_STATUS = {EXACT: 'reached', AT_LEAST: 'never', AT_MOST: EARLY}


def critical_batch_size(
  found: Mapping[int, Sequence[Setting]],
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
  reason, levels = problem(found, quantity), list(targets or [])
  if not reason and targets is None:
    levels, reason = choose_targets(found, quantity)
  _check(quantity, levels)
  if reason or not levels:
    why = reason or 'no target was given'
    return {'undefined': why, 'quantity': quantity, 'targets': []}
  levels.sort(key=lambda level: -level_of(quantity, level))
  every = [at_target(found, quantity, level) for level in levels]
  return {**every[len(every) // 2], 'targets_chosen': targets is None, 'targets': every}


def at_target(
  found: Mapping[int, Sequence[Setting]], quantity: str, target: float
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
  use = trials(found)
  points = [soonest(found[size], quantity, target, use) for size in sorted(found)]
  sizes = np.array([point.batch_size for point in points])
  examples = np.array([[reach.examples for reach in point.reaches] for point in points])
  known = np.array([[reach.known for reach in point.reaches] for point in points])
  result: dict[str, Any] = {'quantity': quantity, 'target': float(target)}
  fit = fit_trials(sizes, examples / sizes[:, None], known)
  result |= {'undefined': _too_few(points, fit)} if fit.low is None else _fitted(fit, points)
  return result | {
    'resolution': _resolution(points),
    'at_grid_edge': [point.batch_size for point in points if point.at_grid_edge],
    'points': [_point_row(point) for point in points],
    'within_20_percent': within(sizes, examples, known, fit),
  }


def within(sizes: np.ndarray, examples: np.ndarray, known: np.ndarray, fit: Fit) -> dict[str, Any]:
  """The largest batch size that needs at most 1.2 times the fewest examples.

  'tried': the largest of those tried, by geometric means over trials, batch sizes with a run that
  is no more than bounded left out; null if one of these may be the fastest. 'batch_size':
  interpolated within each trial (logarithms, to the next larger batch size) and averaged over
  trials in the log, with Student's 'ci95'; null with a 'reason' where a trial does not bracket it,
  'at_least' if because the largest tried is within.
  'fitted': 0.2 B_crit with its interval. The fewest of noisy numbers is biased low, and with it
  'tried' and 'batch_size'; 'fitted' is not.
  """
  scaled = lambda value: None if value is None else (MORE - 1) * value
  exact = (known == EXACT).all(axis=1)
  tried = None
  if exact.any() and not (known == AT_MOST).any():
    means = np.exp(np.log(examples[exact]).mean(axis=1))
    tried = int(sizes[exact][means <= MORE * means.min()].max())
  result: dict[str, Any] = {'tried': tried, 'batch_size': None, 'ci95': [None, None]}
  result |= {'n': 0, 'at_least': None, 'fitted': scaled(fit.b_crit)}
  result['fitted_ci95'] = [scaled(fit.low), scaled(fit.high)]
  each = [_interpolated(sizes, *columns) for columns in zip(examples.T, known.T, strict=True)]
  open_ended = [bound for value, bound, _ in each if bound is not None]
  if reasons := [reason for _, _, reason in each if reason]:
    at_least = min(open_ended) if len(open_ended) == len(each) else None
    return result | {'at_least': at_least, 'reason': reasons[0]}
  mean = mean_interval(np.log([value for value, _, _ in each])).map(math.exp)
  return result | mean.to_json('batch_size')


def _interpolated(
  sizes: np.ndarray, examples: np.ndarray, known: np.ndarray
) -> tuple[float | None, int | None, str]:
  """Of one trial: the batch size, or the largest tried if that is still within, and why."""
  if (known == AT_MOST).any():
    return None, None, 'a run had reached the target before its first evaluation'
  if not (known == EXACT).any():
    return None, None, 'a trial reached the target at no batch size'
  logs = np.where(known == EXACT, np.log(examples), np.inf)
  limit = logs.min() + math.log(MORE)
  i = int(np.flatnonzero(logs <= limit)[-1])
  if i == len(sizes) - 1:
    return None, int(sizes[i]), f'the largest batch size tried, {sizes[i]}, is within 20%'
  if math.isinf(logs[i + 1]):
    return None, None, f'batch size {sizes[i + 1]}, the next after those within 20%, has missed it'
  share = (limit - logs[i]) / (logs[i + 1] - logs[i])
  return float(sizes[i] * (sizes[i + 1] / sizes[i]) ** share), None, ''


def _fitted(fit: Fit, points: Sequence[Point]) -> dict[str, Any]:
  notes = [fit.reason] if fit.reason else []
  if fit.unbounded:
    notes.append('batch sizes reach too little beyond the critical one to bound it above')
  if fit.low == 0:
    notes.append('batch sizes reach too little below the critical one to bound it below')
  if edges := [str(point.batch_size) for point in points if point.at_grid_edge]:
    notes.append(
      f'at batch size {", ".join(edges)} the best learning rate is at the edge of the grid: it may '
      'need fewer examples than found, and the interval knows nothing of it'
    )
  if len(points[0].reaches) < 2:
    notes.append('with one trial the learning rates were chosen on the runs they are judged by')
  return {
    'b_crit': fit.b_crit,
    'ci95': [fit.low, fit.high],
    'unbounded': fit.unbounded,
    'examples_min': fit.examples_min,
    'updates_min': fit.updates_min,
    'n': fit.trials,
    'interval_over': fit.interval_over,
    'residual_sd': fit.residual_sd,
    'note': '; '.join(notes),
  }


def _too_few(points: Sequence[Point], fit: Fit) -> str:
  states = [{reach.known for reach in point.reaches} for point in points]
  reached = [
    point.batch_size for point, state in zip(points, states, strict=True) if EXACT in state
  ]
  early = [
    point.batch_size for point, state in zip(points, states, strict=True) if AT_MOST in state
  ]
  if len(reached) >= 3:
    return f'{fit.reason}: use more trials or more batch sizes'
  why = f'{len(reached)} of {len(points)} batch sizes reach the target between two evaluations'
  why += ', and a hyperbola needs three'
  return f'{why}; batch sizes {early} do before the first: evaluate more often' if early else why


def _resolution(points: Sequence[Point]) -> float | None:
  stretches = [reach.between for point in points for reach in point.reaches if reach.between]
  return max((math.log(end / start) for start, end in stretches), default=None)


def _point_row(point: Point) -> dict[str, Any]:
  """'examples' and 'updates' a trial, null where not reached; then 'bounds' holds the examples."""
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
  high = 1.0 if quantity.endswith('accuracy') else math.inf
  for level in levels:
    if not (math.isfinite(level) and 0 < level <= high):
      raise ValueError(f'target is {level}: give {quantity} above 0 and at most {high:g}, finite.')
