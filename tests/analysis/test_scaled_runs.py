"""Runs at learning rates that rules make, and rules over arms: what is paired, and what is not."""

import math

import pytest
from helpers import planted_scaling as planted

from bsjax.analysis.claims import scaling_rules, tuned_runs
from bsjax.analysis.claims.across_arms import rules_across
from bsjax.analysis.runs import histories
from bsjax.stats.estimate import Reason

SIZES = (32, 128)


def made(rates=(0.1, 0.2, 0.4), trials=4, sizes=SIZES, **options):
  config = planted.config(rates)
  plan = planted.plan(config, sizes, trials)
  return config, plan, planted.records(plan, **options)


def compared(config, plan, rows):
  return scaling_rules.scaling_rules(config, histories.settings(plan, rows))


def run_at(found, rule, rate=1):
  return next(run for run in found['rates'][rate]['runs'] if run['rule'] == rule)


def way(found, name, clock='epochs'):
  rows = found['ways']['rows']
  return next(row for row in rows if (row['way'], row['clock']) == (name, clock))


def test_rates_stand_in_ascending_order_whatever_that_of_the_config():
  config, plan, rows = made(cost=0.1, accuracy_noise=0.0)
  found = compared(config | {'learning_rates': [0.4, 0.1, 0.2]}, plan, rows)
  assert [row['learning_rate'] for row in found['rates']] == [0.1, 0.2, 0.4]
  assert found['shown'] == 1


def test_curves_without_an_evaluation_in_common_have_no_distance():
  config, plan, rows = made()
  size = {lane['lane']: lane['batch_size'] for lane in plan}
  kept = [
    row
    for row in rows
    if row['examples'] in (0, 4096) or (size[row['lane']] == 32) == (row['examples'] < 2048)
  ]
  assert 'mean' in run_at(compared(config, plan, kept), 'linear')['distance']
  for row in kept:
    if size[row['lane']] == 32 and row['examples'] == 4096:
      row['examples'] = 4097  # beyond the end, and so of no curve
  run = run_at(compared(config, plan, kept), 'linear')
  assert run['distance'] == {'undefined': Reason('curves_share_no_evaluation')}
  assert run['keeps'].estimate.n == 4


def test_why_the_base_has_no_curve_stands_beside_its_accuracy():
  config, plan, rows = made()
  first = next(row for row in rows if row['lane'] == 0 and row['examples'] == 4096)
  first['train_loss'] = 0.0
  found = compared(config, plan, rows)['rates'][0]
  assert found['base']['problem'].code == 'loss_without_log'
  assert found['base']['val_accuracy']['n'] == 4
  assert {run['distance']['undefined'].code for run in found['runs']} == {'loss_without_log'}


def test_the_largest_distance_is_that_of_either_direction():
  """At half the rate the loss falls slower, at twice it falls faster."""
  found = compared(*made(rates=(0.1,), own=0.0, seeds=0.0, trials=2))
  for rule, factor in (('none', 0.25), ('sqrt', 0.5)):
    assert run_at(found, rule, 0)['distance']['largest'] == pytest.approx(
      3 * abs(math.sqrt(0.5) - math.sqrt(0.5 * factor))
    )
  faster = compared(*made(rates=(0.1,), power=0.0, own=0.0, seeds=0.0, trials=2))
  largest = run_at(faster, 'linear', 0)['distance']['largest']
  assert largest == pytest.approx(3 * (math.sqrt(2.0) - math.sqrt(0.5)))


def test_lanes_are_paired_by_their_trials_and_one_that_was_not_run_leaves_the_way_out():
  config, plan, rows = made(accuracy_noise=0.0005)
  lane = next(
    row
    for row in plan
    if (row['batch_size'], row['trial']) == (128, 2) and row['learning_rate'] == 0.8
  )
  fewer = [row for row in plan if row is not lane]
  kept = [row for row in rows if row['lane'] != lane['lane']]
  found = compared(config, fewer, kept)
  why = run_at(found, 'linear')['undefined']
  assert why == Reason('trials_differ', first=[0, 1, 2, 3], second=[0, 1, 3])
  missing = way(found, 'linear')['undefined']
  assert (missing.code, missing.details['trial']) == ('trial_not_run', 2)
  assert missing.details['learning_rate'] == pytest.approx(0.8)


def test_a_carried_best_rate_is_scaled_with_those_that_it_lies_between():
  found = compared(*made(rates=(0.1, 0.2, 0.4), cost=0.002, accuracy_noise=0.0005))
  base = found['ways']['base']['best_rate']
  best = {name: way(found, name)['best_rate'] for name in ('none', 'sqrt', 'linear')}
  assert best == pytest.approx({'none': base, 'sqrt': 2 * base, 'linear': 4 * base})
  updates = [reason.code for reason in way(found, 'linear')['better'].reasons]
  assert 'more_updates' in updates and 'stand_at' not in updates


def test_a_way_is_interpolated_where_either_of_both_is():
  config, plan, rows = made(evaluations=4)
  size = {lane['lane']: lane['batch_size'] for lane in plan}
  kept = [row for row in rows if not (size[row['lane']] == 32 and row['examples'] == 1024)]
  extra = [row | {'examples': 640, 'updates': 20} for row in rows if row['examples'] == 1024]
  extra = [row for row in extra if size[row['lane']] == 32]
  found = compared(config, plan, [*kept, *extra])
  assert way(found, 'linear')['interpolated'] is False
  assert way(found, 'linear', 'updates')['interpolated'] is True


def test_a_lane_that_failed_is_named_with_its_trial():
  _, plan, rows = made(diverges=lambda lane: lane['trial'] == 3 and lane['batch_size'] == 128)
  found = tuned_runs.ways(histories.settings(plan, rows), 32, ('none',), 0.005)
  carried = next(row for row in found['rows'] if row['way'] == 'none')
  assert carried['undefined'] == Reason('lanes_failed', trials=[[3, Reason('diverged')]])


# Over several arms.


def arm(distances, accuracies=None, shown=0, base=32, rules=('none', 'linear'), rates=1):
  """The summary of an arm: distances by rule and batch size, at the rate that is shown."""
  runs = [
    {'batch_size': size, 'rule': rule, 'learning_rate': 0.1}
    | {'distance': {'mean': value} if value is not None else {'undefined': 'why'}}
    | {'val_accuracy': {'mean': (accuracies or {}).get((rule, size), 0.0)}}
    for (rule, size), value in distances.items()
  ]
  others = [{'runs': [run | {'distance': {'mean': 77.0}} for run in runs]} for _ in range(rates)]
  others[shown] = {'runs': runs}
  both = {'base_batch_size': base, 'rules': list(rules), 'rates': others, 'shown': shown}
  return {'scaling_rules': both}


def test_ratios_over_arms_are_those_of_one_batch_size_at_the_rate_shown():
  arms = {
    'a': arm({('linear', 64): 1.0, ('none', 64): 4.0, ('linear', 128): 1.0, ('none', 128): 1.0}),
    'b': arm(
      {('linear', 64): 3.0, ('none', 64): 3.0, ('linear', 128): 9.0, ('none', 128): 1.0},
      shown=1,
      rates=3,
    ),
  }
  found = rules_across(arms)
  effects = {claim.columns['batch_size']: claim.estimate.value for claim in found['distances']}
  assert effects == pytest.approx({64: 0.5, 128: 3.0})
  nearer = {c.columns['batch_size']: dict(c.reasons[-1].details) for c in found['distances']}
  # Where both are as far, neither is nearer.
  assert nearer[64] == {'nearer': 1, 'arms': 2} and nearer[128] == {'nearer': 0, 'arms': 2}


def test_arms_of_another_question_or_without_a_distance_take_no_part():
  plain = {('linear', 64): 1.0, ('none', 64): 2.0}
  arms = {'a': arm(plain), 'b': arm(plain), 'other': arm(plain, base=16)}
  arms |= {'rules': arm(plain | {('sqrt', 64): 1.0}, rules=('none', 'sqrt', 'linear'))}
  arms |= {'lost': arm(plain | {('linear', 64): None}), 'zero': arm(plain | {('linear', 64): 0.0})}
  arms |= {'same': arm(plain | {('none', 64): 0.0}), 'plain': {}}
  found = rules_across(arms)
  assert found['arms'] == ['a', 'b', 'lost', 'zero', 'same']
  (claim,) = found['distances']
  assert claim.estimate.value == pytest.approx(0.5) and claim.estimate.n == 2


def test_accuracies_over_arms_are_those_of_each_batch_size_and_rule():
  values = {('linear', 64): 0.01, ('none', 64): 0.02, ('linear', 128): 0.03, ('none', 128): None}
  arms = {name: arm(dict.fromkeys(values, 1.0), values) for name in 'ab'}
  found = rules_across(arms)['accuracies']
  rows = {(row['rule'], row['batch_size']): (row['mean'], row['n']) for row in found}
  assert rows == {key: (value, 0 if value is None else 2) for key, value in values.items()}
