"""The jackknife against what it is for a mean, and where there is no spread to show."""

import math

import numpy as np
import pytest

from bsjax.stats.intervals import mean_interval
from bsjax.stats.jackknife import NOTHING, log_jackknife, pseudo_values

VALUES = np.array([1.0, 3.0, 2.0, 7.0])


def geometric(keep):
  """A statistic whose log is a mean."""
  return math.exp(VALUES[keep].mean())


def test_pseudo_values_of_means_are_the_values():
  pairs = np.array([VALUES, VALUES**2])
  without = np.array([[np.delete(row, i).mean() for i in range(4)] for row in pairs])
  np.testing.assert_allclose(pseudo_values(pairs.mean(axis=1), without), pairs)


def test_the_interval_of_a_mean_of_logs_is_students():
  found, expected = log_jackknife(geometric, 4, 1, 0.9), mean_interval(VALUES, 0.9)
  assert (found.value, found.low, found.high) == pytest.approx(
    (expected.value, expected.low, expected.high)
  )
  assert (found.n, found.confidence) == (4, 0.9)


def test_with_no_trial_to_leave_out_there_is_no_interval():
  assert log_jackknife(geometric, 4, 5) == NOTHING
  found = log_jackknife(geometric, 4, 4)
  assert found.value == pytest.approx(3.25) and found.n == 4 and not found.has_interval


def test_what_is_not_positive_has_no_logarithm():
  assert log_jackknife(lambda keep: 0.0, 3, 1) == NOTHING
  # Only with all of them is there something: a value, but nothing to take its spread from.
  found = log_jackknife(lambda keep: float(keep.all()), 3, 1)
  assert (found.value, found.has_interval) == (0.0, False)
