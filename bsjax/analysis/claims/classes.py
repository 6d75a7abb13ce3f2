"""Accuracy by class against batch size: does too small a batch hurt the rare classes?

Every class counts alike here, whatever its examples: the balanced accuracy is the mean of the
accuracies of all classes, and that of rare, medium and frequent classes the mean over these. The
runs are those of the table of results, read at the best learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import ABOVE, UNDETERMINED, Kind, better
from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.claims.slopes import trend
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.gap import estimate, slope_row
from bsjax.analysis.runs.budgets import of_finals
from bsjax.analysis.runs.histories import LaneHistory, Row, Setting, Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.stats.estimate import Reason

EVEN = 2.0  # classes whose examples differ by less than this factor count as balanced


# The quantities whose slopes on log2(batch size) are claimed to be above zero.
def claimed() -> tuple[str, ...]:
  return 'rare', judged().balanced, 'rare_less_frequent'


Facts = Mapping[str, Any]  # of data.json


def applies(config: Mapping[str, Any], facts: Facts) -> bool:
  """Whether a study is one of unequal classes, by its data or by how they are drawn."""
  sampler = config['data'].get('sampler', 'uniform')
  return sampler != 'uniform' or _imbalance(facts['class_counts']['train']) > EVEN


def by_class(tried: Tried, chosen: Chosen, facts: Facts) -> dict[str, Any]:
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
    'slopes': {name: slope_row(Comparison(read, name).slope()) for name in names},
    'pairs': _pairs(chosen, read),
    'claims': [
      trend(ABOVE, name, 'epochs', tried, chosen, read, Kind.CLASS)
      for name in claimed()
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
  if any(not _quantities(lane, groups) for part, _ in setting.parts for lane in part.lanes):
    return Reading(problem=Reason('no_final_metric_of_classes'))
  return of_finals(setting, lambda lane: _quantities(lane, groups))


def _quantities(lane: LaneHistory, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
  final = lane.final if lane.problem is None else None
  values = {}
  for prefix in ('', REESTIMATED):
    by_class = final.get(prefix + judged().val_of_classes) if final else None
    if by_class is None:
      continue
    values[prefix + judged().balanced] = _mean([x for x in by_class if x is not None])
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
  row |= {
    name: estimate(reading.repeated(name) if name in reading.values else [], _bounded_as(name))
    for name in names
  }
  labels = of_finals(setting, _by_label)
  return row | {
    judged().of_classes: [
      estimate(labels.repeated(label), judged().val_of_classes) for label in labels.values
    ]
  }


def _bounded_as(name: str) -> str:
  """The quantity whose bounds hold for that of a group of classes; none for a difference."""
  return '' if name.endswith('rare_less_frequent') else judged().val_of_classes


def _by_label(lane: LaneHistory) -> dict[str, float | None]:
  return {str(label): value for label, value in enumerate(lane.final[judged().val_of_classes])}


def _pairs(chosen: Chosen, read: Mapping[int, Reading]) -> list[Row]:
  """The best batch size against every other; the intervals of one quantity hold together.

  Of one that is read beside its best rates nothing is shown.
  """
  rows = []
  for quantity in ('rare', judged().balanced):
    for pair in rank(read, quantity).pairs:
      interval = pair.plain.interval
      row = {'quantity': quantity, 'best': pair.best, 'other': pair.other}
      row |= interval.to_json('effect')
      row |= {'p_adjusted': pair.p_adjusted, 'confidence': interval.confidence}
      unsure = confounds.skipped(chosen, [pair.other])
      rows.append(row | {'verdict': UNDETERMINED if unsure else better().verdict(interval)})
  return rows
