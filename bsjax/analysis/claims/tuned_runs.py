"""The base batch size against the others, their learning rate fixed, scaled by a rule, or tuned.

The rate of the base batch size is chosen for each trial on the others. 'Fixed' and 'scaled' take
that rate as it is or scaled, so they cost no tuning of their own; 'tuned' is chosen at the batch
size itself, again on the other trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import ABOVE, Kind, judge, within
from bsjax.analysis.measures.contrast import Effect, both_kinds, difference
from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.budgets import Reading
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.analysis.runs.selection import leave_one_trial_out
from bsjax.config.metrics import REESTIMATED, VAL
from bsjax.plan.scaling_rules import same, scaled
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import simultaneous

TUNED = 'tuned'
BUDGETS = ('epochs', 'updates')

Lanes = Sequence[LaneHistory]


def ways(
  tried: Mapping[int, Sequence[Setting]], base: int, rules: Sequence[str], margin: float
) -> dict[str, Any]:
  """{'base', 'confidence', 'rows'}, one row for each batch size, way and budget ('clock').

  Or {'undefined': why}. A difference is the accuracy of the base batch size less that of the other,
  within the trial. Intervals of all rows of a budget hold together with 95%. Rows have the claims
  'better' (the base is) and 'keeps' (both are within the margin).
  """
  chosen = leave_one_trial_out(tried[base])
  if chosen.reason:
    return {'undefined': Reason('nothing_to_scale', base=base, why=chosen.reason)}
  sizes = [size for size in tried if size != base]
  confidence = simultaneous(len(sizes) * (len(rules) + 1))
  rows = []
  for size in sizes:
    for way in (*rules, TUNED):
      lanes, why = _lanes(tried[size], chosen.lanes, way)
      row = {'batch_size': size, 'way': way} | _about(tried[size], lanes, way)
      for budget in BUDGETS:
        compared = (
          {'undefined': why}
          if why
          else _compared(chosen.lanes, lanes, way, budget, confidence, margin)
        )
        rows.append(row | {'clock': budget} | compared)
  about = {'batch_size': base, 'selection': chosen.selection}
  about |= _about(tried[base], chosen.lanes, TUNED)
  return {'base': about, 'confidence': confidence, 'rows': rows}


def _lanes(tried: Sequence[Setting], base: Lanes, way: str) -> tuple[Lanes, Any]:
  """The lane of every trial at the rate that this way gives it; or why there is none."""
  if way == TUNED:
    held_out = leave_one_trial_out(tried)
    return held_out.lanes, held_out.reason
  size, lanes = tried[0].batch_size, []
  for base_lane in base:
    rate = scaled(way, base_lane.plan['learning_rate'], size, base_lane.plan['batch_size'])
    trial = base_lane.plan['trial']
    at_rate = [
      lane
      for setting in tried
      if same(setting.learning_rate, rate)
      for lane in setting.lanes
      if lane.plan['trial'] == trial
    ]
    if not at_rate:
      return (), Reason('trial_not_run', trial=trial, learning_rate=rate)
    lanes += at_rate[:1]
  failed = [[lane.plan['trial'], lane.problem] for lane in lanes if lane.problem]
  return tuple(lanes), Reason('lanes_failed', trials=failed) if failed else None


def _about(tried: Sequence[Setting], lanes: Lanes, way: str) -> dict[str, Any]:
  """What was trained: learning rates, updates, and whether a tuned rate is at the grid's edge."""
  plan = tried[0].lanes[0].plan
  rates = [setting.learning_rate for setting in tried]
  taken = [lane.plan['learning_rate'] for lane in lanes]
  edge = bool({min(rates), max(rates)} & set(taken)) if way == TUNED else None
  return {
    'learning_rates': taken,
    'at_grid_edge': edge,
    'updates': plan['updates'],
    'updates_per_epoch': plan['updates'] / plan['epochs'],
  }


def _compared(
  base: Lanes, lanes: Lanes, way: str, budget: str, confidence: float, margin: float
) -> dict[str, Any]:
  """Both where they meet by this budget."""
  pair = {_size(part): Setting(_size(part), math.nan, part) for part in (base, lanes)}
  read = budgets.readings(pair, budget)
  problems = [[size, reading.problem] for size, reading in read.items() if reading.problem]
  if problems:
    return {'undefined': Reason('unreadable', problems=problems)}
  plain, again, intervals = accuracies(*read.values(), confidence)
  if budget == 'epochs':
    context = confounds.updates(pair, list(pair))
  else:
    context = confounds.schedule(pair, read, list(pair))
  about = {'kind': Kind.WAY, 'subject': (_size(base), _size(lanes), way), 'quantity': VAL}
  about['budget'] = budget
  return {
    'at': budgets.meeting_point(pair, budget),
    'interpolated': any(reading.between for reading in read.values()),
    **intervals,
    'better': judge(ABOVE, plain, again, context, **about),
    'keeps': judge(within(margin), plain, again, context, **about),
  }


def accuracies(
  first: Reading, second: Reading, confidence: float
) -> tuple[Effect, Effect | None, dict[str, Any]]:
  """The accuracy of the first less the second, by both kinds of statistics, and as columns."""

  def measure(quantity: str) -> Effect:
    return difference(first, second, quantity, confidence)

  plain, again = both_kinds(measure, (first, second), VAL)
  columns = {VAL: plain.interval.to_json()}
  if again is not None:
    columns[REESTIMATED + VAL] = again.interval.to_json()
  return plain, again, columns


def _size(lanes: Lanes) -> int:
  return lanes[0].plan['batch_size']
