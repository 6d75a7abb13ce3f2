"""Rules that follow a measurement, against their formulas worked out by hand."""

import math

import pytest

from bsjax.plan.batch_size_rules import Bounds, Measured, follow

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
