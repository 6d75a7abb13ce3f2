"""The base batch size against the others, their learning rate fixed, scaled by a rule, or tuned.

The rate of the base batch size is chosen for each trial on the others. 'Fixed' and 'scaled' take
that rate as it is or scaled, so they cost no tuning of their own; 'tuned' is chosen at the batch
size itself, again on the other trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims import confounds, verdicts
from bsjax.analysis.claims.verdicts import UNDETERMINED
from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.budgets import Reading
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.analysis.runs.selection import leave_one_trial_out
from bsjax.plan.scaling_rules import same, scaled
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval

TUNED = 'tuned'
WAYS = {
  'none': 'learning rate fixed',
  'sqrt': 'learning rate scaled by the square root',
  'linear': 'learning rate scaled linearly',
  TUNED: 'learning rate tuned for itself',
}
CLOCKS = ('epochs', 'updates')
ACCURACIES = ('val_accuracy', 'reestimated_val_accuracy')

Lanes = Sequence[LaneHistory]


def ways(
  found: Mapping[int, Sequence[Setting]], base: int, rules: Sequence[str], margin: float
) -> dict[str, Any]:
  """{'base', 'confidence', 'rows'}: a row a batch size, way and clock; or {'undefined': why}.

  A difference is the accuracy of the base batch size less that of the other, within the trial.
  Intervals of all rows of a clock hold together with 95%. Rows have the claims 'better' (the base
  is) and 'keeps' (both are within the margin).
  """
  chosen = leave_one_trial_out(found[base])
  if chosen.reason:
    return {'undefined': Reason('no_rate_to_scale', batch_size=base, why=chosen.reason)}
  sizes = [size for size in found if size != base]
  confidence = 1 - 0.05 / (len(sizes) * (len(rules) + 1))
  rows = []
  for size in sizes:
    for way in (*rules, TUNED):
      lanes, why = _lanes(found[size], chosen.lanes, way)
      row = {'batch_size': size, 'way': way} | _about(found[size], lanes, way)
      for clock in CLOCKS:
        compared = (
          {'undefined': why}
          if why
          else _compared(chosen.lanes, lanes, way, clock, confidence, margin)
        )
        rows.append(row | {'clock': clock} | compared)
  about = {'batch_size': base, 'selection': chosen.selection}
  about |= _about(found[base], chosen.lanes, TUNED)
  return {'base': about, 'confidence': confidence, 'rows': rows}


def _lanes(tried: Sequence[Setting], base: Lanes, way: str) -> tuple[Lanes, str | Reason | None]:
  """The lane of every trial at the rate that this way gives it; or why there is none."""
  if way == TUNED:
    held_out = leave_one_trial_out(tried)
    return held_out.lanes, held_out.reason
  size, lanes = tried[0].batch_size, []
  for lane in base:
    rate = scaled(way, lane.plan['learning_rate'], size, lane.plan['batch_size'])
    trial = lane.plan['trial']
    there = [
      other
      for setting in tried
      if same(setting.learning_rate, rate)
      for other in setting.lanes
      if other.plan['trial'] == trial
    ]
    if not there:
      return (), f'trial {trial} was not run at learning rate {rate:.4g}'
    lanes += there[:1]
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
  base: Lanes, lanes: Lanes, way: str, clock: str, confidence: float, margin: float
) -> dict[str, Any]:
  """Both where the first of them ends by this clock; what lies between records may not decide."""
  pair = {own[0].plan['batch_size']: Setting(_size(own), math.nan, own) for own in (base, lanes)}
  first, second = _size(base), _size(lanes)
  read = budgets.readings(pair, clock)
  problems = [[size, each.problem] for size, each in read.items() if each.problem]
  if problems:
    return {'undefined': Reason('batch_sizes_failed', problems=problems)}
  kinds = {
    key: _differences(read[first], read[second], key, confidence)
    for key in ACCURACIES
    if all(key in each.values for each in read.values())
  }
  text = f'batch size {first} is better than {second}, {WAYS[way]}, at equal {clock}'
  near = (
    f'batch sizes {first} and {second}, {WAYS[way]}, differ by less than {100 * margin:g} '
    f'percentage points at equal {clock}'
  )
  context = _context(pair, read, clock)
  return {
    'at': budgets.meeting_point(pair, clock),
    'interpolated': any(each.between for each in read.values()),
    **{key: _json(ends[0]) for key, ends in kinds.items()},
    'better': _judged(text, verdicts.above, kinds, confidence, None, context),
    'keeps': _judged(near, verdicts.near(0.0, margin), kinds, confidence, margin, context),
  }


def _size(lanes: Lanes) -> int:
  return lanes[0].plan['batch_size']


def _differences(a: Reading, b: Reading, key: str, confidence: float) -> list[Estimate]:
  """The difference as interpolated, and at its least and most wherever between the records."""
  low_a, high_a = np.minimum(a.before[key], a.after[key]), np.maximum(a.before[key], a.after[key])
  low_b, high_b = np.minimum(b.before[key], b.after[key]), np.maximum(b.before[key], b.after[key])
  ends = a.values[key] - b.values[key], low_a - high_b, high_a - low_b
  return [mean_interval(end, confidence) for end in ends]


def _judged(
  text: str,
  rule: verdicts.Rule,
  kinds: Mapping[str, Sequence[Estimate]],
  confidence: float,
  margin: float | None,
  context: Sequence[str],
) -> dict[str, Any]:
  found = verdicts.of_accuracies(
    text, rule, [ends[0] for ends in kinds.values()], confidence, margin
  )
  anywhere = {rule(interval) for ends in kinds.values() for interval in ends}
  if found['verdict'] != UNDETERMINED and len(anywhere) > 1:
    found['verdict'] = UNDETERMINED
    found['why'] += ' This rests on straight lines between evaluations: evaluate more often.'
  found['why'] = ' '.join([found['why'], *context])
  return found


def _context(pair: Mapping[int, Setting], read: Mapping[int, Reading], clock: str) -> list[str]:
  if clock == 'epochs':
    return confounds.budget(pair, list(pair))
  return confounds.schedule(pair, read, list(pair))


def _json(interval: Estimate) -> dict[str, Any]:
  return {'mean': interval.value, 'ci95': [interval.low, interval.high], 'n': interval.n}
