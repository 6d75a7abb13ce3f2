"""Settings read at equal values of a clock: epochs, updates, or updates weighted by learning rate.

Batch sizes that have seen the same examples have not made the same updates. Which of the two is
held equal often decides what a comparison shows, so every comparison names its clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bsjax.analysis.runs.histories import LaneHistory, Row, Setting
from bsjax.analysis.runs.reading import Reading, Weights, combined, of_columns
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.stats.estimate import Reason

# Name of a clock -> the key of a record that holds it.
CLOCKS = {
  'epochs': 'epoch',
  'updates': 'updates',
  'learning_rate_updates': 'learning_rate_sum',
}
# `read` also takes examples, which differ from epochs between training sets.
KEYS = CLOCKS | {'examples': 'examples'}
ALONGSIDE = ('epoch', 'updates', 'learning_rate', 'train_loss')  # where a record stands
SECOND_HALF, LAST_QUARTER = 1 / 2, 3 / 4  # shares of a stage from which on settings may meet
_SAME = 1e-6  # relative; sums of learning rates may be float32


def meeting_point(
  chosen: Mapping[int, Setting], clock: str, late: float = SECOND_HALF
) -> float | None:
  """Where settings are compared: the last value at which all that ended well have a record.

  It is looked for from where the first of them ends back to this share of its last stage; where
  there is none it is that end, and what is read of others may lie between records.
  """
  end = _first_end(chosen, clock)
  return None if end is None else last_common_record(chosen, clock, end, late)


def met(
  chosen: Mapping[int, Setting], clock: str, late: float = SECOND_HALF
) -> tuple[Mapping[int, Setting], float | None]:
  """The settings, and the meeting point at which to read them.

  At equal updates they are those evaluated on a subset, all alike, where more of them have a record
  of that at which they meet than of whole splits.
  """
  value = meeting_point(chosen, clock, late)
  subset = {size: setting.on_subset() for size, setting in chosen.items()}
  if clock != 'updates' or not all(lane.rows for one in subset.values() for lane in one.lanes):
    return chosen, value
  value_on_subset = meeting_point(subset, clock, late)
  more = _lanes_there(subset, clock, value_on_subset) > _lanes_there(chosen, clock, value)
  return (subset, value_on_subset) if more else (chosen, value)


def _lanes_there(chosen: Mapping[int, Setting], clock: str, value: float | None) -> int:
  """How many lanes have a record at this value."""
  if value is None:
    return 0
  clocks = (lane.clock(KEYS[clock]) for lane in _lanes(chosen))
  return sum(_on_record(values, value).size > 0 for values in clocks)


def last_common_record(
  chosen: Mapping[int, Setting], clock: str, end: float, late: float = SECOND_HALF
) -> float:
  """The last value up to `end` at which all settings have a record, or `end`.

  It lies after the share `late` of the stage in which `end` is: what comes apart in a stage is
  never compared before it. Settings take no part that did not end well, or have no record by then.
  """
  latest, floor, of_lanes = end * (1 + _SAME), late * end, []
  for lane in _lanes(chosen):
    after_start = np.flatnonzero(lane.clock('updates') > 0)
    values = lane.clock(KEYS[clock])[after_start]
    if not values.size or not np.isfinite(values).all() or values[0] > latest:
      continue
    of_lanes.append(values)
    if (at_end := _on_record(values, end)).size:
      rows = [lane.trained_rows[i] for i in after_start[: at_end[-1] + 1]]
      begun = _stage_begun(rows, values)
      floor = max(floor, begun + late * (end - begun))
  shortest = min(of_lanes, key=len, default=np.zeros(0))
  for value in sorted(shortest[(shortest >= floor) & (shortest <= latest)], reverse=True):
    if all(_on_record(values, value).size for values in of_lanes):
      return float(value)
  return end


def _stage_begun(rows: Sequence[Row], values: Float[np.ndarray, ' record']) -> float:
  """The clock where the stage of the last row began: at the last row of the stage before it."""
  stages = np.array([row.get('stage', 0) for row in rows])
  return float(values[: len(rows)][stages < stages[-1]].max(initial=0.0))


def _on_record(
  values: Float[np.ndarray, ' record'], value: int | float
) -> Int[np.ndarray, ' at_value']:
  """Which records lie at a value of the clock."""
  return np.flatnonzero(np.abs(values - value) <= _SAME * abs(value))


def _first_end(chosen: Mapping[int, Setting], clock: str) -> float | None:
  """The largest value of the clock that every setting which ended well has reached."""
  ends = [_number(lane.final.get(KEYS[clock])) for lane in _lanes(chosen)]
  ends = [end for end in ends if math.isfinite(end)]  # `read` says why the others have none
  return min(ends, default=None)


def _lanes(chosen: Mapping[int, Setting]) -> list[LaneHistory]:
  """Those of the settings that ended well."""
  return [lane for setting in chosen.values() if not setting.problem for lane in setting.lanes]


def readings(
  chosen: Mapping[int, Setting], clock: str, value: int | float | None = None
) -> dict[int, Reading]:
  """Every setting at a value of the clock; without one, at the meeting point."""
  if value is None:
    chosen, value = met(chosen, clock)
  nothing = Reason('not_recorded', key=KEYS[clock])
  return {
    size: Reading(problem=setting.problem or nothing)
    if value is None
    else read(setting, clock, value)
    for size, setting in chosen.items()
  }


def read(setting: Setting, clock: str, value: int | float) -> Reading:
  """The setting at a value of the clock, linear between the two records around it.

  What is read together is added up by its weights. Never extrapolated, and never interpolated from
  the untrained network: what happens before the first evaluation after the start is the steepest
  part of a curve, and no line.
  """
  if setting.problem:
    return Reading(problem=setting.problem)
  parts, weights = _parts(setting, clock)
  return combined([_read_one(part, clock, value) for part in parts], weights)


def at_end(setting: Setting) -> Reading:
  """The setting at its planned end."""
  return of_finals(setting, lambda lane: quantities(lane.final))


def of_finals(setting: Setting, values_of: Callable[[LaneHistory], Mapping[str, float]]) -> Reading:
  """What a function makes of each lane at its end, added up by the weights of what is read."""
  readings = []
  for part, _ in setting.parts:
    finals = [values_of(lane) for lane in part.lanes]
    columns = {name: [final[name] for final in finals] for name in finals[0]}
    readings.append(of_columns((lane.plan['trial'] for lane in part.lanes), columns))
  return combined(readings, setting.weighting)


def _parts(setting: Setting, clock: str) -> tuple[tuple[Setting, ...], Weights]:
  """What is read together; at equal sums of learning rates only the setting itself.

  Other learning rates stand at other epochs there.
  """
  if clock == 'learning_rate_updates':
    return (setting,), Weights((1.0,))
  return tuple(part for part, _ in setting.parts), setting.weighting


def _read_one(setting: Setting, clock: str, value: int | float) -> Reading:
  places = [_place(lane, KEYS[clock], value) for lane in setting.lanes]
  if problem := next((place for place in places if isinstance(place, Reason)), None):
    return Reading(problem=problem)
  firsts = [quantities(row) for row, _, _ in places]
  keys = firsts[0].keys()
  lasts = [
    quantities(last) if share else first
    for first, (_, last, share) in zip(firsts, places, strict=True)
  ]
  before = {key: np.array([first[key] for first in firsts]) for key in keys}
  after = {key: np.array([last[key] for last in lasts]) for key in keys}
  share = np.array([share for _, _, share in places])
  # At share 0 both are the same record, and 0 * inf must not make it NaN.
  moves = {key: np.where(share > 0, after[key] - before[key], 0.0) for key in keys}
  values = {key: before[key] + share * moves[key] for key in keys}
  low = {key: np.minimum(before[key], after[key]) for key in keys}
  high = {key: np.maximum(before[key], after[key]) for key in keys}
  ends = [(row[KEYS[clock]], last[KEYS[clock]]) for row, last, share in places if share]
  between = (float(min(ends)[0]), float(max(end for _, end in ends))) if ends else None
  trials = tuple(lane.plan['trial'] for lane in setting.lanes)
  lanes = {key: column[None] for key, column in values.items()}
  first = places[0][0]
  subset = (first['train_examples'], first['val_examples']) if 'val_examples' in first else None
  return Reading(trials, values, low, high, between, lanes, subset=subset)


def compared_quantities() -> tuple[str, ...]:
  """The quantities that come with slopes, and with BatchNorm also re-estimated."""
  return judged().val, judged().train, 'gap', 'loss_gap'


def quantities(row: Row) -> dict[str, float]:
  """What is compared, from one record; NaN where it was not finite.

  Gaps are paired within the trial, and positive where training looks better than validation. With
  BatchNorm the same follow for re-estimated statistics, under names with the prefix 'reestimated_'.
  """
  result = {key: _number(row.get(key)) for key in ALONGSIDE}
  for prefix in ('', REESTIMATED):
    if prefix + judged().val not in row:
      continue
    for key in ('val_loss', judged().val_balanced):
      if prefix + key in row:
        result[prefix + key] = _number(row[prefix + key])
    val, train, val_loss, train_loss = (
      _number(row.get(prefix + key))
      for key in (judged().val, judged().train, 'val_loss', 'train_loss')
    )
    values = val, train, judged().gap(train, val), val_loss - train_loss
    result |= {
      prefix + key: number for key, number in zip(compared_quantities(), values, strict=True)
    }
  return result


class Common(NamedTuple):
  """All batch sizes at one learning rate; empty where `reason` says why there is none."""

  settings: dict[int, Setting]
  reason: Reason | None = None


def common_settings(by_size: Mapping[int, Sequence[Setting]]) -> Common:
  """The learning rate that suits all batch sizes best, or why there is none.

  Of the rates at which every batch size ended well, that of the best validation metric,
  averaged over batch sizes: what a comparison looks like in which nothing was tuned per batch size.
  """
  if len(by_size) < 2:
    return Common({}, Reason('fewer_than_two_batch_sizes'))
  by_rate = [{setting.learning_rate: setting for setting in tried} for tried in by_size.values()]
  shared = sorted(set.intersection(*(set(rates) for rates in by_rate)))
  if not shared:
    return Common({}, Reason('no_common_rate'))
  whole = [rate for rate in shared if not any(rates[rate].problem for rates in by_rate)]
  if not whole:
    return Common({}, Reason('no_common_rate_ended_well'))

  def objective(rate: float) -> float:
    return judged().metric.merit(
      float(np.mean([np.mean(rates[rate].finals(judged().val)) for rates in by_rate]))
    )

  best = max(whole, key=objective)
  return Common({size: rates[best] for size, rates in zip(by_size, by_rate, strict=True)})


def _place(lane: LaneHistory, key: str, value: int | float) -> tuple[Row, Row, float] | Reason:
  """The records around the value and how far it lies from first to second, or why not."""
  rows, x = lane.trained_rows, lane.clock(key)
  trial = lane.plan['trial']
  if not np.isfinite(x).all():
    return Reason('record_not_finite', trial=trial, key=key)
  if (np.diff(x) < 0).any():
    return Reason('record_goes_down', trial=trial, key=key)
  if (on_record := _on_record(x, value)).size:
    row = rows[on_record[-1]]
    return row, row, 0.0
  if not x[0] < value < x[-1]:
    ends = {'first': float(x[0]), 'last': float(x[-1])}
    return Reason('outside_records', trial=trial, key=key, value=value, **ends)
  after = int(np.searchsorted(x, value))
  if not rows[after - 1]['updates']:
    return Reason('before_first_evaluation', key=key, value=value, first=float(x[after]))
  return rows[after - 1], rows[after], float((value - x[after - 1]) / (x[after] - x[after - 1]))


def _number(value: Any) -> float:
  """A float, with NaN for what a record has as null or not at all."""
  return math.nan if value is None else float(value)
