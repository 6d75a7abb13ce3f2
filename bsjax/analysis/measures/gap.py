"""The generalization gap of each batch size at equal epochs, equal updates, and equal distance.

The gap is training less validation metric within a trial (the other way round where less is better,
as of the loss): positive where training looks better.
Whether it grows with batch size depends on what is held equal, and on the learning rates: so it is
given at three clocks, at the learning rate of each batch size, and at one rate for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import Effect
from bsjax.analysis.runs.budgets import (
  ALONGSIDE,
  CLOCKS,
  Reading,
  common_settings,
  compared_quantities,
  met,
  quantities,
  readings,
)
from bsjax.analysis.runs.histories import Curve, LaneHistory, Row, Setting
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval, mean_intervals


def generalization_gap(
  grid: Mapping[int, Sequence[Setting]], chosen: Mapping[int, Setting]
) -> dict[str, Any]:
  """Accuracies and gaps at the chosen learning rates and at a common one, by clock.

  {'chosen': {clock: C}, 'common_learning_rate': {'learning_rate', clock: C} or {'undefined'}} for
  the clocks of `CLOCKS`, with C as `at_clock` gives it.
  """
  common, why = common_settings(grid)
  missing = {size: Reason('no_learning_rate') for size in grid if size not in chosen}
  result: dict[str, Any] = {
    'chosen': {clock: at_clock(chosen, clock, missing) for clock in CLOCKS},
    'common_learning_rate': {'undefined': why},
  }
  if common:
    rate = next(iter(common.values())).learning_rate
    clocks = {clock: at_clock(common, clock) for clock in CLOCKS}
    result['common_learning_rate'] = {'learning_rate': rate, **clocks}
  return result


def at_clock(
  chosen: Mapping[int, Setting],
  clock: str,
  missing: Mapping[int, Any] | None = None,
  value: int | float | None = None,
) -> dict[str, Any]:
  """All batch sizes at a value of the clock, and the slopes over them.

  Without a value it is the meeting point (`budgets.meeting_point`).

  {'value', 'batch_sizes': [{'batch_size', 'learning_rate', 'epoch', 'interpolated', 'between',
  quantity: E, ...} or {'batch_size', 'undefined'}], 'slopes': {quantity: S}}. E is {'mean', 'ci95',
  'n'}; S is {'value', 'ci95', 'n', 'batch_sizes', 'ci95_interpolation'} or {'undefined'}, where
  'ci95_interpolation' also covers where between the records an interpolated value may lie.
  'subset' counts the training and validation examples that all are evaluated on, where these are
  not whole splits.
  """
  if value is None:
    chosen, value = met(chosen, clock)
  read = readings(chosen, clock, value)
  subset = next((reading.subset for reading in read.values() if reading.subset), None)
  rows = {size: _row(chosen[size], reading) for size, reading in read.items()}
  rows |= {size: {'batch_size': size, 'undefined': why} for size, why in (missing or {}).items()}
  names = sorted({name for reading in read.values() for name in compared(reading)}, key=_order)
  return {
    'value': value,
    'batch_sizes': [rows[size] for size in sorted(rows)],
    'slopes': {
      name: slope_row(Comparison(read, name).slope()) for name in names or compared_quantities()
    },
  } | ({'subset': list(subset)} if subset else {})


def curves(chosen: Mapping[int, Setting]) -> dict[str, dict[str, dict[int, Curve]]]:
  """clock -> quantity -> batch size -> mean and 95% interval over trials, for drawing.

  The quantities are those of `quantities` but for the clocks. Curves end where a trial has no
  finite value any more; with one trial the interval is NaN, which draws nothing.
  """
  told = {size: [_told(lane) for lane in setting.lanes] for size, setting in chosen.items()}
  return {
    clock: {
      name: {size: _curve(lanes, key, name) for size, lanes in told.items()}
      for name in _drawn(chosen)
    }
    for clock, key in CLOCKS.items()
  }


def compared(reading: Reading) -> list[str]:
  """The quantities of a reading that come with slopes, and those re-estimated."""
  return [
    name for name in reading.values if name.removeprefix(REESTIMATED) in compared_quantities()
  ]


def estimate(values: ArrayLike, quantity: str = '') -> dict[str, Any]:
  """Mean and 95% Student-t interval over trials; null where not every trial is finite.

  What is known of the quantity bounds both: no accuracy is outside 0 and 1, no such loss below 0.
  """
  values = np.array(values, dtype=np.float64)  # None becomes NaN
  if not values.size or not np.isfinite(values).all():
    return {'mean': None, 'ci95': [None, None], 'n': 0}
  return within_bounds(mean_interval(values), quantity).to_json()


def within_bounds(estimate: Estimate, quantity: str) -> Estimate:
  """An estimate without what the quantity cannot be."""
  return estimate.map(lambda value: judged().clip(value, quantity))


def _row(setting: Setting, reading: Reading) -> dict[str, Any]:
  row = {'batch_size': setting.batch_size, 'learning_rate': setting.learning_rate}
  if reading.problem:
    return row | {'undefined': reading.problem}
  row |= {
    'epoch': estimate(reading.values['epoch'])['mean'],
    'interpolated': reading.between is not None,
    'between': list(reading.between) if reading.between else None,
  }
  return row | {name: estimate(reading.repeated(name), name) for name in compared(reading)}


def slope_row(effect: Effect) -> dict[str, Any]:
  """As summary.json holds a slope: {'value', 'ci95', 'n', 'batch_sizes', ...} or {'undefined'}."""
  if effect.interval.value is None:
    return {'undefined': effect.interval.reasons}
  return effect.interval.to_json('value') | {
    'batch_sizes': list(effect.sizes),
    'ci95_interpolation': [effect.low, effect.high],
  }


def _order(name: str) -> tuple[bool, int]:
  plain = name.removeprefix(REESTIMATED)
  return plain != name, compared_quantities().index(plain)


def _drawn(chosen: Mapping[int, Setting]) -> list[str]:
  rows = (row for setting in chosen.values() for lane in setting.lanes for row in lane.rows)
  first = next(rows, None)
  names = quantities(first) if first else {}
  return [name for name in names if name == 'train_loss' or name not in ALONGSIDE]


def curve(setting: Setting, key: str, name: str) -> Curve:
  """One quantity of one setting against a column of its records: mean and 95% interval.

  On the records of its first trial, as far as all trials reach.
  """
  return _curve([_told(lane) for lane in setting.lanes], key, name)


def _told(lane: LaneHistory) -> list[tuple[Row, dict[str, float]]]:
  """The records of a lane after the start, each with its quantities."""
  return [(row, quantities(row)) for row in lane.trained_rows]


def _curve(lanes: Sequence[Sequence[tuple[Row, dict[str, float]]]], key: str, name: str) -> Curve:
  trials = [_finite_part(told, key, name) for told in lanes]
  if any(len(x) == 0 for x, _ in trials):
    return Curve()
  start, end = max(x[0] for x, _ in trials), min(x[-1] for x, _ in trials)
  grid = np.array([x for x in trials[0][0] if start <= x <= end])
  at = np.stack([np.interp(grid, x, y) for x, y in trials])
  return Curve(grid.tolist(), *mean_intervals(at).clip(*judged().bounds(name)).tolist())


def _finite_part(
  told: Sequence[tuple[Row, dict[str, float]]], key: str, name: str
) -> tuple[list[float], list[float]]:
  """The clock and the quantity up to the first record that is not finite or has diverged."""
  x, y = [], []
  for row, values in told:
    value, at = values[name], row.get(key)
    if row['diverged'] or at is None or not math.isfinite(at) or not math.isfinite(value):
      break
    x.append(float(at))
    y.append(value)
  return x, y
