"""Accuracy by class where some have no examples, or some runs no accuracy by class."""

import numpy as np
import pytest
from helpers.curves import study

from bsjax.analysis.claims import classes
from bsjax.analysis.runs.selection import select
from bsjax.stats.estimate import Reason

COUNTS = {'train': [90, 30, 10, 0], 'validation': [9, 9, 9, 0]}
FACTS = {'class_names': list('abcd'), 'class_counts': COUNTS, 'classes_per_batch': []}


def found(value=lambda lane: [0.9, 0.8, 0.4, None], facts=FACTS, **more):
  def curve(lane, updates):
    by_class = value(lane)
    luck = 0.001 * lane['trial'] * (1 + lane['batch_size'] / 100)
    row = {'val_accuracy': 0.7 + luck, 'train_accuracy': 0.8}
    if by_class is None:
      return row
    return (
      row
      | {'val_class_accuracy': [x if x is None else x + luck for x in by_class]}
      | {key: row['val_accuracy'] for key in ('val_balanced_accuracy',)}
    )

  tried = study((8, 16), (0.1,), 3, curve, evaluations=2)
  return classes.by_class(tried, select(tried).chosen, facts)


def test_a_class_without_examples_is_in_no_mean_and_makes_nothing_unequal():
  row = found()['batch_sizes'][0]
  assert row['balanced_accuracy']['mean'] == pytest.approx(0.7 + 0.001 * 1.08)
  assert row['rare']['mean'] == pytest.approx(0.4 + 0.00108)
  assert row['rare_less_frequent']['mean'] == pytest.approx(-0.5)
  assert row['class_accuracy'][3] == {'mean': None, 'ci95': [None, None], 'n': 0}
  assert found()['imbalance'] == 9.0
  even = {'class_counts': {'train': [10, 10, 0], 'validation': [5, 5, 0]}}
  assert not classes.applies({'data': {}}, even)
  assert classes.applies({'data': {'sampler': 'inverse_frequency'}}, even)


def test_a_class_of_a_group_that_was_not_evaluated_leaves_the_group_without_a_value():
  row = found(lambda lane: [0.9, 0.8, None, None])['batch_sizes'][0]
  assert row['rare']['mean'] is None and row['rare']['n'] == 0
  assert row['balanced_accuracy']['mean'] == pytest.approx(0.85 + 0.00108)
  assert row['frequent']['mean'] == pytest.approx(0.9 + 0.00108)


@pytest.mark.parametrize('lost', [(0, 1, 2), (1,)])
def test_a_batch_size_of_which_some_run_has_no_accuracy_by_class_takes_no_part(lost):
  def value(lane):
    gone = lane['batch_size'] == 16 and lane['trial'] in lost
    return None if gone else [0.9, 0.8, 0.4, None]

  small, large = found(value)['batch_sizes']
  assert large['undefined'] == Reason('no_final_metric_of_classes')
  assert small['rare']['n'] == 3
  assert found(lambda lane: None)['undefined'] == Reason('no_metric_of_classes')


@pytest.mark.parametrize(
  'train, expected',
  [
    ([5, 5, 4], {'rare': [2], 'medium': [1], 'frequent': [0]}),
    ([5, 5, 5], {}),
    ([9, 9], {}),
    ([9, 8], {'rare': [1], 'frequent': [0]}),
    ([1, 9, 9, 9, 9, 1], {'rare': [0, 5], 'medium': [3, 4], 'frequent': [1, 2]}),
    ([9], {}),
  ],
)
def test_groups_of_few_classes(train, expected):
  groups, why = classes.class_groups(train, [1] * len(train))
  assert groups == expected and (why is None) == bool(expected)


def test_medium_classes_are_no_part_of_rare_less_frequent():
  rows = found()['batch_sizes']
  for row in rows:
    means = [row[name]['mean'] for name in ('rare', 'frequent', 'rare_less_frequent')]
    assert np.diff(means[:2])[0] == pytest.approx(-means[2])
