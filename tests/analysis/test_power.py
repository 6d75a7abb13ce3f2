"""What a number of trials can see, against known power and limits."""

import numpy as np
import pytest
from scipy.stats import norm

from bsjax.analysis.decide.power import ENOUGH, seen, smallest


def test_one_look_at_many_trials_has_the_power_of_a_normal_test():
  found = seen(1.0, 0.5, 100, 100)
  level = 0.04  # of 0.05, as windows are chosen on the same runs
  expected = (norm.ppf(1 - level / 2) + norm.ppf(ENOUGH)) / np.sqrt(100)
  assert found.difference == pytest.approx(expected, abs=0.06)  # steps of 0.05
  assert seen(1.0, 0.5, 100, 100).alike == pytest.approx(
    2 * norm.cdf(0.5 * 10 - norm.ppf(1 - level / 2)) - 1, abs=0.02
  )


def test_the_smallest_design_reaches_80_percent_and_one_trial_less_does_not():
  fewest = smallest(1.0, 1.0, 3)
  assert seen(1.0, 1.0, 3, fewest).alike >= ENOUGH
  assert seen(1.0, 1.0, 3, fewest - 1).alike < ENOUGH


def test_a_spread_that_hides_the_margin_has_no_design():
  assert smallest(100.0, 0.5, 3) is None
