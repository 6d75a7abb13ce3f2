"""Conditions read where one has more of its schedule left than the other show nothing."""

import math

import pytest
from helpers import synthetic

from bsjax.analysis.claims import condition_contrasts
from bsjax.analysis.claims.conditions import Condition
from bsjax.report.text.condition_words import UNDECIDED, condition_answer
from bsjax.report.text.rendered import rendered

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SPREAD = (0.001, -0.001, 0.0005, 0.0, -0.0005)


def constant(share):
  return 1.0


def cosine(share):
  return (1 + math.cos(math.pi * share)) / 2


def warm(share):
  return min(1.0, 0.5 + share)


def condition(name, accuracy, schedule, updates=1, length=1, sizes=(8,), rates=(0.1,)):
  """A condition that makes `updates` times as many, or sees `length` times the examples."""
  plan = synthetic.plan(sizes, rates, 5, examples=1024 * length, epochs=30.0 * length)
  rows = [
    synthetic.record(
      lane,
      share,
      updates=round(share * lane['updates'] * updates),
      learning_rate=lane['learning_rate'] * schedule(share),
      val_accuracy=accuracy + 10 * (accuracy - 0.5) * SPREAD[lane['trial']],
    )
    for lane in plan
    for share in SHARES
  ]
  return Condition(name, synthetic.config(), plan, rows)


def contrast(first, second, clock, size='pooled'):
  """The row of validation accuracy of the second less the first, and the whole comparison."""
  compared = rendered(condition_contrasts.compare([first, second]))
  (row,) = (
    row
    for row in compared['contrasts']
    if (row['quantity'], row['clock'], row['batch_size']) == ('val_accuracy', clock, size)
  )
  return row, compared


def why(row):
  return next((r for r in row['reasons'] if r['code'] == 'conditions_cut_short'), None)


@pytest.mark.parametrize(
  'schedule, shown',
  [(constant, True), (warm, True), (cosine, False)],
)
def test_at_equal_updates_a_schedule_cut_short_leaves_the_verdict_open(schedule, shown):
  few, many = condition('few', 0.6, schedule), condition('many', 0.7, schedule, updates=2)
  row, _ = contrast(few, many, 'updates')
  assert row['ci95'][0] > 0.09
  assert row['verdict'] == ('supported' if shown else 'undetermined')
  assert row['equivalent']['verdict'] == ('refuted' if shown else 'undetermined')
  assert (why(row) is None) == (why(row['equivalent']) is None) == shown
  # Each stands at its own end there.
  assert contrast(few, many, 'examples')[0]['verdict'] == 'supported'


def test_the_reason_says_where_both_stand_and_where_they_end():
  row, _ = contrast(condition('a', 0.6, cosine), condition('b', 0.7, cosine, updates=2), 'updates')
  assert why(row)['shares'] == pytest.approx([0.0, 0.5])
  assert why(row)['ends'] == pytest.approx([0.0, 0.0])
  assert 'a at 0% (at its end 0%) and b at 50% (at its end 0%) at batch size 8' in row['why']


def test_schedules_that_differ_are_fair_where_each_is_at_its_end():
  row, _ = contrast(condition('a', 0.6, cosine), condition('b', 0.7, constant), 'examples')
  assert row['verdict'] == 'supported' and why(row) is None
  # A constant rate has nothing left wherever it is read; the other is at its end.
  few, many = condition('few', 0.6, cosine), condition('many', 0.7, constant, updates=2)
  assert contrast(few, many, 'updates')[0]['verdict'] == 'supported'
  few, many = condition('few', 0.6, constant), condition('many', 0.7, cosine, updates=2)
  assert contrast(few, many, 'updates')[0]['verdict'] == 'undetermined'


def test_a_longer_run_is_cut_short_at_equal_examples():
  short, long = condition('short', 0.6, cosine), condition('long', 0.7, cosine, length=2)
  row, compared = contrast(short, long, 'examples')
  assert row['ci95'][0] > 0.09 and row['verdict'] == 'undetermined'
  assert why(row)['shares'] == pytest.approx([0.0, 0.5])
  assert condition_answer(compared).headline == UNDECIDED
  short, long = condition('short', 0.6, constant), condition('long', 0.7, constant, length=2)
  assert condition_answer(contrast(short, long, 'examples')[1]).headline == 'long does best.'


def test_only_the_batch_sizes_concerned_are_left_open():
  """The second is longer at batch size 8 alone."""
  short = condition('short', 0.6, cosine, sizes=(8, 16))
  parts = [condition('long', 0.7, cosine, length=length, sizes=(8, 16)) for length in (2, 1)]
  plan = [*parts[0].plan[:5], *parts[1].plan[5:]]
  rows = [row for row in parts[0].rows if row['lane'] < 5]
  rows += [row for row in parts[1].rows if row['lane'] >= 5]
  long = Condition('long', short.config, plan, rows)
  verdicts = {s: contrast(short, long, 'examples', s)[0]['verdict'] for s in (8, 16, 'pooled')}
  assert verdicts == {8: 'undetermined', 16: 'supported', 'pooled': 'undetermined'}


def test_each_rate_of_a_window_is_held_against_its_own_peak():
  few = condition('few', 0.6, constant, rates=(0.1, 0.2, 0.4))
  many = condition('many', 0.7, constant, updates=2, rates=(0.1, 0.2, 0.4))
  assert contrast(few, many, 'updates')[0]['verdict'] == 'supported'
  many = condition('many', 0.7, cosine, updates=2, rates=(0.1, 0.2, 0.4))
  assert contrast(few, many, 'updates')[0]['verdict'] == 'undetermined'
