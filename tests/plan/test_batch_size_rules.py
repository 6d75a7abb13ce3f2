"""Rules that follow a measurement, against their formulas worked out by hand."""

import math

import pytest

from bsjax.plan.batch_size_rules import Bounds, Measured, begin, follow, ladder, measured, parse

BOUNDS = Bounds(8, 1024)


def asked(rule, batch_size=8, **changes):
  found = Measured(trace=10.0, grad_sq=0.5, learning_rate=0.4, loss=0.1)
  return follow(rule, batch_size, BOUNDS, found._replace(**changes))


@pytest.mark.parametrize(
  ('rule', 'expected'),
  [
    ('noise:1', 32),  # 10 / (1 * 0.5) = 20
    ('noise:0.5', 128),  # 10 / (0.25 * 0.5) = 80
    ('noise:0.1', 1024),  # 2,000, beyond the bound
    ('noise:2', 8),  # 5
    ('cabs', 64),  # 0.4 * 10 / 0.1 = 40
  ],
)
def test_the_least_size_of_the_ladder_that_is_enough(rule, expected):
  assert asked(rule) == expected


def test_the_norm_test_never_shrinks_and_cabs_does():
  assert asked('noise:1', batch_size=256) == 256
  assert asked('cabs', batch_size=256) == 64


@pytest.mark.parametrize('grad_sq', [0.0, -0.1, math.nan])
def test_a_gradient_lost_in_the_noise_changes_nothing(grad_sq):
  assert asked('noise:1', batch_size=16, grad_sq=grad_sq) == 16


@pytest.mark.parametrize('changes', [{'loss': 0.0}, {'loss': math.nan}, {'trace': math.nan}])
def test_nor_does_an_undefined_measurement(changes):
  assert asked('cabs', batch_size=16, **changes) == 16


@pytest.mark.parametrize(
  ('rule', 'said'),
  [
    ('double', 'is none of'),
    ('keep:2', 'is none of'),
    ('cabs:1', 'is none of'),
    ('set', 'is none of'),
    ('noise:low', 'needs a number behind the colon'),
    ('set:2.5', 'needs a whole number above 0'),
    ('set:0', 'needs a whole number above 0'),
    ('noise:0', 'needs a finite number above 0'),
    ('noise:-1', 'needs a finite number above 0'),
    ('multiply:inf', 'needs a finite number above 0'),
    ('grow:0.5', 'must grow, by 1 or more; multiply:0.5 shrinks'),
  ],
)
def test_what_is_no_rule_is_refused(rule, said):
  with pytest.raises(ValueError, match=said):
    parse(rule)


@pytest.mark.parametrize('rule', ['grow:1', 'multiply:0.5', 'set:1', 'noise:0.001'])
def test_a_number_just_within_the_bounds_is_taken(rule):
  kind, _, number = rule.partition(':')
  assert parse(rule) == (kind, float(number))


@pytest.mark.parametrize(
  ('size', 'bounds', 'expected'),
  [
    (8, (2, 32), [2, 4, 8, 16, 32]),
    (8, (3, 31), [4, 8, 16]),
    (12, (1, 48), [3, 6, 12, 24, 48]),  # 3 has no whole half
    (8, (8, 8), [8]),
  ],
)
def test_the_ladder_is_of_whole_halves_and_doubles_within_bounds(size, bounds, expected):
  assert ladder(size, Bounds(*bounds)) == expected


def test_exactly_enough_is_enough():
  assert asked('noise:1', trace=16.0) == 32
  assert asked('cabs', trace=8.0, learning_rate=0.5, loss=0.125) == 32


@pytest.mark.parametrize('trace', [0.0, -10.0])
def test_an_estimate_of_the_trace_that_is_not_above_zero_changes_nothing(trace):
  assert asked('cabs', batch_size=64, trace=trace) == 64


@pytest.mark.parametrize('rule', ['noise:1', 'cabs'])
def test_a_rule_that_follows_begins_between_its_bounds(rule):
  bounds = Bounds(8, 64)
  assert [begin(rule, size, bounds) for size in (8, 64)] == [(8, 1.0), (64, 1.0)]
  for size in (4, 128):
    with pytest.raises(ValueError, match=f'cannot begin at batch size {size}: its bounds are 8'):
      begin(rule, size, bounds)
  assert begin('keep', 4, bounds) == (4, 1.0)  # which others need not


@pytest.mark.parametrize(
  ('rule', 'size', 'expected'),
  [('multiply:0.5', 8, 4), ('multiply:0.1', 30, 3), ('multiply:1.5', 8, 12), ('set:24', 8, 24)],
)
def test_what_a_stage_begins_with(rule, size, expected):
  assert begin(rule, size, Bounds(8, 16)) == (expected, 1.0)  # bounds are those of other rules


def test_a_product_that_is_no_whole_number_is_refused():
  for rule, size in (('multiply:0.3', 8), ('grow:1.3', 8), ('multiply:0.1', 4)):
    with pytest.raises(ValueError, match='examples of batch size'):
      begin(rule, size, Bounds(8, 64))


def test_a_measurement_that_is_not_there_is_no_number():
  known = measured({'trace': 3, 'grad_sq': -0.5}, 0.1, 2.0)
  assert known == Measured(3.0, -0.5, 0.1, 2.0)
  lacking = measured({'trace': None}, 0.1, None)
  assert all(map(math.isnan, (lacking.trace, lacking.grad_sq, lacking.loss)))
