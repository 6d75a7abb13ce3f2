"""When each run reaches a target, at which learning rate soonest, and how targets are chosen.

Losses are compared and interpolated in logarithms, accuracies as error rates (1 - accuracy), so
that a lower `cost` is better throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bsjax.analysis.runs import dropped
from bsjax.analysis.runs.histories import LaneHistory, Setting, level_of
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason
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
  """A batch size at the learning rate that reaches the target soonest, one for all trials.

  `learning_rate` is None where no run of the batch size reaches the target; `reaches` are then of
  the rate that comes nearest. `at_grid_edge`: that rate is the lowest or the highest tried, so that
  another may need fewer examples, and what is never reached may be reached. The same where
  `skipped` holds rates: at each some trial failed, though none did at a larger one, and the others
  were there sooner. `dropped` holds the rates beside it that were dropped before they could have
  been as soon.
  """

  batch_size: int
  learning_rate: float | None
  at_grid_edge: bool
  reaches: tuple[Reach, ...]
  skipped: tuple[float, ...] = ()
  dropped: tuple[float, ...] = ()


def problem(by_size: Mapping[int, Sequence[Setting]], quantity: str) -> Reason | None:
  """Why the quantity cannot be compared between these runs, or None if it can.

  Raises:
    ValueError: the quantity is neither a loss nor an accuracy.
  """
  if not (quantity.endswith('loss') or judged().is_metric(quantity)):
    asked = f'give a loss or {judged().a_metric}, such as "val_loss"'
    raise ValueError(f'quantity is {quantity!r}: {asked}.')
  for lane in _lanes(by_size):
    if reason := _problem_of_lane(lane, quantity):
      return reason
  return None if trials(by_size) else Reason('no_trial_of_all')


def _problem_of_lane(lane: LaneHistory, quantity: str) -> Reason | None:
  where = {key: lane.plan[key] for key in ('batch_size', 'learning_rate', 'trial')}
  if len(lane.planned_rows) < 2:
    return Reason('no_record_after_start', **where)
  sizes = {row.get('batch_size', lane.plan['batch_size']) for row in lane.rows}
  if changed := sizes - {lane.plan['batch_size']}:
    return Reason('batch_size_changes', to=min(changed), **where)
  if any(row.get('stage', 0) for row in lane.rows):
    return Reason('training_in_stages')
  if _failed(lane):
    return None
  for row, cost in zip(lane.planned_rows, lane.costs(quantity), strict=True):
    if not (math.isfinite(cost) and cost >= 0):
      value = {'quantity': quantity, 'value': row.get(quantity), 'examples': row['examples']}
      return Reason('value_out_of_range', **value, **where)
  return None


def trials(by_size: Mapping[int, Sequence[Setting]]) -> list[int]:
  """The trials that every setting has."""
  of_settings = [
    {lane.plan['trial'] for lane in setting.lanes}
    for tried in by_size.values()
    for setting in tried
  ]
  return sorted(set.intersection(*of_settings)) if of_settings else []


def first_reach(lane: LaneHistory, quantity: str, target: float) -> Reach:
  """Where the curve first is at the target, which on a noisy curve may be before it stays there.

  Between the last record above the target and the first at or below it the logarithm of a loss is
  taken as linear in examples (an accuracy itself; a loss too, where it is zero). A run that fails
  is taken never to reach it, whatever it passed on its way, and so not by its planned end; a run
  that is not finished has not by its last record. From the untrained network nothing is
  interpolated: the first stretch of a curve is its steepest, and no line.
  """
  rows, level = lane.planned_rows, level_of(quantity, target)
  if _failed(lane):
    return Reach(float(lane.plan['examples']), AT_LEAST, None, math.inf)
  costs = lane.costs(quantity)
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
  """The best learning rate of a batch size over the trials of `use`.

  A run that never reaches the target is slower than every one that does: the setting with the
  fewest of them is chosen, then the lowest mean log of examples. Chosen on the runs that are
  reported, these examples are biased low, at all batch sizes alike.
  """
  reaches = [
    [first_reach(lane, quantity, target) for lane in setting.lanes if lane.plan['trial'] in use]
    for setting in tried
  ]
  best = min(range(len(tried)), key=lambda i: _slowness(reaches[i]))
  reached = any(reach.known != AT_LEAST for reach in reaches[best])
  return Point(
    tried[0].batch_size,
    tried[best].learning_rate if reached else None,
    best in (0, len(tried) - 1),
    tuple(reaches[best]),
    _skipped(tried, reaches, reaches[best], use),
    _dropped(tried, tried[best], reaches[best]),
  )


def _dropped(
  tried: Sequence[Setting], best: Setting, reaches: Sequence[Reach]
) -> tuple[float, ...]:
  """The dropped rates beside the best one that may have been sooner in some trial."""
  last = max(math.inf if one.known == AT_LEAST else one.examples for one in reaches)
  ends = {setting.learning_rate: setting.dropped or math.inf for setting in tried}
  beside = dropped.beside(tried, best.learning_rate)
  return tuple(rate for rate in beside if ends[rate] < last)


def _skipped(
  tried: Sequence[Setting],
  reaches: Sequence[Sequence[Reach]],
  best: Sequence[Reach],
  use: Sequence[int],
) -> tuple[float, ...]:
  """The rates that may be the best but for divergence that is no limit of the rate."""
  failed = [
    [_failed(lane) for lane in setting.lanes if lane.plan['trial'] in use] for setting in tried
  ]
  return tuple(
    setting.learning_rate
    for i, setting in enumerate(tried)
    if any(failed[i])
    and not all(any(larger) for larger in failed[i + 1 :])
    and _sooner(reaches[i], best, failed[i])
  )


def _sooner(here: Sequence[Reach], best: Sequence[Reach], failed: Sequence[bool]) -> bool:
  """Whether all trials that did not fail reach the target, and sooner than with the best rate."""
  both = zip(here, best, failed, strict=True)
  sound = [(reach, of_best) for reach, of_best, lost in both if not lost]
  if not sound or any(reach.known == AT_LEAST for pair in sound for reach in pair):
    return False
  return math.fsum(math.log(one.examples / other.examples) for one, other in sound) < 0


def choose_targets(
  by_size: Mapping[int, Sequence[Setting]], quantity: str, count: int = 5
) -> list[float] | Reason:
  """Levels from early to late in training, or why there are none.

  They are evenly spaced (in log loss, or in accuracy) strictly between two levels: the lowest cost
  that any run has at its first evaluation, above which its crossing would not be resolved, and the
  lowest that two thirds of the batch sizes, and three at least, reach in the median trial at some
  learning rate. Later ones may thus be missed by a few batch sizes, which keeps in what a target
  that suits all would hide. Chosen from the runs they are asked of, they favour levels that these
  trials happened to reach, and so somewhat few misses; the spacing does not look at examples.
  """
  sound = [lane for lane in _lanes(by_size) if not _failed(lane)]
  if len(by_size) < 3 or not sound:
    return Reason('too_few_to_compare', batch_sizes=len(by_size), runs=len(sound))
  early = min(min(lane.costs(quantity)[:2]) for lane in sound)
  needed = max(3, math.ceil(2 * len(by_size) / 3))
  late = sorted(
    min(_median_lowest(setting, quantity) for setting in tried) for tried in by_size.values()
  )
  floor = late[needed - 1]
  if math.isinf(floor):
    return Reason('too_few_end_well', needed=needed, batch_sizes=len(by_size))
  if not floor < early:
    return Reason('no_target_between', quantity=quantity, needed=needed)
  if quantity.endswith('loss') and floor > 0:
    return np.geomspace(early, floor, count + 2)[1:-1].tolist()
  levels = np.linspace(early, floor, count + 2)[1:-1]
  return [float(level_of(quantity, level)) for level in levels]


def _lanes(by_size: Mapping[int, Sequence[Setting]]) -> list[LaneHistory]:
  return [lane for tried in by_size.values() for setting in tried for lane in setting.lanes]


def _failed(lane: LaneHistory) -> bool:
  return lane.diverged or (lane.final is not None and lane.problem is not None)


def _median_lowest(setting: Setting, quantity: str) -> float:
  lowest = [math.inf if _failed(lane) else min(lane.costs(quantity)[1:]) for lane in setting.lanes]
  # The upper of two middle values: half of the trials must reach it.
  return sorted(lowest)[len(lowest) // 2]


def _slowness(reaches: Sequence[Reach]) -> tuple[int, float, float]:
  made = [reach for reach in reaches if reach.known != AT_LEAST]
  mean = math.fsum(math.log(reach.examples) for reach in made) / max(len(made), 1)
  # Where no run reaches the target, the one that comes nearest.
  return len(reaches) - len(made), mean, math.fsum(reach.lowest for reach in reaches)
