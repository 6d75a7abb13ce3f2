"""Reaching a target: when each run does, at which learning rate soonest, which targets to ask of.

Losses are compared and interpolated in logarithms, accuracies as error rates (1 - accuracy), so
that a lower `cost` is better throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.runs.histories import LaneHistory, Row, Setting
from bsjax.stats.tobit import AT_LEAST, AT_MOST, EXACT


class Reach(NamedTuple):
  """The examples at which a run first reaches a target.

  `known` is EXACT (interpolated between the examples of two records, `between`), AT_LEAST for a run
  that has not reached it by then, or AT_MOST for one that had at its first evaluation. `lowest` is
  the lowest cost of the run, infinite if it diverged.
  """

  examples: float
  known: int
  between: tuple[float, float] | None
  lowest: float


class Point(NamedTuple):
  """A batch size at the learning rate that reaches the target soonest.

  `learning_rate` is chosen on all trials; each of `learning_rates` on the other trials than the one
  it is reported on, where there are others. None where no run that chose reached the target.
  """

  batch_size: int
  learning_rate: float | None
  learning_rates: tuple[float | None, ...]
  at_grid_edge: bool | None
  reaches: tuple[Reach, ...]


def problem(found: Mapping[int, Sequence[Setting]], quantity: str) -> str:
  """Why the quantity cannot be compared between these runs; empty if it can.

  Raises:
    ValueError: the quantity is neither a loss nor an accuracy.
  """
  if not quantity.endswith(('loss', 'accuracy')):
    raise ValueError(f'quantity is {quantity!r}: give a loss or an accuracy, such as "val_loss".')
  for lane in (lane for tried in found.values() for setting in tried for lane in setting.lanes):
    where = (
      f'batch size {lane.plan["batch_size"]}, learning rate {lane.plan["learning_rate"]:.4g}, '
      f'trial {lane.plan["trial"]}'
    )
    if len(_rows(lane)) < 2:
      return f'the run of {where} has no record after the start of training'
    if changed := {row.get('batch_size', lane.plan['batch_size']) for row in lane.rows} - {
      lane.plan['batch_size']
    }:
      return f'the batch size changes in training, to {min(changed)}, in the run of {where}'
    if any(row.get('stage', 0) for row in lane.rows):
      return 'training goes through stages, which what it takes to a target would mix'
    for row in () if _failed(lane) else _rows(lane):
      cost = _cost(row, quantity)
      if not (math.isfinite(cost) and cost >= 0):
        value, examples = row.get(quantity), row['examples']
        return f'{quantity} is {value} after {examples} examples in the run of {where}'
  if not trials(found):
    return 'the settings have no trial in common'
  return ''


def trials(found: Mapping[int, Sequence[Setting]]) -> list[int]:
  """The trials that every setting has."""
  held = [
    {lane.plan['trial'] for lane in setting.lanes} for tried in found.values() for setting in tried
  ]
  return sorted(set.intersection(*held)) if held else []


def first_reach(lane: LaneHistory, quantity: str, target: float) -> Reach:
  """Where the curve first is at the target, which on a noisy curve may be before it stays there.

  Between the last record above the target and the first at or below it the logarithm of a loss is
  taken as linear in examples (an accuracy itself; a loss too, where it is zero). A run that fails
  is taken never to reach it, whatever it passed on its way, and so not by its planned end; a run
  that is not finished has not by its last record. From the untrained network nothing is
  interpolated: the first stretch of a curve is its steepest, and no line.
  """
  rows, level = _rows(lane), level_of(quantity, target)
  if _failed(lane):
    return Reach(float(lane.plan['examples']), AT_LEAST, None, math.inf)
  costs = [_cost(row, quantity) for row in rows]
  lowest = min(costs[1:])
  below = next((i for i in range(1, len(rows)) if costs[i] <= level), None)
  if below is None:
    return Reach(float(rows[-1]['examples']), AT_LEAST, None, lowest)
  start, end = float(rows[below - 1]['examples']), float(rows[below]['examples'])
  if below == 1:
    return Reach(end, AT_MOST, None, lowest)
  above, under = costs[below - 1], costs[below]
  if quantity.endswith('loss') and under > 0:
    above, under, level = math.log(above), math.log(under), math.log(level)
  share = (above - level) / (above - under)
  return Reach(start + share * (end - start), EXACT, (start, end), lowest)


def soonest(tried: Sequence[Setting], quantity: str, target: float, use: Sequence[int]) -> Point:
  """The best learning rate of a batch size, chosen for each trial of `use` on the others.

  A run that never reaches the target is slower than every one that does: the setting with the
  fewest of them is chosen, then the lowest mean log of examples. With one trial it is chosen on
  that same trial, and the examples are biased low.
  """
  reaches = [
    {
      lane.plan['trial']: first_reach(lane, quantity, target)
      for lane in setting.lanes
      if lane.plan['trial'] in use
    }
    for setting in tried
  ]

  def choose(on: Sequence[int]) -> int:
    return min(range(len(tried)), key=lambda i: _slowness([reaches[i][trial] for trial in on]))

  picks = [choose([other for other in use if other != trial] or [trial]) for trial in use]
  reached = [any(reaches[i][trial].known != AT_LEAST for trial in use) for i in range(len(tried))]
  overall = choose(use)
  rates = [setting.learning_rate for setting in tried]
  edges = {0, len(tried) - 1}
  return Point(
    tried[0].batch_size,
    rates[overall] if reached[overall] else None,
    tuple(rates[i] if reached[i] else None for i in picks),
    bool(edges & {overall, *picks}) if reached[overall] else None,
    tuple(reaches[i][trial] for i, trial in zip(picks, use, strict=True)),
  )


def choose_targets(
  found: Mapping[int, Sequence[Setting]], quantity: str, count: int = 5
) -> tuple[list[float], str]:
  """Levels from early to late in training, or none and why not.

  They are evenly spaced (in log loss, or in accuracy) strictly between two levels: the lowest cost
  that any run has at its first evaluation, above which its crossing would not be resolved, and the
  lowest that two thirds of the batch sizes, and three at least, reach in the median trial at some
  learning rate. Later ones may thus be missed by a few batch sizes, which keeps in what a target
  that suits all would hide. Chosen from the runs they are asked of, they favour levels that these
  trials happened to reach, and so somewhat few misses; the spacing does not look at examples.
  """
  lanes = [lane for tried in found.values() for setting in tried for lane in setting.lanes]
  sound = [lane for lane in lanes if not _failed(lane)]
  if len(found) < 3 or not sound:
    return (
      [],
      f'{len(found)} batch sizes with {len(sound)} runs that did not fail: three are needed',
    )
  early = min(min(_cost(row, quantity) for row in _rows(lane)[:2]) for lane in sound)
  needed = max(3, math.ceil(2 * len(found) / 3))
  late = sorted(
    min(_median_lowest(setting, quantity) for setting in tried) for tried in found.values()
  )
  floor = late[needed - 1]
  if math.isinf(floor):
    return (
      [],
      f'fewer than {needed} of {len(found)} batch sizes have a learning rate at '
      'which most trials end well',
    )
  if not floor < early:
    return [], (
      f'no level of {quantity} that {needed} batch sizes reach lies beyond what some run has at '
      'its first evaluation: evaluate more often, or train for longer'
    )
  if quantity.endswith('loss') and floor > 0:
    levels = np.geomspace(early, floor, count + 2)[1:-1]
    return [float(level) for level in levels], ''
  levels = np.linspace(early, floor, count + 2)[1:-1]
  return [float(level_of(quantity, level)) for level in levels], ''


def level_of(quantity: str, value: float) -> float:
  """A value of the quantity as a cost, and back."""
  return 1 - value if quantity.endswith('accuracy') else value


def _cost(row: Row, quantity: str) -> float:
  """NaN where missing or out of range, so that a comparison cannot pass."""
  value: Any = row.get(quantity)
  if value is None or (quantity.endswith('accuracy') and not 0 <= value <= 1):
    return math.nan
  return level_of(quantity, float(value))


def _rows(lane: LaneHistory) -> Sequence[Row]:
  """The record before training and those up to the planned end."""
  return [row for row in lane.rows if row['examples'] <= lane.plan['examples']]


def _failed(lane: LaneHistory) -> bool:
  diverged = any(row['diverged'] for row in lane.rows)
  return diverged or (lane.final is not None and lane.problem is not None)


def _median_lowest(setting: Setting, quantity: str) -> float:
  lowest = [
    math.inf if _failed(lane) else min(_cost(row, quantity) for row in _rows(lane)[1:])
    for lane in setting.lanes
  ]
  # The upper of two middle values: half of the trials must reach it.
  return sorted(lowest)[len(lowest) // 2]


def _slowness(reaches: Sequence[Reach]) -> tuple[int, float, float]:
  made = [reach for reach in reaches if reach.known != AT_LEAST]
  mean = math.fsum(math.log(reach.examples) for reach in made) / max(len(made), 1)
  # Where no run reaches the target, the one that comes nearest.
  return len(reaches) - len(made), mean, math.fsum(reach.lowest for reach in reaches)
