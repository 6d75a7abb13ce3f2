"""claims: verdicts on studies with planted effects, confounds and faults; recommendations."""

import json
import math
import re

import numpy as np
import pytest
from helpers.curves import first, study
from scipy import stats

from bsjax.analysis.claims import verdicts
from bsjax.analysis.claims.claims import claims, exponent_claims
from bsjax.analysis.claims.pairs import pair_claims
from bsjax.analysis.claims.slopes import slope_claims
from bsjax.analysis.recommend import ACCURACY, EXAMPLES, UPDATES, recommendation
from bsjax.stats import paired
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval

NO_EXPONENT = {'undefined': 'not asked'}
NO_TARGET = {'undefined': 'no target'}


def final_values(chosen, key='val_accuracy'):
  """The values at the planned end of the settings that ended well, on the trials they share."""
  by_trial = {
    size: {lane.plan['trial']: lane.final.get(key) for lane in setting.lanes}
    for size, setting in chosen.items()
    if setting.problem is None
  }
  shared = sorted(set.intersection(*map(set, by_trial.values()))) if by_trial else []
  return {size: [trials[trial] for trial in shared] for size, trials in by_trial.items()}


def verdict_of(rows, *words):
  """The one claim that holds all the words."""
  (row,) = [row for row in rows if all(word in row['claim'] for word in words)]
  return row


def by_updates(noise, spread=0.05):
  """Accuracy that depends on updates alone, but for luck of the trial and noise of the lane."""

  def curve(lane, updates):
    luck = spread * math.cos(lane['trial']) + noise(lane)
    val = 0.5 + luck + 0.3 * (1 - math.exp(-updates / 300))
    return {'val_accuracy': val, 'train_accuracy': val + 0.02 + noise(lane) / 3}

  return curve


def lane_noise(scale, seed=0):
  draws = np.random.default_rng(seed).normal(scale=scale, size=1000)
  return lambda lane: float(draws[lane['lane']])


def test_a_confound_of_updates_is_an_effect_at_equal_epochs_and_none_at_equal_updates():
  found = study((8, 16, 32, 64), (0.1, 0.2, 0.4), 6, by_updates(lane_noise(3e-4)))
  chosen = {size: tried[1] for size, tried in found.items()}
  rows = claims(found, chosen, final_values(chosen), NO_EXPONENT)
  json.dumps(rows, allow_nan=False)
  epochs = verdict_of(rows, 'at equal epochs', 'higher validation')
  assert epochs['verdict'] == 'supported' and epochs['ci95'][1] < -0.03
  assert '8 times as many updates' in epochs['why'] and 'edge' not in epochs['why']
  assert 'peaks' not in epochs['why'] and 'go one way' not in epochs['why']
  updates = verdict_of(rows, 'at equal updates, smaller')
  assert updates['verdict'] == 'undetermined' and updates['ci95'][0] < 0 < updates['ci95'][1]
  assert 'trials of this spread' in updates['why'] and 'epoch 2' in updates['why']
  change = verdict_of(rows, 'at equal updates, validation accuracy changes')
  assert change['verdict'] == 'supported'
  assert change['ci95'] == pytest.approx([3 * bound for bound in updates['ci95']])  # 3 doublings
  pair = verdict_of(rows, 'batch size 8 beats 64')
  assert pair['verdict'] == 'supported' and pair['p_holm'] < 1e-6
  assert verdict_of(rows, 'sizes 8 and 64 differ by less')['verdict'] == 'refuted'
  assert all(row['effect'] is None for row in rows if 'learning rate ' in row['claim'])


def test_a_gap_that_grows_with_batch_size_is_found_and_one_that_shrinks_refuted():
  for sign, verdict in ((1, 'supported'), (-1, 'refuted')):

    def curve(lane, updates, sign=sign):
      luck = 0.1 * math.cos(lane['trial'])
      step = sign * 0.004 * math.log2(lane['batch_size']) + 0.001 * math.sin(7 * lane['lane'])
      return {'val_accuracy': 0.5 + luck, 'train_accuracy': 0.6 + luck + step}

    found = study((8, 16, 64), (0.1,), 4, curve)
    rows = slope_claims(found, first(found))
    for clock in ('epochs', 'updates,', 'updates weighted'):
      row = verdict_of(rows, f'at equal {clock}', 'generalization gap grows')
      assert row['verdict'] == verdict
      assert row['effect'] == pytest.approx(sign * 0.004, abs=1e-3) and row['n'] == 4
    assert 'Only one learning rate was tried at batch sizes 8, 16, 64' in row['why']


def test_pairing_sees_what_intervals_of_means_cannot():
  rng = np.random.default_rng(2)
  luck = rng.normal(scale=0.05, size=6)  # ten times the effect
  values = {8: luck + 0.005 + rng.normal(scale=3e-4, size=6), 64: luck.copy()}
  (pair,) = paired.against_best(values)
  assert (pair.best, pair.other) == (8, 64) and verdicts.above(pair.interval) == 'supported'
  assert stats.ttest_ind(values[8], values[64]).pvalue > 0.5
  single, double = pair_claims({}, {}, {size: list(column) for size, column in values.items()})
  assert single['claim'] == 'batch size 8 beats 64' and single['verdict'] == 'supported'
  assert double['verdict'] == 'undetermined'  # the effect is as large as the margin


def family(rng, means, replications, trials):
  shape = (replications, len(means), trials)
  lucky = 5 * rng.normal(size=(replications, 1, trials))
  return np.asarray(means)[:, None] + rng.normal(size=shape) + lucky


def test_family_wise_error_under_no_effect():
  rng, replications, sizes = np.random.default_rng(3), 2000, (8, 16, 32, 64, 128)
  errors = {'intervals': 0, 'holm': 0, 'only pairs with the best': 0}
  for values in family(rng, [0.0] * len(sizes), replications, 8):
    pairs = paired.against_best(dict(zip(sizes, values, strict=True)))
    errors['intervals'] += any(verdicts.above(p.interval) == 'supported' for p in pairs)
    errors['holm'] += any(p.p_holm <= 0.05 for p in pairs)
    least = min(p.p_holm for p in pairs)  # ten pairs, and four of them with the best
    errors['only pairs with the best'] += least * 4 / 10 <= 0.05
  limit = 0.05 + 4 * math.sqrt(0.05 * 0.95 / replications)
  assert 0.01 < errors['intervals'] / replications < limit
  assert 0.01 < errors['holm'] / replications < limit
  assert errors['only pairs with the best'] / replications > limit


def test_coverage_of_differences():
  rng, replications, sizes, means = np.random.default_rng(4), 2500, (8, 64), (1.0, 0.0)
  held = 0
  for values in family(rng, means, replications, 6):
    (pair,) = paired.against_best(dict(zip(sizes, values, strict=True)))
    truth = 1.0 if pair.best == 8 else -1.0
    held += pair.interval.low <= truth <= pair.interval.high
  assert 0.93 < held / replications < 0.97
  together, means = 0, np.array([0.0, 0.3, 2.0])
  for values in family(rng, means, 1500, 6):
    pairs = paired.against_best(dict(enumerate(values)))
    together += all(
      p.interval.low <= means[p.best] - means[p.other] <= p.interval.high for p in pairs
    )
  assert together / 1500 > 0.95 - 4 * math.sqrt(0.05 * 0.95 / 1500)


def test_holm_by_hand_and_the_p_value_against_scipy():
  adjusted = paired.holm([0.01, 0.04, None, 0.03, 0.005])
  assert adjusted == pytest.approx([0.04, 0.09, None, 0.09, 0.025])
  rng = np.random.default_rng(5)
  a, b = rng.normal(size=(2, 7))
  (pair,) = paired.against_best({8: a, 16: b})
  assert pair.p_holm == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
  three = paired.against_best({8: a, 16: b, 32: a - 0.1 + 0.01 * b})
  assert [(pair.best, pair.other) for pair in three] == [(16, 8), (16, 32)]
  test = stats.ttest_rel(b, a).confidence_interval(1 - 0.05 / 3)
  assert [three[0].interval.low, three[0].interval.high] == pytest.approx(
    [test.low, test.high], rel=1e-9
  )
  assert three[0].confidence == pytest.approx(1 - 0.05 / 3)


def interval(low, high, n=5):
  return Estimate((low + high) / 2, low, high, n)


@pytest.mark.parametrize(
  'rule, low, high, n, verdict',
  [
    (verdicts.above, 0.001, 0.003, 5, 'supported'),
    (verdicts.above, -0.003, -0.001, 5, 'refuted'),
    (verdicts.above, -0.001, 0.003, 5, 'undetermined'),
    (verdicts.above, 0.0, 0.003, 5, 'undetermined'),
    (verdicts.below, 0.001, 0.003, 5, 'refuted'),
    (verdicts.below, -0.003, -0.001, 5, 'supported'),
    (verdicts.near(0.0, 0.005), -0.004, 0.004, 5, 'supported'),
    (verdicts.near(0.0, 0.005), 0.001, 0.004, 5, 'supported'),
    (verdicts.near(0.0, 0.005), 0.001, 0.006, 5, 'undetermined'),
    (verdicts.near(0.0, 0.005), 0.006, 0.009, 5, 'refuted'),
    (verdicts.near(0.0, 0.005), -0.009, -0.006, 5, 'refuted'),
    (verdicts.above, 0.002, 0.002, 5, 'undetermined'),
    (verdicts.near(0.0, 0.005), 0.0, 0.0, 5, 'undetermined'),
    (verdicts.above, 0.001, 0.003, 1, 'undetermined'),
  ],
)
def test_rules(rule, low, high, n, verdict):
  assert rule(interval(low, high, n)) == verdict


def test_an_equivalence_margin_must_be_above_zero():
  with pytest.raises(ValueError, match='margin is 0'):
    verdicts.near(0.0, 0.0)


def test_trials_needed_is_the_least_number_that_makes_it():
  x = np.random.default_rng(6).normal(0.3, 1.0, size=8)
  needed = paired.trials_needed(mean_interval(x), 0.3)
  half = lambda n: stats.t.ppf(0.975, n - 1) * x.std(ddof=1) / math.sqrt(n)
  assert half(needed) < 0.3 <= half(needed - 1)
  assert paired.trials_needed(mean_interval(x), 1e-4) is None
  assert paired.trials_needed(mean_interval(x), 0.0) is None


@pytest.mark.parametrize('trials, word', [(1, 'one trial'), (4, 'too coarse')])
def test_one_trial_and_no_width_prove_nothing(trials, word):
  accuracy = {8: 0.75, 64: 0.5}
  found = study(
    (8, 64), (0.1,), trials, lambda lane, updates: {'val_accuracy': accuracy[lane['batch_size']]}
  )
  chosen = first(found)
  rows = claims(found, chosen, final_values(chosen), NO_EXPONENT)
  assert {row['verdict'] for row in rows} == {'undetermined'}
  row = verdict_of(rows, 'batch size 8 beats 64')
  assert row['effect'] == 0.25 and word in row['why'] and row['p_holm'] is None
  assert word in verdict_of(rows, 'at equal epochs', 'higher')['why']
  json.dumps(rows, allow_nan=False)


def test_statistics_of_batchnorm_that_decide_the_verdict_leave_it_open():
  def curve(lane, updates):
    noise = 1e-3 * math.sin(5 * lane['lane'])
    running = 0.7 - 0.02 * math.log2(lane['batch_size']) + noise
    again = 0.6 + 1e-3 * math.cos(3 * lane['lane'])
    keys = 'val_accuracy', 'train_accuracy'
    values = {key: running for key in keys} | {f'reestimated_{key}': again for key in keys}
    return values | {'reestimated_val_loss': 1.0, 'reestimated_train_loss': 1.0}

  found = study((8, 64), (0.1,), 4, curve)
  chosen = first(found)
  running, again = final_values(chosen), final_values(chosen, 'reestimated_val_accuracy')
  rows = claims(found, chosen, running, NO_EXPONENT, again)
  for words in (('at equal epochs', 'higher'), ('batch size 8 beats 64',)):
    row = verdict_of(rows, *words)
    assert row['verdict'] == 'undetermined' and 'BatchNorm' in row['why']
    assert row['ci95'][0] * row['ci95'][1] > 0  # the running statistics alone would decide it
  alone = pair_claims(found, chosen, running)
  assert verdict_of(alone, 'beats')['verdict'] == 'supported'
  best = recommendation(chosen, running, NO_TARGET, again)[0]
  assert best['batch_size'] == 8 and 'Not shown to be worse: 64' in best['why']
  alone = recommendation(chosen, running, NO_TARGET)[0]
  assert alone['batch_size'] == 8 and 'all pairs at once: 64' in alone['why']


def test_a_verdict_that_rests_on_straight_lines_between_records_is_left_open():
  # A drop within the stretch that the readings of batch size 8 lie in: 64 of 43 to 85 updates.
  def curve(lane, updates):
    height = 0.3 + 1e-5 * math.sin(3 * lane['lane'])
    return {'val_accuracy': height - 1e-4 * lane['batch_size'] + 4e-4 * updates}

  sparse, dense = (study((8, 16, 64), (0.1,), 4, curve, n) for n in (12, 16))
  for found, verdict in ((sparse, 'undetermined'), (dense, 'supported')):
    row = verdict_of(slope_claims(found, first(found)), 'at equal updates, smaller')
    assert row['ci95'][1] < 0 and row['verdict'] == verdict
    assert ('straight' in row['why']) == (verdict == 'undetermined')


def test_batch_sizes_without_all_trials_are_left_out_and_named():
  values = {8: [0.9, 0.91, 0.92], 16: [0.8, None, 0.8], 32: [0.5, 0.52], 64: [0.7, 0.72, 0.715]}
  rows = pair_claims({}, {}, values)
  assert [row['claim'].split()[-1] for row in rows[:1]] == ['64'] and len(rows) == 2
  assert 'Batch size 16 takes no part (a trial has no finite value)' in rows[0]['why']
  assert 'Batch size 32 takes no part (it has 2 of 3 trials)' in rows[0]['why']
  assert pair_claims({}, {}, {8: [0.5, 0.6], 16: [math.nan, 0.5]}) == []


@pytest.mark.parametrize(
  'ci, found',
  [
    ((0.93, 1.06), ('supported', 'refuted', 'refuted')),
    ((0.42, 0.58), ('refuted', 'supported', 'refuted')),
    ((-0.05, 0.09), ('refuted', 'refuted', 'supported')),
    ((0.55, 0.95), ('undetermined', 'undetermined', 'refuted')),
    ((0.7, None), ('undetermined', 'refuted', 'refuted')),
    ((None, None), ('undetermined',) * 3),
    ((math.nan, 1.0), ('undetermined',) * 3),
  ],
)
def test_exponent_of_the_learning_rate(ci, found):
  rows = exponent_claims({'value': 0.75, 'ci95': list(ci), 'n': 5, 'rules': {}})
  assert tuple(row['verdict'] for row in rows) == found
  json.dumps(rows, allow_nan=False)
  assert {row['verdict'] for row in exponent_claims(NO_EXPONENT)} == {'undetermined'}
  one = exponent_claims({'value': 0.5, 'ci95': [0.45, 0.55], 'n': 1})
  assert {row['verdict'] for row in one} == {'undetermined'}


def chosen_of(values):
  found = study(tuple(values), (0.1,), 2, lambda lane, updates: {})
  return first(found)


def test_the_largest_batch_size_shown_to_be_as_good_is_recommended():
  noise = 1e-3 * np.random.default_rng(7).normal(size=(3, 6))
  means = 0.9, 0.9, 0.8
  values = {b: list(m + e) for b, m, e in zip((8, 32, 64), means, noise, strict=True)}
  accuracy = recommendation(chosen_of(values), values, NO_TARGET)[0]
  assert accuracy['goal'] == ACCURACY
  assert accuracy['batch_size'] == 32 and accuracy['learning_rate'] == 0.1
  assert 'worse, at 95% for all pairs at once: 64' in accuracy['why']
  wide = {8: [0.9, 0.7, 0.8, 0.6], 64: [0.7, 0.8, 0.65, 0.7]}
  row = recommendation(chosen_of(wide), wide, NO_TARGET)[0]
  assert row['batch_size'] == 8 and 'Whether 64 is as good is undetermined' in row['why']
  for few in ({8: [0.9], 64: [0.8]}, {8: [0.9, 0.8], 64: [None, 0.8]}, {}):
    row = recommendation(chosen_of({8: 0, 64: 0}), few, NO_TARGET)[0]
    assert row['batch_size'] is None and row['learning_rate'] is None and row['why']


def test_recommendations_for_a_target():
  noise = 0.02 * np.random.default_rng(8).normal(size=(5, 5))
  cost = {8: 1000.0, 16: 1000.0, 64: 1150.0, 128: 1600.0, 256: 1000.0}
  points = [
    {'batch_size': b, 'learning_rate': b / 80, 'examples': list(e * np.exp(z))}
    for (b, e), z in zip(cost.items(), noise, strict=True)
  ]
  points[-1]['examples'][2] = None  # never reached it in one trial
  critical = {'b_crit': 400.0, 'ci95': [300.0, 500.0], 'target': 0.9, 'points': points}
  _, examples, updates = recommendation({}, {}, critical)
  assert (examples['goal'], updates['goal']) == (EXAMPLES, UPDATES)
  assert examples['batch_size'] == 8 and examples['learning_rate'] == 0.1
  assert 'Not shown to: 16.' in examples['why']
  assert 'Shown to need more: 64, 128' in examples['why']
  assert updates['batch_size'] == 64 and updates['learning_rate'] == 0.8
  assert 'Batch size 256 does not reach the target in every trial' in updates['why']
  for nothing in (NO_TARGET, critical | {'points': points[:1]}):
    for row in recommendation({}, {}, nothing)[1:]:
      assert row['batch_size'] is None and len(row['why']) > 5
  early = [points[0] | {'status': ['reached', 'before first evaluation']}, *points[1:]]
  for row in recommendation({}, {}, critical | {'points': early})[1:]:
    assert row['batch_size'] is None and 'Batch size 8 reached the target before' in row['why']
  broken = [point | {'examples': [-1.0, 0.0, math.inf, math.nan, None]} for point in points]
  rows = recommendation({}, {}, critical | {'points': broken})
  assert all(row['batch_size'] is None for row in rows)


def test_schedules_edges_and_turning_means_are_named():
  means = {8: 0.8, 16: 0.9, 64: 0.5}

  def curve(lane, updates):
    rate = lane['learning_rate'] * (1 - updates / lane['updates'])
    return {
      'val_accuracy': means[lane['batch_size']] + 1e-4 * math.sin(3 * lane['lane']),
      'learning_rate': rate,
    }

  found = study((8, 16, 64), (0.1, 0.2), 3, curve)
  row = verdict_of(slope_claims(found, first(found)), 'at equal updates, smaller')
  assert row['verdict'] == 'supported' and 'do not go one way' in row['why']
  assert re.search('learning rates at 8[78]% and 0% of their peaks', row['why'])  # 87.5
  assert 'at the edge of the grid at batch sizes 8, 16, 64' in row['why']
