"""Conditions compared: which pairs, where they meet, what stands beside them, at the edges."""

import numpy as np
import pytest
from helpers import synthetic

from bsjax.analysis.claims.condition_contrasts import compare, contrasts, is_pooled
from bsjax.analysis.claims.condition_pairs import Pair, read_pair
from bsjax.analysis.claims.conditions import Condition, hold, pairs
from bsjax.analysis.runs.reading import of_columns
from bsjax.stats.estimate import Reason

LUCK = (0.01, -0.02, 0.005, 0.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def condition(name, height, sizes=(8,), trials=range(4), updates=lambda lane, share: None, **more):
  """A condition of an accuracy, with other updates where `updates` says some."""
  plan = [row for row in synthetic.plan(sizes, (0.1,), 4, examples=1024) if row['trial'] in trials]
  rows = []
  for lane in plan:
    for share in more.get('shares', SHARES):
      value = height + LUCK[lane['trial']] * (1 + 0.1 * height)
      made = updates(lane, share)
      values = {'val_accuracy': value} | ({} if made is None else {'updates': made})
      rows.append(synthetic.record(lane, share, **values))
  return Condition(name, more.get('config', synthetic.config()), plan, rows)


@pytest.mark.parametrize('count, expected', [(6, 15), (7, 6)])
def test_six_conditions_are_compared_in_all_pairs_and_seven_with_the_first(count, expected):
  names = [f'c{i}' for i in range(count)]
  assert len(pairs(names)) == expected
  assert {first for first, _ in pairs(names)} == (set(names[:5]) if count == 6 else {'c0'})
  found = compare([condition(name, 0.5 + 0.01 * i) for i, name in enumerate(names)])
  assert found['pairs'] == ('all' if count == 6 else 'with the baseline')
  seen = {(row.columns['first'], row.columns['second']) for row in found['contrasts']}
  assert seen == set(pairs(names))


def read(*conditions, budget='examples'):
  held = {one.name: hold(one) for one in conditions}
  return read_pair(held, *held, budget)


def test_conditions_of_other_trials_are_paired_by_those_that_both_have():
  both = read(condition('a', 0.5, trials=(0, 1, 3)), condition('b', 0.6, trials=(1, 2, 3)))
  assert [reading.trials for reading in both.read[8]] == [(1, 3), (1, 3)]
  apart = read(condition('a', 0.5, trials=(0, 1)), condition('b', 0.6, trials=(2, 3)))
  assert apart.out == {8: Reason('two_share_no_trial')} and not apart.read


def test_where_numbers_of_updates_differ_they_meet_in_the_last_quarter_of_the_shorter():
  """A record of both at 96 of 128 updates is late enough, and one at 64 is not."""

  def more(times):
    return lambda lane, share: round(share * lane['updates'] * times)

  both = read(condition('a', 0.5), condition('b', 0.6, updates=more(1.5)), budget='updates')
  assert [one.values['updates'].tolist() for one in both.read[8]] == [[96.0] * 4] * 2
  sparse = condition('b', 0.6, updates=more(2), shares=(0, 0.25, 1))
  both = read(condition('a', 0.5), sparse, budget='updates')
  assert [one.values['updates'].tolist() for one in both.read[8]] == [[128.0] * 4] * 2
  assert [one.between for one in both.read[8]] == [None, (64.0, 256.0)]


def times(*factors):
  sizes = (8, 16, 32)[: len(factors)]
  by_size = dict(zip(sizes, factors, strict=True))
  many = condition(
    'many',
    0.6,
    sizes,
    updates=lambda lane, share: round(share * lane['updates'] * by_size[lane['batch_size']]),
  )
  context = read(condition('few', 0.5, sizes), many).context
  return tuple(reason for reason in context if reason.code == 'condition_updates')


def test_how_many_more_updates_the_second_makes_is_the_range_over_batch_sizes():
  (reason,) = times(2.0, 4.0, 3.0)
  assert (reason.details['low'], reason.details['high']) == (2, 4)
  assert times(1.0, 1.0) == () and times(1.0, 17 / 16)[0].details['high'] == 17 / 16


def test_that_a_pair_cannot_be_read_at_equal_updates_is_said_and_that_they_are_equal_is_not():
  """The second makes 16 updates, before the first record of the first after the start."""
  slow = condition('b', 0.6, updates=lambda lane, share: round(share * 16))
  found = compare([condition('a', 0.5), slow])['contrasts']
  rows = {claim.columns['clock']: claim for claim in found if claim.quantity == 'val_accuracy'}
  assert rows['updates'].estimate.value is None
  assert [reason.code for reason in rows['updates'].reasons] == ['nothing_shared', 'left_out']
  alike = compare([condition('a', 0.5), condition('b', 0.6)])['contrasts']
  assert {claim.columns['clock'] for claim in alike} == {'examples'}


def failed(size):
  """Trial 1 diverges at one batch size."""
  found = condition('b', 0.6, (8, 16))
  lanes = {row['lane'] for row in found.plan if row['batch_size'] == size and row['trial'] == 1}
  rows = [row | {'diverged': row['lane'] in lanes and row['examples'] > 0} for row in found.rows]
  return Condition('b', found.config, found.plan, rows)


def test_what_is_left_out_is_said_of_the_mean_and_not_of_another_batch_size():
  found = compare([condition('a', 0.5, (8, 16, 32)), Condition(**vars(failed(8)))])['contrasts']
  (pooled,) = [row for row in found if row.quantity == 'val_accuracy' and is_pooled(row.columns)]
  out = [reason.details['size'] for reason in pooled.reasons if reason.code == 'left_out']
  assert out == [8, 32]
  three = compare([condition('a', 0.5, (8, 16, 32)), condition('b', 0.6, (8, 16))])['contrasts']
  single = [row for row in three if row.quantity == 'val_accuracy' and not is_pooled(row.columns)]
  assert len(single) == 2
  for row in single:
    assert 'left_out' not in [reason.code for reason in row.reasons]
    # What stands beside the claim of a single batch size stands there once.
    assert [reason.code for reason in row.columns['equivalent'].reasons] == []


def test_the_table_has_the_most_examples_and_the_fewest_and_most_updates():
  def uneven(lane, share):
    return round(share * lane['updates'] * (1 + lane['trial'] / 4))

  found = condition('a', 0.5, updates=uneven)
  ends = [row for row in found.rows if row['examples'] == 1024]
  ends[2]['examples'] = 1100  # a trial that was evaluated later
  (row,) = compare([found])['table']
  assert (row['examples'], row['updates']) == (1100, [128, 224])
  assert not {'loss_gap', 'epoch'} & row.keys() and row['gap']['n'] == 4


def test_values_of_axes_of_hyperparameters_do_not_make_other_runs_of_the_same():
  """They stand in the plan, lane by lane."""
  both = [
    condition(name, 0.5, config=synthetic.config() | {'axes': {'momentum': values}})
    for name, values in (('a', [0.9]), ('b', [0.9, 0.99]))
  ]
  assert read(*both).out == {8: Reason('same_runs')}


CUT = Reason('conditions_cut_short', size=8), Reason('conditions_cut_short', size=16)


def contrast(quantity='val_accuracy', again=(None, None), **about):
  """The pooled claim on two conditions of which the second is 10 points higher."""
  readings = []
  for base, lift in zip((0.5, 0.6), again, strict=True):
    columns = {quantity: base + np.array(LUCK) * (1 + base)}
    if lift is not None:
      columns[f'reestimated_{quantity}'] = columns[quantity] + lift
    readings.append(of_columns(range(4), columns))
  pair = Pair('a', 'b', 'examples', {8: tuple(readings), 16: tuple(readings)}, {}, (), **about)
  found = [claim for claim in contrasts([pair], 0.005) if claim.quantity == quantity]
  (claim,) = [claim for claim in found if is_pooled(claim.columns)]
  return claim


def test_that_a_schedule_is_cut_short_is_said_once():
  claim = contrast(cut_short={8: CUT[:1], 16: CUT[1:]})
  assert claim.reasons == (CUT[0],) and claim.verdict == 'undetermined'


def test_re_estimated_values_that_are_not_finite_leave_running_ones_alone():
  assert contrast(again=(0.0, float('nan'))).verdict == 'supported'
  assert contrast(again=(0.0, -0.2)).verdict == 'undetermined'


def test_only_the_metric_tells_which_side_may_be_better_still():
  """The second, the better one by accuracy, is read beside its best rates."""
  unsafe = Reason('best_rates_unsafe', size=8, rates=[0.1])
  beside = {'skipped': ([], [unsafe])}
  assert contrast(**beside).verdict == 'supported'
  assert contrast('train_accuracy', **beside).verdict == 'undetermined'
  first = {'skipped': ([unsafe], [])}
  assert contrast(**first).verdict == 'undetermined'
