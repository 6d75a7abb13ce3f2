"""budgets: settings read between records, and the reasons why they cannot be."""

import pytest
from helpers.curves import first, study

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


def test_settings_meet_where_all_have_a_record_late_in_the_training_of_the_first_to_end():
  # 64 updates of batch size 64 with records every 64 / 12 (rounded): 43 are on records of all.
  chosen = first(study((8, 16, 64), (0.1,), 2, straight, 12))
  assert budgets.meeting_point(chosen, 'updates') == 43
  assert budgets.meeting_point(chosen, 'learning_rate_updates') == pytest.approx(4.3)
  assert budgets.meeting_point(chosen, 'epochs') == 16
  assert not any(reading.between for reading in budgets.readings(chosen, 'updates').values())
  # Without a record of all in the share asked for it is the end, where some are interpolated.
  assert budgets.meeting_point(chosen, 'updates', budgets.LAST_QUARTER) == 64
  assert budgets.last_common_record(chosen, 'updates', 43.0) == 43
  # Of 8 the first record is later than 42; 16 and 64 meet.
  assert budgets.last_common_record(chosen, 'updates', 42.0) == 21
  assert budgets.last_common_record(chosen, 'updates', 42.0, 0.6) == 42


def test_settings_meet_in_the_stage_in_which_the_first_of_them_ends():
  def curve(begins):
    return lambda lane, updates: {'stage': int(updates * lane['batch_size'] > begins)}

  late = first(study((8, 16, 64), (0.1,), 2, curve(2400), 12))  # 64 begins it after 37 updates
  assert budgets.meeting_point(late, 'updates') == 64
  assert budgets.meeting_point(dict(reversed(late.items())), 'updates') == 64
  early = first(study((8, 16, 64), (0.1,), 2, curve(1400), 12))  # after 21
  assert budgets.meeting_point(early, 'updates') == 43


def test_a_setting_that_cannot_be_read_by_then_does_not_keep_others_from_meeting():
  chosen = first(study((8, 512, 1024), (0.1,), 2, straight, 4))  # of 8 the first is after 128
  assert budgets.meeting_point(chosen, 'updates') == 4
  chosen = first(study((8, 32, 64), (0.1,), 2, straight, 12))
  assert budgets.meeting_point(chosen, 'updates') == 43
  tried = study((8, 32, 64), (0.1,), 2, straight, 12)
  for lane in tried[8][0].lanes:
    lane.rows[-1]['diverged'] = True
  chosen = first(tried)
  assert chosen[8].problem
  assert budgets.meeting_point(chosen, 'updates') == 64


def test_of_common_rates_that_are_as_good_the_lowest_is_taken():
  alike = study((8, 16), (0.1, 0.2), 2, lambda lane, _: {'val_accuracy': 0.5})
  assert {one.learning_rate for one in budgets.common_settings(alike).settings.values()} == {0.1}

  def mean(lane, _):
    """0.1 is better by the mean over batch sizes, 0.2 at one of them."""
    return {'val_accuracy': {(8, 0.1): 0.6, (16, 0.1): 0.6, (8, 0.2): 0.9, (16, 0.2): 0.2}[
      lane['batch_size'], lane['learning_rate']
    ]}  # fmt: skip

  best = budgets.common_settings(study((8, 16), (0.1, 0.2), 2, mean)).settings
  assert {one.learning_rate for one in best.values()} == {0.1}


def test_sums_of_learning_rates_that_differ_by_their_rounding_are_one_record():
  chosen = first(study((8, 64), (0.1,), 2, straight))  # 6.4 is a record of both
  for lane in chosen[8].lanes:
    for row in lane.rows:
      row['learning_rate_sum'] *= 1 + 2e-7
  read = budgets.readings(chosen, 'learning_rate_updates')
  assert read[8].between is None and read[8].values['updates'] == pytest.approx([64.0, 64.0])


def test_what_lies_between_records_is_between_those_of_all_lanes_together():
  setting = changed(1000)
  lane = setting.lanes[1]
  lane.rows[3]['updates'] += 8  # of 64, 96, 128 the middle one
  reading = budgets.read(setting, 'updates', 90)
  assert reading.between == (64.0, 104.0)
  at = 0.1 + 64e-4 + 32e-4 * 26 / 40  # on the line from 64 to 104 updates
  assert reading.values['val_accuracy'][1] == pytest.approx(at)


def test_one_that_ends_without_a_number_of_the_clock_does_not_say_where_others_meet():
  chosen = first(study((8, 64), (0.1,), 2, straight))
  for lane in chosen[64].lanes:
    lane.final['learning_rate_sum'] = None
  assert budgets.meeting_point(chosen, 'learning_rate_updates') == pytest.approx(51.2)
  assert budgets.meeting_point({64: chosen[64]}, 'learning_rate_updates') is None


def test_nothing_is_read_at_the_untrained_network():
  setting = changed(1000)
  assert budgets.read(setting, 'epochs', 0.5).problem.code == 'before_first_evaluation'
  end = {size: setting for size in (8, 16)}
  assert budgets.last_common_record(end, 'updates', 0.5) == 0.5


def test_the_first_record_may_be_the_one_that_all_have():
  chosen = first(study((8, 256), (0.1,), 2, straight, 16))  # of 8 every 32 updates, and 256 has 16
  assert budgets.last_common_record(chosen, 'updates', 32.0) == 32.0
  found = budgets.last_common_record(first(study((8, 16), (0.1,), 2, straight, 8)), 'updates', 64.0)
  assert found == 64.0


def test_gaps_are_positive_where_training_looks_better():
  row = {'val_accuracy': 0.75, 'train_accuracy': 1.0, 'val_loss': 1.5, 'train_loss': 0.5}
  found = budgets.quantities(row)
  assert (found['gap'], found['loss_gap']) == (0.25, 1.0)
