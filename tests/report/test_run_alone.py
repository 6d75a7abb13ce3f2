"""Seconds to a target run alone: planted examples and rates, and what keeps them from it."""

import pytest

from bsjax.analysis import goals_to_target
from bsjax.analysis.goals_to_target import seconds_to_target
from bsjax.report.text.rendered import rendered

TIME = 'least time to a target, run alone'


def run_alone(*measured):
  """The row of the least time, as the page shows it."""
  return rendered(goals_to_target.run_alone(*measured))


EARLY = 'before first evaluation'


def critical(**more):
  """Batch size 8 needs 1,000 examples, 64 twice, 512 eight times as many."""
  spread = 0.99, 1.0, 1 / 0.99  # of geometric mean 1, in another order for each
  settings = (8, 0.1, 1000), (64, 0.2, 2000), (512, 0.3, 8000)
  points = [
    {
      'batch_size': size,
      'learning_rate': rate,
      'examples': [examples * spread[(trial + turn) % 3] for trial in range(3)],
      'status': ['reached'] * 3,
    }
    for turn, (size, rate, examples) in enumerate(settings)
  ]
  return {'target': 0.1, 'quantity': 'train_loss', 'points': points, **more}


def cost(rates, width=1.0):
  """Median rates by batch size, and ranges from a `width`-th to `width` times as much."""
  rows = [
    {
      'batch_size': size,
      'stage': '',
      'examples_per_second': rate
      and {'median': rate, 'low': rate / width, 'high': rate * width, 'n': 5},
    }
    for size, rate in rates.items()
  ]
  return {'hardware': 'a made-up device', 'rows': rows}


RATES = {8: 100.0, 64: 1000.0, 512: 1600.0}  # 10, 2 and 5 seconds


def test_the_least_time_is_found_with_its_learning_rate_and_reasons():
  assert seconds_to_target(critical(), cost(RATES)) == pytest.approx({8: 10, 64: 2, 512: 5})
  row = run_alone(critical(), cost(RATES))
  assert (row['goal'], row['batch_size'], row['learning_rate']) == (TIME, 64, 0.2)
  assert 'To a training loss of 0.1 on a made-up device: 2 s' in row['why']
  assert 'Shown to need longer: 8, 512. Not shown to: none.' in row['why']


@pytest.mark.parametrize('width, shown', [(1.1, '8, 512'), (1.7, '8'), (2.3, 'none')])
def test_a_wide_range_of_rates_shows_less(width, shown):
  """Squared, as both ends count: 2.5 and 5 times as long are shown below about 1.58 and 2.24."""
  row = run_alone(critical(), cost(RATES, width))
  assert row['batch_size'] == 64 and f'Shown to need longer: {shown}.' in row['why']


def test_what_was_not_run_whole_or_not_reached_is_named_and_left_out():
  row = run_alone(critical(), cost({**RATES, 64: None}))
  assert row['batch_size'] == 512 and 'Batch size 64 was not run whole.' in row['why']
  never = critical()
  never['points'][1]['examples'][0] = None
  assert seconds_to_target(never, cost(RATES)).keys() == {8, 512}
  row = run_alone(never, cost(RATES))
  assert 'Batch size 64 does not reach the target in every trial.' in row['why']


def test_nothing_is_said_where_too_little_is_known():
  row = run_alone(critical(), cost({8: 100.0}))
  assert row['batch_size'] is None and '1 batch sizes run whole reach the target' in row['why']
  undefined = {'undefined': 'no target was given', 'quantity': 'train_loss', 'targets': []}
  assert run_alone(undefined, cost(RATES))['why'] == 'No target was given.'
  early = critical()
  early['points'][0]['status'][0] = EARLY
  assert 'before its first evaluation' in run_alone(early, cost(RATES))['why']
  assert seconds_to_target(early, cost(RATES)) == {}
  staged = cost(RATES)
  staged['rows'][0]['stage'] = 'head'
  assert run_alone(critical(), staged)['batch_size'] is None
  assert seconds_to_target(critical(), staged) == {}
