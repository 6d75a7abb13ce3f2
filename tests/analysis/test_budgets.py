"""budgets: settings read between records, and the reasons why they cannot be."""

import pytest
from helpers.curves import study

from bsjax.analysis.runs import budgets
from bsjax.stats.estimate import Reason


def straight(lane, updates):
  return {'val_accuracy': 0.1 * lane['trial'] + 1e-4 * updates}


def changed(at, **values):
  """A curve whose records from some updates on have other values, in trial 1."""

  def curve(lane, updates):
    return straight(lane, updates) | (values if lane['trial'] and updates >= at else {})

  return study((8,), (0.1,), 2, curve)[8][0]


@pytest.mark.parametrize('updates', [64, 72, 80, 90])
def test_readings_lie_as_far_between_records_as_asked(updates):
  reading = budgets.read(changed(1000), 'updates', updates)  # records every 32 updates
  expected = [1e-4 * updates, 0.1 + 1e-4 * updates]
  assert reading.values['val_accuracy'] == pytest.approx(expected, abs=1e-12)
  assert reading.trials == (0, 1)
  assert reading.between == (None if updates == 64 else (64.0, 96.0))
  ends = [0.0064, 0.0064] if updates == 64 else [0.0064, 0.0096]
  around = reading.low['val_accuracy'][0], reading.high['val_accuracy'][0]
  assert list(around) == pytest.approx(ends, abs=1e-12)


@pytest.mark.parametrize(
  ('values', 'code'),
  [
    ({'learning_rate_sum': None}, 'record_not_finite'),
    ({'learning_rate_sum': 1.0}, 'record_goes_down'),
  ],
)
def test_a_budget_that_does_not_rise_cannot_be_read(values, code):
  reading = budgets.read(changed(100, **values), 'learning_rate_updates', 8.0)
  assert reading.problem == Reason(code, trial=1, key='learning_rate_sum') and not reading.values


def test_a_budget_that_no_record_has_is_named():
  setting = changed(0, learning_rate_sum=None)
  for lane in setting.lanes:
    lane.final['learning_rate_sum'] = None
  (reading,) = budgets.readings({8: setting}, 'learning_rate_updates').values()
  assert reading.problem == Reason('not_recorded', key='learning_rate_sum')


def test_one_batch_size_has_no_common_rate():
  common = budgets.common_settings(study((8,), (0.1, 0.2), 2, straight))
  assert common == ({}, Reason('fewer_than_two_batch_sizes'))
  by_size = study((8, 16), (0.1, 0.2), 2, lambda lane, _: {'val_accuracy': lane['learning_rate']})
  common = budgets.common_settings(by_size)
  assert common.reason is None
  assert common.settings == {size: tried[1] for size, tried in by_size.items()}
