"""gap: made-up curves with known values at equal epochs, updates and distance."""

import itertools
import json
import math

import numpy as np
import pytest
from helpers.curves import first, study
from scipy import stats

from bsjax.analysis.measures import gap
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import (
  DIFFERENCE,
  average,
  contrast,
  difference,
  effect,
)
from bsjax.analysis.runs import budgets, histories, reading
from bsjax.analysis.runs.reading import of_columns
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import slope_weights

EXAMPLES = 4096


def straight(lane, updates):
  """Lines in updates, of another height in every trial and batch size."""
  height = 0.01 * lane['trial'] + 0.001 * lane['batch_size']
  return {
    'val_accuracy': height + 1e-4 * updates,
    'train_accuracy': 3 * height + 3e-4 * updates,
    'val_loss': 2.0 - 1e-3 * updates * (1 + lane['trial']),
    'train_loss': 1.0 - 2e-3 * updates,
  }


def rows_by_size(result):
  return {row['batch_size']: row for row in result['batch_sizes']}


def test_equal_epochs_is_the_planned_end():
  result = gap.at_clock(first(study((8, 64), (0.1,), 3, straight)), 'epochs')
  assert result['value'] == 16.0
  for size, row in rows_by_size(result).items():
    updates, heights = EXAMPLES // size, 0.001 * size + 0.01 * np.arange(3)
    assert row['interpolated'] is False and row['between'] is None and row['epoch'] == 16.0
    assert row['val_accuracy']['mean'] == pytest.approx(heights.mean() + 1e-4 * updates, abs=1e-12)
    gaps = 2 * heights + 2e-4 * updates
    half = stats.t.ppf(0.975, 2) * np.std(gaps, ddof=1) / math.sqrt(3)
    mean = gaps.mean()
    assert row['gap']['ci95'] == pytest.approx([mean - half, mean + half], abs=1e-12)
    assert row['gap']['n'] == 3
    loss = 1 - 1e-3 * updates * np.array([1, 2, 3]) + 2e-3 * updates
    assert row['loss_gap']['mean'] == pytest.approx(loss.mean(), abs=1e-12)


@pytest.mark.parametrize('evaluations, between', [(16, None), (12, [43.0, 85.0])])
def test_equal_updates_on_and_between_records(evaluations, between):
  # 64 updates of batch size 64; of 512 at batch size 8, records every 32, or about every 43.
  found = study((8, 16, 64), (0.1,), 2, straight, evaluations)
  result = gap.at_clock(first(found), 'updates', value=64)
  assert result['value'] == 64
  assert evaluations != 16 or gap.at_clock(first(found), 'updates') == result
  rows = rows_by_size(result)
  small = rows[8]
  assert small['between'] == between
  assert small['interpolated'] is (between is not None)
  assert rows[64]['interpolated'] is False
  # The curves are straight, so that the interpolated values are exact.
  assert small['val_accuracy']['mean'] == pytest.approx(0.005 + 0.008 + 64e-4, abs=1e-12)
  assert small['train_accuracy']['mean'] == pytest.approx(3 * (0.013 + 64e-4), abs=1e-12)
  assert small['gap']['mean'] == pytest.approx(2 * (0.013 + 64e-4), abs=1e-12)
  assert small['epoch'] == pytest.approx(2.0, abs=0.02)


def test_equal_learning_rate_weighted_updates_end_with_the_smallest_sum():
  found = study((8, 64), (0.1, 0.4), 2, straight)
  chosen = {8: found[8][0], 64: found[64][1]}  # sums 51.2 and 25.6
  result = gap.at_clock(chosen, 'learning_rate_updates')
  assert result['value'] == pytest.approx(25.6)
  small = rows_by_size(result)[8]
  assert small['val_accuracy']['mean'] == pytest.approx(0.013 + 1e-4 * 256, abs=1e-12)
  assert small['interpolated'] is False


@pytest.mark.parametrize(
  'value, code',
  [(513.0, 'outside_records'), (-1.0, 'outside_records'), (20.0, 'before_first_evaluation')],
)
def test_nothing_is_extrapolated_nor_read_before_the_first_evaluation(value, code):
  setting = study((8,), (0.1,), 2, straight)[8][0]
  reading = budgets.read(setting, 'updates', value)
  assert reading.problem.code == code and not reading.values
  assert reading.problem.details['value'] == value


def test_a_batch_size_that_cannot_be_read_is_undefined_and_takes_no_part():
  # 8 updates of batch size 512 come before the first record of batch size 8, at 32.
  result = gap.at_clock(first(study((8, 256, 512), (0.1,), 2, straight)), 'updates')
  rows = rows_by_size(result)
  assert result['value'] == 8
  assert rows[8]['undefined'].code == 'before_first_evaluation' and 'val_accuracy' not in rows[8]
  assert result['slopes']['val_accuracy']['batch_sizes'] == [256, 512]


def test_records_after_the_planned_end_and_ties_on_the_clock():
  found = study((8, 64), (0.1,), 2, straight)
  lane = found[8][0].lanes[0]
  late = lane.rows[-1] | {'updates': 600, 'val_accuracy': 9.0}
  longer = type(lane)(lane.plan, (*lane.rows, late))
  assert [row['updates'] for row in longer.trained_rows][-1] == 512
  # A schedule that has come to zero: updates go on, the sum does not. The last record counts.
  rows = tuple(
    row | {'learning_rate_sum': min(row['learning_rate_sum'], 48.0)} for row in lane.rows
  )
  setting = type(found[8][0])(8, 0.1, (type(lane)(lane.plan, rows),))
  reading = budgets.read(setting, 'learning_rate_updates', 48.0)
  assert reading.values['val_accuracy'] == lane.final['val_accuracy']


def test_a_common_learning_rate_is_the_best_at_which_every_batch_size_ended_well():
  def curve(lane, updates):
    accuracy = {0.1: 0.5, 0.2: 0.7, 0.4: 0.9}[lane['learning_rate']]
    broken = lane['learning_rate'] == 0.4 and lane['batch_size'] == 8 and lane['trial'] == 1
    return {'val_accuracy': accuracy, 'diverged': broken and updates > 100}

  found = study((8, 64), (0.1, 0.2, 0.4), 2, curve)
  result = gap.generalization_gap(found, {64: found[64][2]})
  assert result['common_learning_rate']['learning_rate'] == 0.2
  assert rows_by_size(result['common_learning_rate']['updates'])[8]['learning_rate'] == 0.2
  assert rows_by_size(result['chosen']['epochs'])[8]['undefined'] == Reason('no_learning_rate')
  assert 'undefined' in result['chosen']['epochs']['slopes']['gap']
  scaled = {8: found[8][:1], 64: found[64][1:]}
  common = gap.generalization_gap(scaled, {})['common_learning_rate']
  assert common['undefined'].code == 'no_common_rate'
  broken = {8: found[8][2:], 64: found[64][2:]}
  common = gap.generalization_gap(broken, {})['common_learning_rate']
  assert common['undefined'].code == 'no_common_rate_ended_well'


@pytest.mark.parametrize('fault', ['diverged', 'null loss', 'nan accuracy', 'no sum', 'unfinished'])
def test_what_is_not_finite_is_undefined_and_json_holds_no_nan(fault):
  def curve(lane, updates):
    row = straight(lane, updates)
    if lane['batch_size'] == 64 and lane['trial'] == 1:
      row |= {'diverged': updates >= 32} if fault == 'diverged' else {}
      row |= {'val_loss': None} if fault == 'null loss' else {}
      row |= {'val_accuracy': math.nan} if fault == 'nan accuracy' else {}
      row |= {'learning_rate_sum': None} if fault == 'no sum' else {}
    return row

  found = study((8, 16, 64), (0.1,), 2, curve)
  if fault == 'unfinished':
    lanes = found[64][0].lanes
    short = type(lanes[0])(lanes[0].plan, lanes[0].rows[:5])
    found[64] = [type(found[64][0])(64, 0.1, (short, lanes[1]))]
  result = gap.generalization_gap(found, first(found))
  json.dumps(rendered(result), allow_nan=False)
  chosen = result['chosen']
  large = rows_by_size(chosen['epochs'])[64]
  if fault in ('diverged', 'unfinished'):
    ((_, why),) = large['undefined'].details['trials']
    assert why.code == fault
    assert chosen['updates']['value'] == 256  # batch size 16 is now the largest compared
    assert chosen['epochs']['slopes']['gap']['batch_sizes'] == [8, 16]
  elif fault == 'null loss':
    assert large['loss_gap'] == {'mean': None, 'ci95': [None, None], 'n': 0}
    assert large['gap']['n'] == 2
    assert chosen['epochs']['slopes']['loss_gap']['batch_sizes'] == [8, 16]
  elif fault == 'nan accuracy':
    assert large['val_accuracy']['mean'] is None and large['gap']['mean'] is None
    assert large['train_accuracy']['n'] == 2
  else:
    why = rows_by_size(chosen['learning_rate_updates'])[64]['undefined']
    assert (why.code, why.details['key']) == ('record_not_finite', 'learning_rate_sum')
    assert large['gap']['n'] == 2


def test_reestimated_statistics_stand_beside_the_running_ones():
  def curve(lane, updates):
    row = straight(lane, updates)
    again = {f'reestimated_{key}': 2 * value for key, value in row.items()}
    return row | again

  result = gap.at_clock(first(study((8, 64), (0.1,), 2, curve)), 'epochs')
  for row in result['batch_sizes']:
    for name in budgets.compared_quantities():
      assert row[f'reestimated_{name}']['mean'] == pytest.approx(2 * row[name]['mean'])
  slopes = result['slopes']
  assert slopes['reestimated_gap']['value'] == pytest.approx(2 * slopes['gap']['value'])
  assert list(slopes) == [
    *budgets.compared_quantities(),
    *(f'reestimated_{q}' for q in budgets.compared_quantities()),
  ]


def test_slopes_are_least_squares_within_the_trial():
  rng = np.random.default_rng(0)
  sizes = (8, 16, 64, 512)
  values = rng.normal(size=(4, 3))
  after = values + rng.normal(size=(4, 3))
  found = contrast(between(values, after), slope_weights(sizes), 'gap')
  fitted = [np.polyfit(np.log2(sizes), column, 1)[0] for column in values.T]
  assert found.trials == (0, 1, 2) and found.at == pytest.approx(fitted, abs=1e-12)
  corners = [
    slope_weights(sizes) @ np.where(np.array(corner)[:, None], after, values)
    for corner in itertools.product((False, True), repeat=4)
  ]
  assert found.low == pytest.approx(np.min(corners, axis=0), abs=1e-12)
  assert found.high == pytest.approx(np.max(corners, axis=0), abs=1e-12)
  with pytest.raises(ValueError, match='two different'):
    slope_weights((8, 8))


def between(before, after):
  """Readings that lie between two records, read as the first of them."""
  return [
    reading.Reading(tuple(range(len(a))), {'gap': a}, {'gap': a}, {'gap': b})
    for a, b in zip(before, after, strict=True)
  ]


def test_a_contrast_pairs_by_the_trial_whatever_the_order_and_takes_only_common_ones():
  first = of_columns((3, 1, 0), {'gap': [30.0, 10.0, 0.0]})
  second = of_columns((0, 3, 2), {'gap': [1.0, 5.0, 7.0]})
  found = contrast((first, second), DIFFERENCE, 'gap')
  assert found.trials == (0, 3) and found.at.tolist() == [-1.0, 25.0]
  assert found.low.tolist() == found.high.tolist() == found.at.tolist()
  twice = contrast((first, second), 2 * DIFFERENCE, 'gap')
  alone = contrast((first,), np.ones(1), 'gap')
  mean = average([found, twice, alone])
  assert mean.trials == (0, 3) and mean.at == pytest.approx([-1.0, 35.0])
  assert average([found, None]) is None and average([]) is None
  apart = of_columns((7,), {'gap': [1.0]})
  assert contrast((first, apart), DIFFERENCE, 'gap') is None
  broken = of_columns((0, 3), {'gap': [1.0, None]})
  assert contrast((first, broken), DIFFERENCE, 'gap') is None
  assert contrast((first, second), DIFFERENCE, 'loss_gap') is None


def test_an_effect_is_the_mean_with_its_interval_also_for_values_between_records():
  before, after = (
    np.array([[1.0, 2.0, 4.0], [0.5, 0.0, 1.0]]),
    np.array([[2.0, 2.0, 3.0], [0.0] * 3]),
  )
  found = difference(*between(before, after), 'gap', 0.9)
  expected = mean_interval(before[0] - before[1], 0.9)
  assert found.interval == expected
  lowest = mean_interval(np.minimum(before[0], after[0]) - np.maximum(before[1], after[1]), 0.9)
  highest = mean_interval(np.maximum(before[0], after[0]) - np.minimum(before[1], after[1]), 0.9)
  assert found.low == min(lowest.low, expected.low, highest.low)
  assert found.high == max(lowest.high, expected.high, highest.high)
  nothing = effect(None, 0.9).interval
  assert nothing.value is None and nothing.confidence == 0.9


def test_without_batchnorm_the_plain_values_serve_for_both_kinds_of_statistics():
  plain = of_columns((0, 1), {'gap': [1.0, 2.0]})
  both = of_columns((0, 1), {'gap': [5.0, 5.0], 'reestimated_gap': [3.0, 3.5]})
  found = contrast((both, plain), DIFFERENCE, 'reestimated_gap')
  assert found.at.tolist() == [2.0, 1.5]


def test_slopes_pair_by_the_number_of_the_trial():
  noise = {0: 0.3, 1: -0.2, 2: 0.1}
  found = study(
    (8, 64),
    (0.1,),
    3,
    lambda lane, updates: {'val_accuracy': noise[lane['trial']] - 0.001 * lane['batch_size']},
  )
  chosen = first(found)
  # Batch size 8 lacks trial 0 and batch size 64 trial 2: only trial 1 is a pair.
  both = {8: chosen[8].lanes[1:], 64: chosen[64].lanes[:2]}
  partial = {size: histories.Setting(size, 0.1, lanes) for size, lanes in both.items()}
  found = Comparison(budgets.readings(partial, 'epochs'), 'val_accuracy').slope()
  assert found.interval.n == 1 and found.interval.low is None and found.low is None
  assert found.interval.value == pytest.approx(-0.056 / 3, abs=1e-12)
  apart = {
    size: histories.Setting(size, 0.1, lanes)
    for size, lanes in ((8, chosen[8].lanes[2:]), (64, chosen[64].lanes[:1]))
  }
  found = Comparison(budgets.readings(apart, 'epochs'), 'val_accuracy').slope()
  assert found.interval.reasons == (Reason('sizes_share_no_trial'),)
  one = Comparison(budgets.readings({8: partial[8]}, 'epochs'), 'val_accuracy').slope()
  assert one.interval.reasons == (Reason('too_few_batch_sizes', readable=1, of=1),)


def test_interpolated_slopes_say_how_far_they_rest_on_straight_lines():
  result = gap.at_clock(first(study((8, 16, 64), (0.1,), 3, straight, 12)), 'updates', value=64)
  found = result['slopes']['gap']
  low, high = found['ci95_interpolation']
  assert low < found['ci95'][0] and high > found['ci95'][1]
  exact = gap.at_clock(first(study((8, 16, 64), (0.1,), 3, straight, 16)), 'updates')
  found = exact['slopes']['gap']
  assert found['ci95_interpolation'] == pytest.approx(found['ci95'], abs=1e-12)


def test_coverage_of_the_slope():
  rng = np.random.default_rng(1)
  sizes, trials, truth = (8, 16, 32, 64, 128), 5, -0.01
  shape = (3000, len(sizes), trials)
  noise = rng.normal(size=shape) * np.array([1, 1, 2, 2, 4])[:, None]
  shared = 20 * rng.normal(size=(3000, 1, trials))  # what makes a trial lucky
  values = truth * np.log2(sizes)[:, None] + noise + shared
  held, unpaired = 0, 0
  for index, one in enumerate(values):
    interval = mean_interval(slope_weights(sizes) @ one)
    held += interval.low <= truth <= interval.high
    if index >= 500:
      continue
    pooled = stats.linregress(np.repeat(np.log2(sizes), trials), one.ravel())
    half = stats.t.ppf(0.975, one.size - 2) * pooled.stderr
    unpaired += abs(pooled.slope - truth) <= half
  assert 0.93 < held / 3000 < 0.97
  assert unpaired / 500 > 0.99  # all values as independent: far too wide to see anything


def test_curves_are_means_with_intervals_over_trials():
  chosen = first(study((8, 64), (0.1,), 3, straight))
  drawn = gap.curves(chosen)
  curve = drawn['updates']['gap'][8]
  assert curve.x == list(range(0, 513, 32))
  gaps = 2 * (0.008 + 0.01 * np.arange(3)) + 2e-4 * 64
  mean = mean_interval(gaps)
  expected = mean.value, mean.low, mean.high
  assert [curve.mean[2], curve.low[2], curve.high[2]] == pytest.approx(expected, abs=1e-12)
  assert drawn['epochs']['val_accuracy'][64].x == [float(i) for i in range(17)]
  weighted = drawn['learning_rate_updates']['train_loss'][64]
  assert weighted.x[-1] == pytest.approx(6.4) and weighted.mean[-1] == pytest.approx(1 - 0.128)


def test_curves_end_where_a_trial_ends_and_one_trial_has_no_interval():
  def curve(lane, updates):
    late = updates > 128
    values = {'train_loss': None} if lane['trial'] == 1 and late else {}
    return straight(lane, updates) | values

  chosen = first(study((8,), (0.1,), 2, curve))
  drawn = gap.curves(chosen)['updates']
  assert drawn['train_loss'][8].x[-1] == 128 and drawn['val_accuracy'][8].x[-1] == 512
  alone = {8: type(chosen[8])(8, 0.1, chosen[8].lanes[:1])}
  one = gap.curves(alone)['updates']['gap'][8]
  assert len(one.x) == 17 and all(map(math.isnan, one.low))
