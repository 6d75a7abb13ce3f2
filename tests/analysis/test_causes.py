"""Confounds of the comparison of batch sizes: present, explaining, and on what evidence."""

import functools
import math

import numpy as np
import pytest
from helpers import curves, synthetic

from bsjax.analysis.claims import causes, confounds, tuned_runs
from bsjax.analysis.claims.causes import UNKNOWN, shown_effect
from bsjax.analysis.claims.claims import all_claims
from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.runs.budgets import CLOCKS, readings
from bsjax.analysis.runs.selection import select
from bsjax.config.metrics import REESTIMATED, judged

VAL = judged().val

SIZES, RATES = (8, 16, 32), (0.1, 0.2, 0.4)
NO_EXPONENT = {'undefined': 'not of interest here'}
FRESH = REESTIMATED + VAL


@functools.cache
def luck(trial, *lane):
  """What a trial and a lane add to the accuracy: the same whenever asked."""
  rng = np.random.default_rng([trial, *(round(1000 * number) for number in lane)])
  return float(np.random.default_rng(trial).normal(0, 0.003) + rng.normal(0, 0.001))


def accuracy(lane, height):
  """A height with luck, and the cost of a rate that is not 0.2."""
  size, rate = lane['batch_size'], lane['learning_rate']
  valley = 0.01 * math.log(rate / 0.2) ** 2
  return height - valley + luck(lane['trial'], size, rate)


def by_size(lane, updates):
  """What only the batch size does: 2 points per doubling."""
  share = min(1.0, 4 * updates / lane['updates'])
  return {VAL: accuracy(lane, 0.5 + 0.4 * share - 0.02 * math.log2(lane['batch_size'] / 8))}


def by_updates(lane, updates):
  """What only the number of updates does."""
  return {VAL: accuracy(lane, 0.9 - 0.1 * math.exp(-updates / 200))}


def alike(lane, updates):
  return {VAL: accuracy(lane, 0.9)}


def slightly(lane, updates):
  return {VAL: accuracy(lane, 0.9 - 0.008 * math.log2(lane['batch_size'] / 8))}


def found(curve, rates=RATES, trials=4, config=None, sizes=SIZES, evaluations=16):
  """Code -> confound of a study, and its claims."""
  tried = curves.study(sizes, rates, trials, curve, evaluations)
  chosen = select(tried).chosen
  read = {budget: readings(chosen, budget) for budget in CLOCKS}
  claims = all_claims(tried, chosen, read, rank(read['epochs']), NO_EXPONENT)
  rows = causes.causes(config or synthetic.config(), tried, chosen, read, claims)
  return {row.code: row for row in rows}, claims


def codes(confound):
  return [reason.code for reason in confound.evidence]


def state(rows, code):
  return rows[code].present, rows[code].explains


def test_the_effect_is_that_of_the_best_on_those_it_beats():
  effect = shown_effect(found(by_size)[1])
  assert effect.sizes == (8, 16, 32)
  assert effect.weights.tolist() == [1.0, -0.5, -0.5]


def test_without_a_pair_shown_it_is_the_trend_over_the_range():
  claims = found(by_size)[1]
  trend = [claim for claim in claims if claim.kind != 'pair']
  effect = shown_effect(trend)
  assert effect.sizes == (8, 16, 32)
  assert effect.weights == pytest.approx([-1, 0, 1])


def test_without_any_it_is_none_and_nothing_is_explained():
  rows, claims = found(alike)
  assert shown_effect(claims) is None
  assert {row.explains for row in rows.values()} == {None}
  assert rows[causes.UPDATES].present is True


def test_what_only_the_updates_do_is_explained_by_them():
  rows, _ = found(by_updates)
  assert state(rows, causes.UPDATES) == (True, True)
  assert codes(rows[causes.UPDATES]) == ['more_updates', 'at_equal_updates']
  left = rows[causes.UPDATES].evidence[1].details
  assert left['whole'] > 0.01 and left['low'] <= 0 <= left['high']


def test_what_only_the_batch_size_does_is_not():
  assert state(found(by_size)[0], causes.UPDATES) == (True, False)


def test_an_effect_that_turns_at_equal_updates_may_be_one_of_fewer_examples():
  def curve(lane, updates):
    height = 0.9 - 0.2 * math.exp(-updates / 200) + 0.02 * math.log2(lane['batch_size'] / 8)
    return {VAL: accuracy(lane, height)}

  rows, claims = found(curve)
  assert shown_effect(claims).sizes[0] == 8
  left = rows[causes.UPDATES].evidence[-1].details
  assert left['high'] < -0.01
  assert state(rows, causes.UPDATES) == (True, causes.UNKNOWN)


def test_no_verdict_on_updates_from_another_place_of_a_decaying_schedule():
  def curve(lane, updates):
    rate = lane['learning_rate'] * (1 - updates / lane['updates'])
    return by_updates(lane, updates) | {'learning_rate': rate}

  rows, claims = found(curve)
  assert state(rows, causes.UPDATES) == (True, UNKNOWN)
  assert codes(rows[causes.UPDATES])[-1] == 'other_place_of_schedule'
  at_updates = [claim for claim in claims if claim.budget == 'updates']
  assert at_updates and {claim.verdict for claim in at_updates} == {'undetermined'}


def test_a_place_of_a_constant_schedule_is_the_same_everywhere():
  tried = curves.study(SIZES, RATES, 2, by_size)
  chosen = select(tried).chosen
  read = readings(chosen, 'updates')
  where = confounds.schedule(chosen, read, SIZES)
  assert where[0].details['shares'] == pytest.approx([1.0, 1.0])
  assert where[0].details['epochs'] == pytest.approx([4.0, 16.0])
  assert not confounds.other_place(where)
  sums = readings(chosen, 'learning_rate_updates')
  assert confounds.schedule(chosen, sums, SIZES)[0].details['shares'] == pytest.approx([1.0, 1.0])


def test_nothing_at_equal_updates_leaves_it_unknown():
  # With two evaluations the largest ends before the smallest is first evaluated.
  rows, _ = found(by_size, evaluations=2)
  assert state(rows, causes.UPDATES) == (True, UNKNOWN)
  assert codes(rows[causes.UPDATES])[-1] == 'nothing_at_equal_updates'


def test_bounds_between_records_count_for_what_is_left():
  # At the updates of 20, between two records of 8, between which the curve rises by 20 points: on
  # the straight line next to nothing of the effect is left, but it may be anywhere.
  def curve(lane, updates):
    share = updates / lane['updates']
    if lane['batch_size'] == 8:
      return {VAL: accuracy(lane, 0.9 - 0.2 * (share < 0.4))}
    return {VAL: accuracy(lane, 0.8)}

  rows, claims = found(curve, sizes=(8, 20), evaluations=4)
  assert shown_effect(claims) is not None
  left = rows[causes.UPDATES].evidence[-1].details
  assert left['low'] < -0.08 and left['high'] > 0.08
  assert state(rows, causes.UPDATES) == (True, UNKNOWN)


def test_one_rate_is_not_tuned_and_has_no_edge():
  rows, _ = found(by_size, rates=(0.2,))
  assert state(rows, causes.RATES) == (True, UNKNOWN)
  assert rows[causes.RATES].evidence[0].details == {'sizes': [8, 16, 32]}
  assert state(rows, causes.EDGE) == (UNKNOWN, UNKNOWN)


def test_rates_inside_the_grid_are_tuned():
  rows, _ = found(by_size)
  assert state(rows, causes.RATES) == (False, False)
  assert rows[causes.RATES].evidence[0].details == {'fewest': 3, 'most': 3}
  assert state(rows, causes.EDGE) == (False, False)


def test_a_best_rate_at_the_edge_is_named_with_its_batch_size():
  def curve(lane, updates):
    tilt = 0.02 * math.log(lane['learning_rate']) * (lane['batch_size'] == 32)
    return {VAL: by_size(lane, updates)[VAL] + tilt}

  rows, _ = found(curve)
  assert state(rows, causes.EDGE) == (True, UNKNOWN)
  assert rows[causes.EDGE].evidence[0].details == {'sizes': [32]}


def with_statistics(curve, lag, noise=1e-4):
  """Running statistics fall short of re-estimated ones by `lag` of the batch size."""

  def both(lane, updates):
    fresh = curve(lane, updates)[VAL]
    behind = lag(lane['batch_size']) + noise * luck(lane['trial'], lane['batch_size'], 7)
    return {VAL: fresh - behind, FRESH: fresh} | {
      REESTIMATED + key: 0.5 for key in ('train_accuracy', 'val_loss', 'train_loss')
    }

  return both


BATCH = synthetic.config(normalization='batch')


def test_without_batch_norm_no_statistics_are_stale():
  rows, _ = found(by_size)
  assert state(rows, causes.STALE) == (False, False) and codes(rows[causes.STALE]) == [
    'no_batch_norm'
  ]


def test_statistics_that_were_not_re_estimated_are_unknown():
  rows, _ = found(by_size, config=BATCH)
  assert state(rows, causes.STALE) == (UNKNOWN, UNKNOWN)
  assert codes(rows[causes.STALE]) == ['not_reestimated']


def test_one_trial_does_not_tell_whether_statistics_are_stale():
  rows, _ = found(with_statistics(by_size, lambda size: 0.01), trials=1, config=BATCH)
  assert state(rows, causes.STALE) == (UNKNOWN, None)
  assert codes(rows[causes.STALE]) == ['one_trial']


@pytest.mark.parametrize(
  'curve, lag, expected',
  [
    (slightly, lambda size: 0.02 * math.log2(size / 8), (True, True)),
    # What fresh statistics do not show at all is no effect to explain.
    (alike, lambda size: 0.02 * math.log2(size / 8), (True, None)),
    (by_size, lambda size: 0.002 * math.log2(size / 8), (True, False)),
    (by_size, lambda size: 0.03, (False, False)),
    (alike, lambda size: 0.0, (False, None)),
  ],
)
def test_stale_statistics_explain_what_goes_with_fresh_ones(curve, lag, expected):
  rows, _ = found(with_statistics(curve, lag), config=BATCH)
  assert state(rows, causes.STALE) == expected


def test_without_an_effect_the_lag_over_the_whole_range_decides():
  # Its interval is within 0.5 points per doubling, but not over both of them.
  rows, _ = found(with_statistics(alike, lambda size: 0.0, noise=2.0), config=BATCH)
  assert state(rows, causes.STALE) == (UNKNOWN, None)
  rows, _ = found(with_statistics(alike, lambda size: 0.0, noise=0.5), config=BATCH)
  assert state(rows, causes.STALE) == (False, None)


def scales(optimizer, curve=by_size, **kind):
  rows, _ = found(curve, config=synthetic.config() | {'optimizer': optimizer}, **kind)
  return {code: row for code, row in rows.items() if code.endswith('time_scale')}


ADAM = {'name': 'adamw', 'b1': 0.9, 'b2': 0.999, 'weight_decay': 0.01}


def test_averages_of_the_optimizer_reach_back_over_more_examples():
  rows = scales(ADAM)
  assert list(rows) == ['b1_time_scale', 'b2_time_scale', 'weight_decay_time_scale']
  assert {(row.present, row.explains) for row in rows.values()} == {(True, UNKNOWN)}
  details = rows['b2_time_scale'].evidence[0].details
  assert (details['small'], details['large']) == (8, 32)
  assert details['scales'] == pytest.approx([8000, 32000])
  assert rows['weight_decay_time_scale'].evidence[0].details['scales'][0] == pytest.approx(
    8 / (0.2 * 0.01), rel=0.2
  )


def test_weight_decay_under_linear_scaling_has_one_time_scale():
  def linear(lane, updates):
    rate = lane['learning_rate'] * 8 / lane['batch_size']
    valley = 0.01 * math.log(rate / 0.2) ** 2 - 0.01 * math.log(lane['learning_rate'] / 0.2) ** 2
    return {VAL: by_size(lane, updates)[VAL] - valley}

  rows = scales(ADAM, linear, rates=(0.1, 0.2, 0.4, 0.8, 1.6))
  assert rows['weight_decay_time_scale'].present is False
  assert rows['weight_decay_time_scale'].explains is False


def test_what_is_not_averaged_has_no_time_scale():
  assert scales({'name': 'sgd', 'momentum': 0.0, 'weight_decay': 0.0}) == {}
  assert list(scales({'name': 'sgd', 'momentum': 0.9})) == ['momentum_time_scale']


def test_one_batch_size_has_no_confounds():
  assert found(by_size, sizes=(8,))[0] == {}


@pytest.mark.parametrize('way', ['none', tuned_runs.TUNED])
def test_at_another_place_of_a_decaying_schedule_no_way_is_shown_better(way):
  """The base makes 16 times as many updates; at equal ones its rate is still near its peak."""

  def decaying(lane, updates):
    rate = lane['learning_rate'] * (1 - updates / lane['updates'])
    return constant(lane, updates) | {'learning_rate': rate}

  def constant(lane, updates):
    return {VAL: accuracy(lane, 0.9 - 0.1 * (lane['batch_size'] == 8))}

  def claims(curve, budget):
    tried = curves.study((8, 128), RATES, 3, curve)
    rows = tuned_runs.ways(tried, 8, ('none',), 0.005)['rows']
    (row,) = (row for row in rows if row['way'] == way and row['clock'] == budget)
    return row['better'], row['keeps']

  assert {claim.verdict for claim in claims(constant, 'updates')} == {'refuted'}
  assert {claim.verdict for claim in claims(decaying, 'epochs')} == {'refuted'}
  for claim in claims(decaying, 'updates'):
    assert claim.verdict == 'undetermined'
    assert 'other_place_of_schedule' in [reason.code for reason in claim.reasons]
