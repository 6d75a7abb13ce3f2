"""What a number of trials can see, against known power and limits."""

import numpy as np
import pytest
from scipy.stats import norm, t

from bsjax.analysis.claims.claim import ABOVE, Claim
from bsjax.analysis.decide.power import ENOUGH, seen, smallest, spread_of
from bsjax.stats.intervals import mean_interval


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


def test_the_spread_is_that_of_the_pair_that_varies_most():
  values = np.array([1.0, 2.0, 4.0, 3.0])

  def claim(kind, estimate):
    return Claim(kind, (8, 16), '', '', ABOVE, estimate, '')

  pairs = [claim('pair', mean_interval(scale * values, 0.99)) for scale in (1, 3, 2)]
  single = claim('pair', mean_interval(values[:1]))
  trend = claim('trend', mean_interval(100 * values))
  assert spread_of([*pairs, single, trend]) == pytest.approx(3 * values.std(ddof=1))
  assert spread_of([single, trend]) is None


def test_few_trials_are_judged_by_students_interval():
  """Of three trials at one look, with the quantile of two degrees of freedom."""
  rng = np.random.default_rng(1)
  runs = rng.standard_normal((20000, 3))
  half = t.ppf(1 - 0.04 / 2, 2) * runs.std(axis=1, ddof=1) / np.sqrt(3)
  expected = (abs(runs.mean(axis=1)) + half < 2.0).mean()
  assert seen(1.0, 2.0, 3, 3).alike == pytest.approx(expected, abs=0.04)
