"""conditions: made-up branches and arms with planted differences, and how often intervals hold."""

import json
import math

import numpy as np
import pytest
from helpers import synthetic
from helpers.draws import draws
from scipy import stats

from bsjax.analysis.claims import condition_contrasts, conditions
from bsjax.analysis.claims.condition_contrasts import Pair, claims, contrasts
from bsjax.analysis.claims.conditions import Condition
from bsjax.analysis.runs import histories
from bsjax.analysis.runs.reading import Reading
from bsjax.config.metrics import judged
from bsjax.report.summaries import summarize
from bsjax.report.text.answer import answer
from bsjax.report.text.condition_words import condition_answer
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Reason
from bsjax.storage import records

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LUCK = (0.0, 0.05, -0.03, 0.02, -0.04)  # of whole trials, far above what differs between conditions
SPREAD = (0.001, -0.001, 0.0005, 0.0, -0.0005)  # of a condition within trials


def compare(all_conditions):
  """The conditions compared, as summary.json holds it."""
  return rendered(condition_contrasts.compare(all_conditions))


def reasons(row):
  """code -> details, of the reasons of a row."""
  return {reason['code']: reason for reason in row['reasons']}


def condition(name, value, sizes=(8, 16), rates=(0.1,), trials=5, branch='', **values):
  """A condition whose record after a share of training is `value(lane, share)`, or a number."""
  plan = [row | {'branch': branch} for row in synthetic.plan(sizes, rates, trials, examples=1024)]
  rows = []
  for lane in plan:
    for share in SHARES:
      found = value(lane, share) if callable(value) else {'val_accuracy': value}
      rows.append(synthetic.record(lane, share, **values) | found)
  return Condition(name, synthetic.config(), plan, rows)


def above(shift, spread=1.0, turn=0):
  """Validation accuracies shifted by so much from a level that all trials share.

  `turn` deals the deviations of the condition to other trials, at another batch size to others yet.
  """

  def value(lane, _):
    trial = lane['trial']
    own = SPREAD[(trial + turn) % 5]
    return {'val_accuracy': 0.8 + LUCK[trial] + shift + spread * own}

  return value


def rows_of(found, **where):
  place = {'batch_size': 'pooled', 'clock': 'examples', 'quantity': 'val_accuracy'} | where
  return [row for row in found['contrasts'] if all(row[key] == place[key] for key in place)]


def verdicts_of(found, **where):
  return {(row['second'], row['first']): row['verdict'] for row in rows_of(found, **where)}


def test_planted_differences_have_the_verdict_that_they_bear():
  planted = {
    'base': above(0.0, 0.0),
    'better': above(0.02),
    'worse': above(-0.02, turn=1),
    'alike': above(0.0, turn=2),
    'noisy': above(0.004, 9.0, turn=3),
  }
  found = compare([condition(name, value) for name, value in planted.items()])
  against_base = {
    pair[0]: verdict for pair, verdict in verdicts_of(found).items() if 'base' in pair
  }
  expected = {'better': 'supported', 'worse': 'refuted', 'alike': 'undetermined'}
  assert against_base == expected | {'noisy': 'undetermined'}
  equal = {row['second']: row['equivalent']['verdict'] for row in rows_of(found, first='base')}
  expected = {'better': 'refuted', 'worse': 'refuted', 'alike': 'supported'}
  assert equal == expected | {'noisy': 'undetermined'}
  noisy = rows_of(found, first='base', second='noisy')[0]
  assert 'contains_zero' in reasons(noisy) and 'crosses_margin' in reasons(noisy['equivalent'])
  assert condition_answer(found).headline == 'better beats base, worse and alike, not noisy.'


def test_intervals_are_those_of_all_pairs_at_once_worked_out_by_hand():
  planted = {'a': above(0, 0.0), 'b': above(0.01), 'c': above(0.0, 2.0)}
  found = compare([condition(name, value) for name, value in planted.items()])
  assert len(rows_of(found)) == 3 and found['baseline'] == 'a' and found['pairs'] == 'all'
  row = rows_of(found, second='b')[0]
  differences = 0.01 + np.array(SPREAD)
  half = stats.t.ppf(1 - 0.025 / 3, 4) * differences.std(ddof=1) / math.sqrt(5)
  mean = differences.mean()
  assert row['effect'] == pytest.approx(mean, abs=1e-12) and row['n'] == 5
  assert row['ci95'] == pytest.approx([mean - half, mean + half], abs=1e-12)
  assert row['confidence'] == pytest.approx(1 - 0.05 / 3)
  # Of single batch sizes the family is larger: three pairs at two of them.
  single = rows_of(found, second='b', batch_size=16)[0]
  assert single['confidence'] == pytest.approx(1 - 0.05 / 6)
  raw = 2 * stats.t.sf(mean / (differences.std(ddof=1) / math.sqrt(5)), 4)
  assert row['p_holm'] == pytest.approx(3 * raw)


def test_differences_pool_over_batch_sizes_within_the_trial():
  by_size = {8: np.array([0.01, 0.03, 0.02]), 16: np.array([0.03, 0.01, 0.05])}

  def better(lane, _):
    return {'val_accuracy': 0.5 + by_size[lane['batch_size']][lane['trial']]}

  found = compare([condition('a', 0.5, trials=3), condition('b', better, trials=3)])
  each = (by_size[8] + by_size[16]) / 2  # 0.02, 0.02, 0.035
  half = stats.t.ppf(0.975, 2) * each.std(ddof=1) / math.sqrt(3)
  (row,) = rows_of(found)
  assert row['effect'] == pytest.approx(0.025) and row['batch_sizes'] == [8, 16]
  assert row['ci95'] == pytest.approx([0.025 - half, 0.025 + half])
  assert rows_of(found, batch_size=16)[0]['effect'] == pytest.approx(0.03)


def test_each_condition_is_read_at_its_best_learning_rate():
  lucky = {0.1: (0.99, 0.7, 0.8), 0.2: (0.7, 0.98, 0.79)}

  def value(lane, _):
    return {'val_accuracy': lucky[lane['learning_rate']][lane['trial']]}

  found = compare([
    condition('one rate', 0.7, (8,), (0.1,), 3),
    condition('two rates', value, (8,), (0.1, 0.2), 3),
  ])  # fmt: skip
  single, both = found['table']
  assert both['learning_rate'] == 0.1 and both['selection'] == 'best rate'
  assert both['val_accuracy']['mean'] == pytest.approx((0.99 + 0.7 + 0.8) / 3)
  assert 'nothing was tuned' in single['note'] and both['at_grid_edge']
  (row,) = rows_of(found)
  assert row['effect'] == pytest.approx((0.99 + 0.7 + 0.8) / 3 - 0.7)
  assert {'code': 'one_rate', 'condition': 'one rate', 'sizes': [8]} in row['reasons']
  assert {'code': 'chosen_at_grid_edge', 'condition': 'two rates', 'sizes': [8]} in row['reasons']


def failing(size):
  """Runs that diverge in trial 1 at one batch size."""

  def value(lane, share):
    failed = lane['batch_size'] == size and lane['trial'] == 1 and share > 0.5
    return above(0.1)(lane, share) | {'diverged': failed}

  return value


def test_a_condition_that_failed_is_named_with_the_reason():
  found = rendered(compare([condition('a', above(0)), condition('b', failing(8))]))
  (failed,) = found['failed']
  assert (failed['condition'], failed['batch_size']) == ('b', 8)
  assert 'trial 1 diverged at learning rate 0.1' in failed['reason']
  assert next(row for row in found['table'] if 'reason' in row)['batch_size'] == 8
  (row,) = rows_of(found)
  assert row['batch_sizes'] == [16] and reasons(row)['left_out']['size'] == 8
  assert reasons(row)['left_out']['why']['condition'] == 'b'
  assert 'b has no result at batch size 8' in ' '.join(condition_answer(found).remarks)
  nothing = rendered(compare([condition('a', above(0), (8,)), condition('b', failing(8), (8,))]))
  (row,) = rows_of(nothing)
  assert row['verdict'] == 'undetermined' and row['effect'] is None
  assert 'nothing_shared' in reasons(row) and 'diverged' in row['why']
  assert condition_answer(nothing).headline == 'The conditions cannot be compared.'


def test_conditions_share_some_batch_sizes_or_none():
  found = [condition('a', above(0, 0.0), (8, 16)), condition('b', above(0.1), (16, 32))]
  found = rendered(compare(found))
  (row,) = rows_of(found)
  assert row['batch_sizes'] == [16] and row['verdict'] == 'supported'
  why = {'code': 'not_trained', 'condition': 'a'}
  assert reasons(row)['left_out'] == {'code': 'left_out', 'size': 32, 'why': why}
  apart = compare([condition('a', 0.5, (8,)), condition('b', 0.5, (16,))])
  assert rows_of(apart)[0]['verdict'] == 'undetermined'


def by_updates(factor):
  """Accuracy that grows with updates alone, of which there are more by a factor."""

  def value(lane, share):
    updates = round(share * lane['updates'] * factor)
    return {
      'updates': updates,
      'val_accuracy': 0.5
      + 0.002 * updates
      + LUCK[lane['trial']]
      + 1e-4 * SPREAD[lane['trial']] * factor,
    }

  return value


def test_an_effect_of_the_number_of_updates_is_none_at_equal_updates():
  found = compare([condition('few', by_updates(1), (8,)), condition('many', by_updates(2), (8,))])
  (at_examples,) = rows_of(found)
  assert at_examples['verdict'] == 'supported' and at_examples['effect'] == pytest.approx(0.256)
  more = {'second': 'many', 'first': 'few', 'low': 2.0, 'high': 2.0}
  assert reasons(at_examples)['condition_updates'] == {'code': 'condition_updates'} | more
  (at_updates,) = rows_of(found, clock='updates')
  assert abs(at_updates['effect']) < 1e-6
  assert reasons(at_updates)['conditions_stand_at']['epochs'] == [30.0, 15.0]
  assert at_updates['equivalent']['verdict'] == 'supported'
  alike = compare([condition('a', by_updates(1), (8,)), condition('b', by_updates(1), (8,))])
  assert not rows_of(alike, clock='updates')


def test_a_verdict_that_rests_on_straight_lines_between_records_is_left_open():
  found = compare([condition('a', by_updates(1), (8,)), condition('b', by_updates(1.51), (8,))])
  (row,) = rows_of(found, clock='updates')  # 128 updates lie between 97 and 145 of the other
  low, high = row['ci95_interpolation']
  assert low < -0.06 and high > 0.03
  assert row['equivalent']['verdict'] == 'undetermined'
  assert 'interpolated' in reasons(row['equivalent'])


def test_statistics_of_batchnorm_that_decide_the_verdict_leave_it_open():
  def normalized(shift):
    def value(lane, share):
      row = above(0.02)(lane, share)
      return row | {
        'reestimated_val_accuracy': row['val_accuracy'] + shift,
        'reestimated_train_accuracy': 0.5,
      }

    return value

  plain = condition('plain', above(0, 0.0))
  agree = rows_of(compare([plain, condition('normed', normalized(0.001))]))[0]
  assert agree['verdict'] == 'supported'
  # A model without BatchNorm has one kind of accuracy, which serves for both.
  assert agree['reestimated']['effect'] == pytest.approx(0.021)
  (row,) = rows_of(compare([plain, condition('normed', normalized(-0.03))]))
  assert row['verdict'] == 'undetermined'
  assert reasons(row)['statistics_disagree']['reestimated'] == 'refuted'


def test_other_quantities_claim_the_good_side():
  def value(good):
    def record(lane, _):
      noise = good * SPREAD[lane['trial']]
      row = {'val_accuracy': 0.6 + 0.1 * good + noise, 'train_accuracy': 0.9}
      row |= {'val_loss': 1.0 - 0.5 * good + noise, 'train_loss': 0.2}
      return row | {'val_balanced_accuracy': 0.5 + 0.1 * good + noise}

    return record

  both = [condition('bad', value(0)), condition('good', value(1))]
  found = compare(both)
  for quantity in ('val_accuracy', 'val_loss', 'gap', 'val_balanced_accuracy'):
    assert verdicts_of(found, quantity=quantity) == {('good', 'bad'): 'supported'}, quantity
  (loss,) = rows_of(found, quantity='val_loss')
  assert loss['unit'] == 'nats' and loss['effect'] == pytest.approx(-0.5)
  assert 'Found: -0.5 nats' in loss['why'] and loss['equivalent'] is None
  (train,) = rows_of(found, quantity='train_accuracy')
  assert train['verdict'] == 'undetermined'  # no width, which proves nothing
  whole = rendered(claims(condition_contrasts.compare(both)))
  assert len(whole) == 6 and all(each['about'] == 'conditions' for each in whole)
  assert {'claim', 'verdict', 'effect', 'ci95', 'why'} <= set(whole[0])


def planned(name, values, b2, **changes):
  """A condition whose optimizer has these values of b2 by batch size, in plan.csv."""
  one = condition(name, values)
  plan = [row | {'optimizer.b2': b2[row['batch_size']]} for row in one.plan]
  return Condition(name, one.config | changes, plan, one.rows)


def test_where_both_are_the_same_runs_their_difference_is_no_part_of_the_mean():
  """As at the base batch size of rules for hyperparameters, which change nothing there."""

  def moved(shift):
    def value(lane, share):
      shown = above(shift * (lane['batch_size'] == 16), spread=0.1, turn=lane['batch_size'])
      return shown(lane, share) | {'val_loss': 0.5 + 0.1 * shift * (lane['batch_size'] == 16)}

    return value

  keep = planned('keep', moved(0.0), {8: 0.99, 16: 0.99})
  half_life = planned('half_life', moved(0.05), {8: 0.99, 16: 0.98})
  (row,) = rows_of(compare([keep, half_life]))
  assert row['effect'] == pytest.approx(0.05) and row['batch_sizes'] == [16]
  assert reasons(row)['left_out']['size'] == 8
  assert reasons(row)['left_out']['why']['code'] == 'same_runs'


@pytest.mark.parametrize(
  'b2, changes, moves',
  [
    ({8: 0.98, 16: 0.98}, {}, {}),
    ({8: 0.99, 16: 0.99}, {'schedule': {'name': 'constant'}}, {}),
    ({8: 0.99, 16: 0.99}, {}, {'learning_rate': 0.05}),
    ({8: 0.99, 16: 0.99}, {}, {'batch_size': 32}),
  ],
)
def test_runs_planned_otherwise_that_end_alike_are_other_runs(b2, changes, moves):
  first = planned('first', above(0.0), {8: 0.99, 16: 0.99})
  second = planned('second', lambda lane, share: above(0.0)(lane, share) | moves, b2, **changes)
  (row,) = rows_of(compare([first, second]))
  assert row['batch_sizes'] == [8, 16] and row['effect'] == 0
  again = planned('again', above(0.0), {8: 0.99, 16: 0.99}, report={'show_example': True})
  assert not rows_of(compare([first, again]))[0]['batch_sizes']


def test_many_conditions_are_compared_with_the_baseline_only():
  shifts = (0, 0.03, -0.03, 0, 0, 0, 0)
  found = compare(
    [condition(f'c{i}', above(s, i % 2 + i / 90), (8,)) for i, s in enumerate(shifts)]
  )
  assert found['pairs'] == 'with the baseline'
  assert {row['first'] for row in found['contrasts']} == {'c0'} and len(rows_of(found)) == 6
  assert rows_of(found)[0]['confidence'] == pytest.approx(1 - 0.05 / 6)
  found = compare(
    [condition(f'c{i}', above(s, (i + 1) % 2 + i / 9), (8,)) for i, s in enumerate(shifts)]
  )
  assert condition_answer(found).headline == 'c1 beats c0; c0 beats c2.'


def test_what_cannot_be_compared_says_so():
  one = condition_answer(compare([condition('a', 0.5)]))
  assert one.headline == 'There is one condition, and nothing to compare it with.'
  single = compare([condition('a', 0.5, trials=1), condition('b', 0.6, trials=1)])
  assert condition_answer(single).headline == 'One trial cannot tell the conditions apart.'
  assert rows_of(single)[0]['verdict'] == 'undetermined'
  with pytest.raises(ValueError, match='give each its own name'):
    compare([condition('a', 0.5), condition('a', 0.6)])
  near = compare([condition('a', above(0, 0.0)), condition('b', above(0))])
  assert condition_answer(near).headline == 'a and b differ by less than 0.5 points.'
  told = compare([condition('a', above(0, 0.0)), condition('b', above(0.001, 9.0))])
  assert condition_answer(told).headline == 'No condition is shown to be better.'


def test_the_summary_of_conditions_is_plain_json(tmp_path):
  found = rendered(compare([condition('a', above(0)), condition('b', failing(8))]))
  assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_configurations_that_differ_are_listed():
  first, second = condition('a', 0.5), condition('b', 0.5)
  other = second.config | {'optimizer': {'name': 'adam', 'b1': 0.9}, 'execution': {'devices': 2}}
  found = conditions.differences([first, Condition('b', other, second.plan, second.rows)])
  assert found == {
    'b': {
      'optimizer.b1': [None, 0.9],
      'optimizer.momentum': [0.9, None],
      'optimizer.name': ['sgd', 'adam'],
    }
  }


def branched(*parts):
  """Plan and records of a study with these branches."""
  plan, rows = [], []
  for index, each in enumerate(parts):
    first = index * len(each.plan)
    plan += [row | {'lane': row['lane'] + first, 'branch': each.name} for row in each.plan]
    rows += [row | {'lane': row['lane'] + first} for row in each.rows]
  return plan, rows


def test_a_branched_study_is_that_of_its_first_branch_and_says_so():
  first = condition('keep', above(0, 0.0))
  plan, rows = branched(first, condition('multiply:2', above(0.05)))
  summary = summarize(synthetic.config(), plan, rows)
  alone = summarize(synthetic.config(), plan[: len(first.plan)], first.rows)
  assert summary['batch_sizes'] == alone['batch_sizes'] and 'conditions' not in alone
  assert summary['branch'] == 'keep' and summary['conditions']['names'] == ['keep', 'multiply:2']
  assert verdicts_of(summary['conditions']) == {('multiply:2', 'keep'): 'supported'}
  assert [each for each in summary['claims'] if 'about' not in each] == alone['claims']
  told = answer(summary)
  assert told.headline.startswith('In the branch keep, no batch size')
  assert 'of the first, keep; the other is multiply:2' in told.remarks[0]
  with pytest.raises(ValueError, match='part them with by_branch'):
    histories.settings(plan, rows)
  arms = conditions.of_study(synthetic.config(), plan, rows, 'resnet18')
  assert [each.name for each in arms] == ['resnet18 / keep', 'resnet18 / multiply:2']


def test_runs_end_by_examples_whatever_the_plan_says_of_updates():
  changing = condition('b', by_updates(0.5), (8,))
  ((setting,),) = histories.settings(changing.plan, changing.rows).values()
  assert setting.problem is None and {lane.final['updates'] for lane in setting.lanes} == {64}
  shorter = [row for row in changing.rows if row['examples'] < 1024]
  ((setting,),) = histories.settings(changing.plan, shorter).values()
  unfinished = Reason('unfinished', epoch=22.5, epochs=30.0)
  assert {why for _, why in setting.problem.details['trials']} == {unfinished}


def test_no_critical_batch_size_of_batch_sizes_that_change():
  def grows(lane, share):
    return {'batch_size': lane['batch_size'] * (2 if share > 0.5 else 1)}

  found = condition('a', grows)
  why = summarize(synthetic.config(), found.plan, found.rows)['critical_batch_size']['undefined']
  assert 'the batch size changes in training, to 16' in why


def test_a_plan_without_branches_reads_as_one_branch(tmp_path):
  path = tmp_path / 'plan.csv'
  rows = synthetic.plan((8,), (0.1,), 2)
  records.write_plan(path, [row | {'branch': 'shrink:multiply:0.25, "x"'} for row in rows])
  assert records.read_plan(path)[1]['branch'] == 'shrink:multiply:0.25, "x"'
  records.write_plan(path, rows)
  lines = [line.split(',') for line in path.read_text().splitlines()]
  at = lines[0].index('branch')
  path.write_text('\n'.join(','.join(line[:at] + line[at + 1 :]) for line in lines) + '\n')
  assert records.read_plan(path) == rows


def simulate(contrasts_of, studies=200, names='abcd', trials=4):
  """The share of draws in which all intervals of all pairs hold the truth at once."""
  random = np.random.default_rng(7)
  truth = dict(zip(names, (0.0, 0.01, 0.0, -0.02), strict=True))
  held = 0
  for _ in draws(studies):
    luck = random.normal(0, 0.05, trials)
    values = {name: luck + truth[name] + random.normal(0, 0.01, trials) for name in names}
    read = {name: {'val_accuracy': value} for name, value in values.items()}
    reading = {name: Reading(tuple(range(trials)), each, each, each) for name, each in read.items()}
    pairs = [
      Pair(a, b, 'examples', {8: (reading[a], reading[b])}, {}, ())
      for a, b in conditions.pairs(list(names))
    ]
    inside = [
      claim.estimate.low
      <= truth[claim.columns['second']] - truth[claim.columns['first']]
      <= claim.estimate.high
      for claim in contrasts_of(pairs)
    ]
    held += all(inside) and len(inside) == 6
  return held / studies


@pytest.mark.slow
def test_intervals_of_all_pairs_hold_together():
  assert 0.93 <= simulate(lambda pairs: contrasts(pairs, judged().margin)) <= 0.995

  # A family of one pair each is what would be without the correction; it does not hold.
  def alone(pairs):
    return [row for pair in pairs for row in contrasts([pair], judged().margin)]

  assert simulate(alone, studies=60) < 0.9


def test_pooled_claims_of_no_difference_rarely_err_at_the_margin():
  """A true difference of the margin is called none in at most about one case of twenty."""
  random = np.random.default_rng(3)
  wrong = 0
  for _ in draws(400):
    at = judged().margin + random.normal(0, 0.001, 5)
    zero = np.zeros(5)
    readings = [Reading(tuple(range(5)), *[{'val_accuracy': value}] * 3) for value in (zero, at)]
    pair = Pair('a', 'b', 'examples', {8: tuple(readings)}, {}, ())
    (claim,) = contrasts([pair], judged().margin)
    wrong += claim.columns['equivalent'].verdict == 'supported'
  assert wrong / 400 < 0.05
