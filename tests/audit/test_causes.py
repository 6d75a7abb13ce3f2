"""Confounds at their edges: what is present, what stays unknown; claims about rates."""

import math

import numpy as np
import pytest
from helpers.audit_tables import claims, confounds, rising, sweep

from bsjax.analysis.claims.causes import UNKNOWN, Confound
from bsjax.analysis.runs.histories import Setting
from bsjax.audit import audit, dynamics
from bsjax.audit.confounds import over_cells
from bsjax.audit.good_rates import narrowing, width
from bsjax.stats.estimate import Reason

SIZES = (16, 64, 256)
FRAME = sweep(rising, SIZES)
EPOCH, SIZE = FRAME['epoch'], FRAME['batch_size']


def present(found, code):
  return confounds(found)[code]['present']


@pytest.mark.parametrize(
  'momentum, updates, stale',
  [
    (0.99, (1600, 400, 400), True),  # 1.8% against nothing
    (0.99, (1600, 500, 500), 'unknown'),  # 0.7%
    (0.99, (1600, 1600, 700), False),  # less than 0.1%
    (0.99, (100, 100, 100), False),  # 37%, of all alike
    (None, (1600, 400, 100), 'unknown'),
  ],
)
def test_statistics_are_stale_by_what_they_differ_in(momentum, updates, stale):
  made = EPOCH * SIZE.map(dict(zip(SIZES, updates, strict=True))) / 4
  found = audit(FRAME.assign(updates=made).drop(columns='epoch'), batch_norm=momentum)
  row = confounds(found)['stale_batch_norm']
  assert row['present'] == stale
  if momentum is None:
    (why,) = row['reasons']
    assert why['code'] == 'stale_if' and (why['size'], why['updates']) == (256, 100)
    assert why['shares'] == pytest.approx([0.9**100, 0.99**100, 0.999**100])


@pytest.mark.parametrize(
  'late, step, found',
  [
    (0.003, 0.01, True),  # more than a quarter of the difference
    (0.002, 0.01, False),
    (0.0007, 0.002, False),
    (0.0015, 0.002, True),  # more than a fifth of the margin
    (0.004, 0.04, False),  # less than the margin
    (0.006, 0.04, True),
  ],
)
def test_gains_in_the_last_fifth_count_by_the_difference_that_they_may_make(late, step, found):
  def value(size, rate, epoch):
    return 0.8 - step * (size > 16) + late * (epoch == 5)

  frame = sweep(value, (16, 64), epochs=5, luck=0.0002)
  assert present(audit(frame, batch_norm='none'), 'undertrained') is found


def test_equivalence_that_is_shown_takes_no_more_trials():
  def alike(size, rate, epoch):
    return 0.5 + 0.05 * epoch

  found = audit(sweep(alike, luck=0.0004))
  assert found.result['answer']['code'] == 'equivalent'
  assert present(found, 'too_few_trials') is False


def test_a_loader_that_fills_up_its_last_batch_drops_nothing():
  made = EPOCH * np.ceil(1000 / SIZE)
  row = confounds(audit(FRAME.assign(updates=made), train_examples=1000))['dropped_examples']
  assert row['present'] is False
  assert row['reasons'] == [{'code': 'drops', 'size': 16, 'share': 0.0}]
  few = EPOCH * 996 / SIZE
  assert present(audit(FRAME.assign(updates=few), train_examples=1000), 'dropped_examples') == (
    'unknown'
  )


def test_runs_that_end_at_other_epochs_are_not_of_one_budget():
  assert present(audit(FRAME), 'budget_in_epochs') is True
  apart = FRAME.assign(epoch=EPOCH * (1 + (SIZE == 256)))
  assert present(audit(apart), 'budget_in_epochs') is False


@pytest.mark.parametrize('train, found', [(-0.1, True), (0.1, 'unknown')])
def test_a_training_metric_below_that_of_validation_is_of_training_mode(train, found):
  frame = FRAME.assign(train_accuracy=FRAME['val_accuracy'] + train)
  assert present(audit(frame), 'training_mode_metric') == found


@pytest.mark.parametrize('first, later, found', [(-0.1, 0.1, True), (0.1, -0.1, 'unknown')])
def test_training_mode_shows_in_the_first_epoch(first, later, found):
  apart = np.where(EPOCH == 1, first, later)
  frame = FRAME.assign(train_accuracy=FRAME['val_accuracy'] + apart)
  assert present(audit(frame), 'training_mode_metric') == found


def test_errors_that_resemble_each_other_a_little_leave_smoothing_unknown():
  """Means of k neighbours have the correlation 1 - 1 / k, in the second half of training."""
  frame = sweep(lambda *_: 0.8, epochs=120)
  errors = np.random.default_rng(0).normal(0, 0.01, (len(frame) // 120, 120))
  for count, found in ((1, False), (2, 'unknown'), (6, True)):
    near = sum(np.roll(errors, place, axis=1) for place in range(count)) / count
    noisy = frame.assign(val_accuracy=frame['val_accuracy'] + near.ravel())
    assert present(audit(noisy), 'metric_smoothed') == found


def test_several_rates_chosen_on_test_data_are_worse_than_one():
  def why(rates):
    frame = sweep(rising, rates=rates).rename(columns={'val_accuracy': 'test_acc'})
    return confounds(audit(frame))['test_set_used']['reasons'][0]['several']

  assert why((0.1, 0.2)) is True and why((0.1,)) is False


def test_over_cells_a_confound_is_as_in_the_worst_of_them():
  def of(presents):
    cells = [[Confound('x', one, True, (Reason(f'{at}'),))] for at, one in enumerate(presents)]
    (found,) = over_cells(cells)
    count = found.evidence[0].details
    return found.present, found.evidence[1].code, count['count'], count['unknown'], count['cells']

  assert of([False, UNKNOWN, True]) == (True, '2', 1, 1, 3)
  assert of([False, UNKNOWN, False]) == (UNKNOWN, '1', 0, 1, 3)
  assert of([False, False]) == (False, '0', 0, 0, 2)
  assert over_cells([[Confound('x', True, True, ())]])[0].explains is None


# --- claims about rates ---


def test_where_nothing_shows_at_one_rate_the_rate_is_no_cause():
  def alike(size, rate, epoch):
    return 0.5 + 0.05 * epoch - 0.01 * (rate != 0.2)

  found = audit(sweep(alike, SIZES, rates=(0.1, 0.2, 0.4), luck=0.0004))
  (cause,) = claims(found, 'rate_is_cause')
  assert cause['verdict'] == 'undetermined'
  assert 'nothing_at_one_rate' in [reason['code'] for reason in cause['reasons']]


def test_a_rate_may_be_why_larger_batches_win():
  """The rate that suits all is that of large batches, which bear no other; at the best all tie."""

  def value(size, rate, epoch):
    off = math.log2(rate / 0.1 / (size / 16) ** 0.5)
    return 0.9 - 0.01 * (size / 16) ** 0.75 * off**2

  found = audit(sweep(value, SIZES, tuple(0.1 * 2.0**k for k in range(-1, 4)), luck=0.0002))
  (cause,) = claims(found, 'rate_is_cause')
  assert cause['question'] == {'side': 'below', 'center': pytest.approx(0.02), 'margin': None}
  assert cause['verdict'] == 'supported' and abs(cause['effect']) < 1e-3


def test_one_common_rate_does_not_tell_rates_from_batch_sizes():
  (one,) = claims(audit(FRAME), 'rate_matters_more')
  assert one['verdict'] == 'undetermined' and one['effect'] is None
  assert one['reasons'][0]['code'] == 'no_common_grid'


def test_four_rates_and_three_batch_sizes_show_how_wide_good_ones_are():
  def value(size, rate, epoch):
    return 0.9 - 0.02 * abs(math.log2(rate / 0.15)) ** 2

  def of(sizes, rates):
    return narrowing(audit(sweep(value, sizes, rates)).judged.cells[0].given.tried)

  rates = (0.05, 0.1, 0.2, 0.4)
  widths, reasons = of(SIZES, rates)
  assert widths == pytest.approx([0.0] * 3, abs=1e-9)
  assert [reason.code for reason in reasons] == ['good_means']
  assert of(SIZES, rates[1:])[0].code == 'too_few_ranges'
  assert of(SIZES[1:], rates)[0].details == {'known': 2, 'out': []}
  assert of(SIZES, (0.1, 0.2, 0.4, 0.8))[0].details == {'known': 0, 'out': [16, 64, 256]}


def test_a_range_reaches_to_where_so_much_is_lost_and_ends_at_the_grid():
  rates = np.array([0.0, 1.0, 2.0, 3.0])
  assert width(rates, np.array([-0.04, -0.02, 0.0, -0.02])) == pytest.approx(1.0)
  assert width(rates, np.array([-0.04, -0.02, 0.0, -0.005])) is None
  assert width(rates, np.array([-0.005, 0.0, -0.02, -0.04])) is None


def test_the_partner_of_a_rate_is_that_of_the_best_one_where_it_was_run():
  def value(size, rate, epoch):
    return 0.8 - 0.01 * abs(math.log2(rate / 0.2))

  given = audit(sweep(value, (16, 32), (0.1, 0.2, 0.4, 0.8))).judged.cells[0].given

  def rates(rule):
    pair = dynamics._partners(given, 16, 32, rule)
    return pair and tuple(setting.learning_rate for setting in pair)

  assert rates('none') == (0.2, 0.2) and rates('linear') == (0.2, 0.4) and rates('sqrt') is None
  lost = given.tried[32][2]
  rows = tuple({**row, 'diverged': True} for row in lost.lanes[0].rows)
  broken = Setting(32, 0.4, (type(lost.lanes[0])(lost.lanes[0].plan, rows), *lost.lanes[1:]))
  given.tried[32][2] = broken
  assert rates('linear') == (0.1, 0.2)
