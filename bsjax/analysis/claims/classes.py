"""Accuracy by class against batch size: does too small a batch hurt the rare classes?

Every class counts alike here, whatever its examples: the balanced accuracy is the mean of the
accuracies of all classes, and that of rare, medium and frequent classes the mean over these. The
runs are those of the table of results, each trial at the learning rate that the others chose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims.claim import ABOVE, Kind
from bsjax.analysis.claims.pairs import pairs_with_best
from bsjax.analysis.claims.slopes import trend
from bsjax.analysis.measures.contrast import of_columns, slope
from bsjax.analysis.measures.gap import estimate, slope_row
from bsjax.analysis.runs.budgets import Reading
from bsjax.analysis.runs.histories import LaneHistory, Row, Setting
from bsjax.config.metrics import BALANCED, OF_CLASSES, REESTIMATED, VAL_OF_CLASSES
from bsjax.stats.estimate import Reason

EVEN = 2.0  # classes whose examples differ by less than this factor count as balanced
# The quantities whose slopes on log2(batch size) are claimed to be above zero.
CLAIMED = ('rare', BALANCED, 'rare_less_frequent')

Facts = Mapping[str, Any]  # of data.json


def applies(config: Mapping[str, Any], facts: Facts) -> bool:
  """Whether a study is one of unequal classes, by its data or by how they are drawn."""
  sampler = config['data'].get('sampler', 'uniform')
  return sampler != 'uniform' or _imbalance(facts['class_counts']['train']) > EVEN


def by_class(
  tried: Mapping[int, Sequence[Setting]], chosen: Mapping[int, Setting], facts: Facts
) -> dict[str, Any]:
  """Accuracies of all groups of classes at each batch size, their slopes, pairs and claims.

  {'class_names', 'class_counts', 'imbalance', 'groups': {name: [class]}, 'batch_sizes': [
  {'batch_size', 'learning_rate', quantity: E, ..., 'class_accuracy': [E]}], 'slopes': {quantity:
  S}, 'pairs': [...], 'claims': [...]}, with E = {'mean', 'ci95', 'n'} and S = {'value', 'ci95',
  'n'} or {'undefined'}.
  Quantities are 'balanced_accuracy', the groups, 'rare_less_frequent', and with BatchNorm the same
  with re-estimated statistics. {'undefined': why} where the records hold no accuracy by class.
  """
  counts = facts['class_counts']
  groups, why = class_groups(counts['train'], counts['validation'])
  head = {
    'class_names': list(facts['class_names']),
    'class_counts': counts,
    'imbalance': _imbalance(counts['train']),
    'groups': groups,
  }
  head |= {'no_groups': why} if why else {}
  read = {size: _reading(setting, groups) for size, setting in chosen.items()}
  if not any(reading.values for reading in read.values()):
    return head | {'undefined': Reason('no_metric_of_classes')}
  names = list(dict.fromkeys(name for reading in read.values() for name in reading.values))
  return head | {
    'batch_sizes': [
      _row(chosen[size], read[size], names)
      if size in chosen
      else {'batch_size': size, 'undefined': Reason('no_learning_rate')}
      for size in tried
    ],
    'slopes': {name: slope_row(slope(read, name)) for name in names},
    'pairs': _pairs(read),
    'claims': [
      trend(ABOVE, name, 'epochs', tried, chosen, read, Kind.CLASS)
      for name in CLAIMED
      if name in names
    ],
  }


def class_groups(
  train: Sequence[int], validation: Sequence[int]
) -> tuple[dict[str, list[int]], Reason | None]:
  """The rarest third of the classes by training examples, the middle, and the most frequent third.

  Classes without validation examples have no accuracy and take no part. None, and why, where rare
  classes have as many examples as frequent ones. Of equally frequent classes the one with the lower
  label counts as more frequent.
  """
  order = [c for c in np.lexsort((-np.arange(len(train)), train)).tolist() if validation[c]]
  third = len(order) // 3 or 1
  if len(order) < 2 or train[order[third - 1]] >= train[order[-third]]:
    return {}, Reason('classes_alike')
  rare, frequent = order[:third], order[-third:]
  middle = order[third : len(order) - third]
  groups = {'rare': rare, 'medium': middle, 'frequent': frequent}
  return {name: sorted(members) for name, members in groups.items() if members}, None


def _imbalance(train: Sequence[int]) -> float:
  """The largest class over the smallest one that has examples."""
  present = [count for count in train if count]
  return max(present) / min(present)


def _reading(setting: Setting, groups: Mapping[str, Sequence[int]]) -> Reading:
  """The final accuracies of every trial; nothing is interpolated at equal epochs."""
  finals = [_quantities(lane, groups) for lane in setting.lanes]
  if not finals or any(not values for values in finals):
    return Reading(problem=Reason('no_final_metric_of_classes'))
  columns = {name: [final[name] for final in finals] for name in finals[0]}
  return of_columns((lane.plan['trial'] for lane in setting.lanes), columns)


def _quantities(lane: LaneHistory, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
  final = lane.final if lane.problem is None else None
  values = {}
  for prefix in ('', REESTIMATED):
    by_class = final.get(prefix + VAL_OF_CLASSES) if final else None
    if by_class is None:
      continue
    values[prefix + BALANCED] = _mean([x for x in by_class if x is not None])
    for name, members in groups.items():
      values[prefix + name] = _mean([by_class[label] for label in members])
    if groups:
      rare, frequent = (values[prefix + name] for name in ('rare', 'frequent'))
      values[f'{prefix}rare_less_frequent'] = rare - frequent
  return values


def _mean(values: Sequence[float | None]) -> float:
  return math.nan if None in values else math.fsum(values) / len(values)


def _row(setting: Setting, reading: Reading, names: Sequence[str]) -> Row:
  row = {'batch_size': setting.batch_size, 'learning_rate': setting.learning_rate}
  if reading.problem:
    return row | {'undefined': reading.problem}
  row |= {name: estimate(reading.values.get(name, [])) for name in names}
  columns = zip(*(lane.final[VAL_OF_CLASSES] for lane in setting.lanes), strict=True)
  return row | {OF_CLASSES: [estimate(list(column)) for column in columns]}


def _pairs(read: Mapping[int, Reading]) -> list[Row]:
  """The best batch size against every other, within trials; intervals hold for all pairs of one."""
  rows = []
  for quantity in ('rare', BALANCED):
    values = {size: list(reading.values.get(quantity, [])) for size, reading in read.items()}
    for pair in pairs_with_best(values)[0]:
      interval = pair.plain.interval
      row = {'quantity': quantity, 'best': pair.best, 'other': pair.other}
      row |= interval.to_json('effect') | {'p_holm': pair.p_holm, 'confidence': interval.confidence}
      rows.append(row | {'verdict': ABOVE.verdict(interval)})
  return rows
