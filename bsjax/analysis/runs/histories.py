"""Records to settings, the lanes of a batch size and learning rate: end results and curves."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs.reading import Weights
from bsjax.config.metrics import judged
from bsjax.noise.pooling import combine_windows
from bsjax.stats.estimate import Reason
from bsjax.storage.records import dropped

Row = Mapping[str, Any]


@dataclass(frozen=True)
class LaneHistory:
  """One training run: its row of the plan and its records in order of examples seen."""

  plan: Row
  rows: tuple[Row, ...]
  subset: tuple[Row, ...] = ()  # the same of evaluations on some examples of each split

  @functools.cached_property  # read hundreds of times
  def final(self) -> Row | None:
    """The record made after the last planned example, or None while the lane is not there.

    Not by updates: where the batch size changes their number is not known ahead.
    """
    ends = (row for row in self.rows if row['examples'] >= self.plan['examples'])
    return next(ends, None)

  @functools.cached_property
  def planned_rows(self) -> tuple[Row, ...]:
    """The record before training and those up to the planned end."""
    return tuple(row for row in self.rows if row['examples'] <= self.plan['examples'])

  @functools.cached_property
  def trained_rows(self) -> tuple[Row, ...]:
    """The records up to the planned end; all of them where the lane has not come so far."""
    ends = (i for i, row in enumerate(self.rows) if row is self.final)
    return self.rows[: next(ends, len(self.rows)) + 1]

  @functools.cached_property
  def _clocks(self) -> dict[str, Float[np.ndarray, ' record']]:
    return {}

  def clock(self, key: str) -> Float[np.ndarray, ' record']:
    """A column of `trained_rows`, NaN where a record has it as null or not at all."""
    if key not in self._clocks:
      values = (row.get(key) for row in self.trained_rows)
      self._clocks[key] = np.array([math.nan if x is None else float(x) for x in values])
    return self._clocks[key]

  @functools.cached_property
  def _costs(self) -> dict[str, list[float]]:
    return {}

  def costs(self, quantity: str) -> list[float]:
    """`level_of` the quantity in every planned row, NaN where it is missing or out of range."""
    if quantity not in self._costs:
      self._costs[quantity] = _costs([row.get(quantity) for row in self.planned_rows], quantity)
    return self._costs[quantity]

  @functools.cached_property
  def diverged(self) -> bool:
    return any(row['diverged'] for row in self.rows)

  @functools.cached_property
  def dropped(self) -> int | None:
    """After how many examples it was dropped (plan/halving.py), if that was before its end."""
    ends = (row['examples'] for row in self.rows if row.get('dropped'))
    return next(ends, None) if self.final is None else None

  @functools.cached_property
  def problem(self) -> Reason | None:
    """Why this lane has no end result to compare, or None if it has one."""
    final = self.final
    if self.diverged:
      return Reason('diverged')
    if final is None:
      epoch = self.rows[-1]['epoch'] if self.rows else 0.0
      if self.dropped:
        return Reason('dropped', epoch=epoch, epochs=self.plan['epochs'])
      return Reason('unfinished', epoch=epoch, epochs=self.plan['epochs'])
    # A null accuracy is a lane that turned non-finite at its very last evaluation.
    values = final[judged().val], final[judged().train]
    return Reason('no_metric') if None in values else None


def level_of(quantity: str, value: float) -> float:
  """A value of the quantity as a cost, of which less is better, and back."""
  return judged().metric.cost(value) if judged().is_metric(quantity) else value


def _costs(values: Sequence[Any], quantity: str) -> list[float]:
  metric = judged().metric
  if not judged().is_metric(quantity):
    return [math.nan if value is None else float(value) for value in values]
  return [
    # NaN: no comparison passes.
    math.nan if value is None or not metric.allows(value) else metric.cost(float(value))
    for value in values
  ]


@dataclass(frozen=True)
class Setting:
  """All trials of one batch size and learning rate."""

  batch_size: int
  learning_rate: float
  lanes: tuple[LaneHistory, ...]

  @property
  def problem(self) -> Reason | None:
    """Why the setting cannot be chosen, or None if every trial ended well."""
    trials = [[lane.plan['trial'], lane.problem] for lane in self.lanes if lane.problem]
    return Reason('lanes_failed', trials=trials) if trials else None

  @property
  def dropped(self) -> int | None:
    """After how many examples its lanes were dropped, if they were before their end."""
    return next((lane.dropped for lane in self.lanes if lane.dropped), None)

  @property
  def parts(self) -> tuple[tuple[Setting, float], ...]:
    """The settings that are read together, each with its weight: this one alone."""
    return ((self, 1.0),)

  @property
  def weighting(self) -> Weights:
    """How the parts are read as one."""
    return Weights((1.0,))

  def on_subset(self) -> Setting:
    """The same as evaluated on a subset of the examples; lanes that never were have no rows."""
    lanes = tuple(replace(lane, rows=lane.subset) for lane in self.lanes)
    return replace(self, lanes=lanes)

  def finals(self, key: str) -> list[float]:
    """The value of `key` at the end of each trial; only for a setting without a problem."""
    return [lane.final[key] for lane in self.lanes]


Tried = Mapping[int, Sequence[Setting]]  # the settings of each batch size, as `settings` gives them


class Curve(NamedTuple):
  """A quantity along training: its mean over trials, with its interval."""

  x: Sequence[float] = ()
  mean: Sequence[float] = ()
  low: Sequence[float] = ()
  high: Sequence[float] = ()


def settings(plan_rows: Sequence[Row], record_rows: Sequence[Row]) -> dict[int, list[Setting]]:
  """The settings of each batch size, both in ascending order, learning rates inside.

  Raises:
    ValueError: the rows are of several branches (`by_branch` parts them), or of different studies.
  """
  if len(branches := {row.get('branch', '') for row in plan_rows}) > 1:
    raise ValueError(
      f'the plan holds the branches {sorted(branches)}, whose lanes are no repetitions of each '
      'other: part them with by_branch.'
    )
  rows = _by_lane(plan_rows, record_rows)

  def place(row: Row) -> tuple[int, float]:
    return row['batch_size'], row['learning_rate']

  by_size: dict[int, list[Setting]] = {}
  in_order = sorted(plan_rows, key=lambda row: (*place(row), row['trial']))
  for (batch_size, learning_rate), members in itertools.groupby(in_order, key=place):
    lanes = tuple(_history(row, rows[row['lane']]) for row in members)
    by_size.setdefault(batch_size, []).append(Setting(batch_size, learning_rate, lanes))
  return by_size


def whole(rows: Sequence[Row]) -> list[Row]:
  """The records of whole splits alone."""
  return [row for row in rows if not _of_subset(row)]


def _of_subset(row: Row) -> bool:
  return 'val_examples' in row


def _history(plan: Row, rows: Sequence[Row]) -> LaneHistory:
  in_order = sorted(rows, key=lambda record: record['examples'])
  subset = tuple(row for row in in_order if _of_subset(row))
  return LaneHistory(plan, tuple(whole(in_order)), subset)


def by_branch(
  plan_rows: Sequence[Row], record_rows: Sequence[Row]
) -> dict[str, tuple[list[Row], list[Row]]]:
  """branch -> its rows of plan and records, in order of their first lanes; '' where there is none.

  The first is the baseline of the others.

  Raises:
    ValueError: plan and records are of different studies.
  """
  records = _by_lane(plan_rows, record_rows)
  branches: dict[str, tuple[list[Row], list[Row]]] = {}
  for row in sorted(plan_rows, key=lambda row: row['lane']):
    plan, rows = branches.setdefault(row.get('branch', ''), ([], []))
    plan.append(row)
    rows += records[row['lane']]
  return branches


def noise_curve(setting: Setting) -> tuple[list[float], list[float]]:
  """Examples seen (the middle of each stretch between records) and the noise scale there.

  The measurements of all trials count alike; NaN where the mean |G|^2 is not above zero.
  """
  examples, values = [], []
  for stretch in zip(*(itertools.pairwise(lane.rows) for lane in setting.lanes), strict=False):
    pooled = combine_windows([row['noise'] for _, row in stretch], blocks=False)
    positive = pooled.mean_a >= 0 and pooled.mean_b > 0
    examples.append((stretch[0][0]['examples'] + stretch[0][1]['examples']) / 2)
    values.append(pooled.mean_a / pooled.mean_b if positive else math.nan)
  return examples, values


def _by_lane(plan_rows: Sequence[Row], record_rows: Sequence[Row]) -> dict[int, list[Row]]:
  rows: dict[int, list[Row]] = {row['lane']: [] for row in plan_rows}
  for row in record_rows:
    if row['lane'] not in rows:
      raise ValueError(
        f'the records hold lane {row["lane"]}, the plan only lanes {min(rows)} to {max(rows)}: '
        'records.jsonl and plan.csv are of different studies.'
      )
    rows[row['lane']].append(row)
  return rows


def progress(plan_rows: Sequence[Row], record_rows: Sequence[Row]) -> float:
  """The share of the examples to be trained on that the records show as seen, from 0 to 1.

  Where all lanes have diverged nothing is left to train, nor of those that were dropped.
  """
  ended = dropped(record_rows)
  lost = {row['lane'] for row in record_rows if row['diverged']} | ended.keys()
  if lost.issuperset(row['lane'] for row in plan_rows):
    return 1.0
  seen: dict[int, int] = {}
  for row in whole(record_rows):
    seen[row['lane']] = max(seen.get(row['lane'], 0), row['examples'])
  ends = {row['lane']: ended.get(row['lane'], row['examples']) for row in plan_rows}
  return sum(min(seen.get(lane, 0), end) for lane, end in ends.items()) / sum(ends.values())


def provisional(plan_rows: Sequence[Row], record_rows: Sequence[Row]) -> list[Row]:
  """The plan as if it ended at the last evaluation that all lanes have reached.

  Those that were dropped need not. Where some lane has not trained yet, the plan stays as it is: a
  lane that is finished may then be shown, but must not be compared with one that has just begun.
  """
  by_lane: dict[int, list[Row]] = {row['lane']: [] for row in plan_rows}
  for row in sorted(whole(record_rows), key=lambda row: row['examples']):
    by_lane[row['lane']].append(row)
  ended = dropped(record_rows)
  reached = min((len(rows) for lane, rows in by_lane.items() if lane not in ended), default=0)
  if reached < 2:  # the first record is made before training
    return list(plan_rows)
  ends = {lane: rows[reached - 1] for lane, rows in by_lane.items() if len(rows) >= reached}
  end = next(iter(ends.values()))  # of lanes that were dropped before it
  return [
    {**row, 'epochs': ends.get(row['lane'], end)['epoch']}
    | {key: ends[row['lane']][key] for key in ('updates', 'examples') if row['lane'] in ends}
    | ({'examples': end['examples']} if row['lane'] not in ends else {})
    for row in plan_rows
  ]
