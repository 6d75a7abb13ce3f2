"""Which batch size reaches a target in the fewest examples and updates, worked out by hand."""

import math

import pytest

from bsjax.analysis.goals_to_target import run_alone, to_target

LUCK = (0.99, 1.0, 1 / 0.99)  # of trials, of geometric mean 1


def point(size, examples, rate=0.1, turn=0, luck=LUCK):
  trials = [examples * luck[(place + turn) % len(luck)] for place in range(len(luck))]
  return {'batch_size': size, 'learning_rate': rate, 'examples': trials}


def critical(*points, **more):
  return {'target': 0.5, 'quantity': 'val_loss', 'points': list(points), **more}


def why(finding):
  return {reason.code: reason.details for reason in finding.reasons}


def test_the_fewest_updates_cost_a_fifth_more_examples_at_most():
  """1.19 times is near and 1.21 times is not, though e^0.2 is 1.22."""
  examples, updates = to_target(critical(point(8, 1000), point(16, 1190), point(32, 1210, turn=1)))
  assert examples.columns['batch_size'] == 8 and updates.columns['batch_size'] == 16
  said = why(updates)
  assert said['fewest_updates']['of'] == [8, 16]
  assert said['fewest_updates']['updates'] == pytest.approx(1190 / 16)
  assert said['fewest_examples']['examples'] == pytest.approx(1000)
  assert said['fewest_examples']['trials'] == 3


@pytest.mark.parametrize('spread, certain', [(1.001, True), (1.2, False)])
def test_what_it_costs_is_certain_where_the_whole_interval_is(spread, certain):
  luck = (1 / spread, 1.0, spread)
  few, many = point(8, 1000, luck=luck), point(16, 1150, turn=1, luck=luck)
  cost = why(to_target(critical(few, many))[1])['examples_ratio']
  assert cost['ratio'] == pytest.approx(1.15) and cost['best'] == 8
  assert cost['low'] < 1.15 < cost['high'] and (cost['high'] <= 1.2) == certain
  assert cost['certain'] is certain


def test_of_two_rows_of_a_batch_size_the_faster_one_counts_in_either_order():
  slow, fast, other = point(8, 3000, 0.1), point(8, 1000, 0.4), point(16, 2000, 0.2, 1)
  for rows in ((slow, fast, other), (fast, slow, other)):
    examples, _ = to_target(critical(*rows))
    assert examples.columns == {'goal': 'examples', 'batch_size': 8, 'learning_rate': 0.4}
    assert why(examples)['fewest_examples']['examples'] == pytest.approx(1000)


def test_a_batch_size_that_lacks_a_trial_or_misses_in_one_falls_short():
  short = point(16, 900) | {'examples': [900.0, 900.0]}
  missed = point(32, 900) | {'examples': [900.0, None, 900.0]}
  examples, updates = to_target(critical(point(8, 1000), point(64, 1010, turn=1), short, missed))
  assert examples.columns['batch_size'] == 8 and updates.columns['batch_size'] == 64
  out = [r.details['size'] for r in examples.reasons if r.code == 'falls_short']
  assert out == [16, 32]


def test_one_trial_compares_nothing():
  single = [point(size, examples, luck=(1.0,)) for size, examples in ((8, 1000), (16, 1200))]
  for row in to_target(critical(*single)):
    assert row.columns['batch_size'] is None
    assert why(row) == {'too_few_reach': {'sizes': 2, 'trials': 1, 'run_whole': False}}


def test_a_best_rate_at_the_edge_is_said_of_the_batch_size_that_it_is_of():
  points = point(8, 1000), point(16, 1100, turn=1)
  for edge in (8, 16):
    rows = to_target(critical(*points, at_grid_edge=[edge]))
    named = [why(row).get('chosen_at_grid_edge') for row in rows]
    expected = {'sizes': [edge]}
    assert named == ([expected, None] if edge == 8 else [None, expected])


def cost(**rates):
  rows = [
    {'batch_size': int(size[1:]), 'stage': '', 'examples_per_second': rate}
    for size, rate in rates.items()
  ]
  return {'hardware': 'a made-up device', 'rows': rows}


def rate(median, low, high):
  return {'median': median, 'low': low, 'high': high}


def test_a_batch_size_needs_longer_only_at_the_ends_of_ranges_that_favour_it():
  """The other needs twice the time; the best may be 1.8 times slower, or the other faster."""
  points = critical(point(8, 1000), point(16, 2000, turn=1))
  for best, other, shown in (
    (rate(100.0, 99.0, 180.0), rate(100.0, 55.0, 101.0), [16]),
    (rate(100.0, 50.0, 101.0), rate(100.0, 99.0, 101.0), []),
    (rate(100.0, 99.0, 101.0), rate(100.0, 99.0, 200.0), []),
  ):
    said = why(run_alone(points, cost(b8=best, b16=other)))
    assert said['least_seconds']['seconds'] == pytest.approx(10)
    assert said['shown_to_need_longer']['sizes'] == shown


def test_the_least_time_says_what_may_be_faster_and_is_not_shown_to_need_longer_then():
  points = (point(8, 1000), point(16, 4000, turn=1))
  known = dict.fromkeys(('b8', 'b16'), rate(100.0, 99.0, 101.0))
  plain = why(run_alone(critical(*points), cost(**known)))
  assert plain['shown_to_need_longer']['sizes'] == [16] and 'chosen_at_grid_edge' not in plain
  for key, code in (
    ('best_rates_unsafe', 'target_beside_unsafe'),
    ('best_rates_dropped', 'target_beside_dropped'),
  ):
    said = why(run_alone(critical(*points, **{key: [16]}), cost(**known)))
    assert said['shown_to_need_longer']['sizes'] == []
    assert said['not_shown_to']['sizes'] == [16] and said[code] == {'batch_sizes': [16]}
  edge = why(run_alone(critical(*points, at_grid_edge=[8]), cost(**known)))
  assert edge['chosen_at_grid_edge'] == {'sizes': [8]}


def test_a_target_of_what_is_not_named_is_one_of_a_loss():
  points = critical(point(8, 1000), point(16, 1500, turn=1))
  del points['quantity']
  assert why(to_target(points)[0])['fewest_examples']['quantity'] == 'loss'
  assert math.isclose(why(to_target(points)[0])['fewest_examples']['target'], 0.5)
