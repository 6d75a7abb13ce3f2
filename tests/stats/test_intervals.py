"""Intervals against brute-force inversion of the test they come from, and their coverage."""

import math

import numpy as np
import pytest
from helpers.draws import draws
from helpers.gradients import BLOCKS, TAILS, TRUTH, simulated_blocks
from scipy import stats

from bsjax.stats import intervals
from bsjax.stats.estimate import Estimate, undefined


def covers(interval, truth):
  low = -math.inf if interval.low is None else interval.low
  high = math.inf if interval.high is None else interval.high
  return interval.value is not None and low <= truth <= high


def numbers(estimate):
  return estimate.value, estimate.low, estimate.high


def codes(estimate):
  return [reason.code for reason in estimate.reasons]


@pytest.mark.parametrize('tails', TAILS)
def test_coverage_of_the_noise_scale(tails):
  rng = np.random.default_rng(0)
  found = []
  for _ in range(8):
    for trace, grad_sq in zip(*simulated_blocks(rng, 500, tails), strict=True):
      exact, delta = intervals.fieller(trace, grad_sq), intervals.log_delta(trace, grad_sq)
      naive = intervals.fieller_from_moments(
        intervals.pair_moments(trace, grad_sq)._replace(n=2 * BLOCKS)
      )
      found.append([covers(exact, TRUTH), covers(delta, TRUTH), covers(naive, TRUTH)])
  exact, delta, naive = np.mean(found, axis=0)
  assert 0.93 < exact < 0.97
  assert 0.93 < delta < 0.97
  assert naive < 0.89  # counting every update twice must be seen


@pytest.mark.parametrize('rows', [1, 2, 5, 12])
def test_intervals_of_columns_are_those_one_by_one(rows):
  values = np.random.default_rng(0).normal(3.0, 2.0, (rows, 4))
  for column, found in zip(values.T, intervals.mean_intervals(values).T, strict=True):
    alone = numbers(intervals.mean_interval(column))
    np.testing.assert_allclose(found, np.array(alone, dtype=float), rtol=1e-13)


def random_moments(rng):
  """Means from far below to far above zero against their errors, any correlation."""
  n = int(rng.integers(2, 40))
  sd_a, sd_b = rng.lognormal(size=2)
  cov = rng.uniform(-0.95, 0.95) * sd_a * sd_b
  z = rng.uniform(-4, 8, 2) / math.sqrt(n)
  return intervals.PairMoments(z[0] * sd_a, z[1] * sd_b, sd_a**2, sd_b**2, cov, n)


def accepted(pairs, ratios, confidence):
  """Which ratios r pass the t test that the mean of a - r b is zero."""
  error_sq = (pairs.var_a - 2 * ratios * pairs.cov + ratios**2 * pairs.var_b) / pairs.n
  t = stats.t.ppf((1 + confidence) / 2, pairs.n - 1)
  return (pairs.mean_a - ratios * pairs.mean_b) ** 2 <= t**2 * error_sq


def test_fieller_is_the_inverted_t_test_on_ratios_not_below_zero():
  rng = np.random.default_rng(1)
  grid = np.concatenate([[0.0], np.geomspace(1e-6, 1e9, 6001)])
  kinds = set()
  for _ in draws(2000):
    pairs, confidence = random_moments(rng), rng.choice([0.8, 0.95])
    found = intervals.fieller_from_moments(pairs, confidence)
    inside = grid[accepted(pairs, grid, confidence)]
    if found.low is None:
      reject = accepted(pairs._replace(mean_b=0.0), np.array([0.0]), confidence)  # mean_a = 0?
      assert codes(found) == ['mean_below_zero']
      assert pairs.mean_b < 0 or (pairs.mean_a < 0 and not reject)
      kinds.add('contradiction')
      continue
    assert found.unbounded == (grid[-1] in inside) == (found.high is None)
    np.testing.assert_allclose(inside[0], found.low, rtol=0.01, atol=2e-6)
    if not found.unbounded:
      np.testing.assert_allclose(inside[-1], found.high, rtol=0.01, atol=2e-6)
    assert (found.value is None) == (pairs.mean_a < 0 or pairs.mean_b <= 0)
    assert bool(found.reasons) == (found.value is None or found.high is None)
    kinds.add((found.unbounded, found.low > 0, found.value is None))
  assert kinds == {
    'contradiction',
    (False, True, False),  # the ordinary interval
    (False, False, False),  # down to 0
    (False, False, True),
    (True, True, False),  # a ray
    (True, True, True),
    (True, False, False),  # whole half-line, or two rays
    (True, False, True),
  }


def test_fieller_of_a_certain_denominator_is_the_interval_of_the_mean():
  a = np.random.default_rng(2).standard_normal(20) + 9
  ratio, mean = intervals.fieller(a, np.full(20, 2.0)), intervals.mean_interval(a)
  np.testing.assert_allclose(numbers(ratio), np.array(numbers(mean)) / 2, rtol=1e-12)


def test_fieller_and_log_delta_meet_where_both_means_are_certain():
  rng = np.random.default_rng(3)
  a = 50 + rng.standard_normal(400)
  b = 10 + 0.1 * rng.standard_normal(400) + 0.1 * (a - 50)
  exact, delta = intervals.fieller(a, b), intervals.log_delta(a, b)
  np.testing.assert_allclose(numbers(exact), numbers(delta), rtol=1e-5)
  np.testing.assert_allclose(
    exact.high - exact.low, 2 * 1.966 * 5 * math.sqrt(2e-4 / 400), rtol=0.1
  )


def test_an_uncertain_denominator_leaves_no_upper_bound():
  a, b = [5.0, 6.0, 7.0], [1.0, -0.5, 1.0]
  found = intervals.fieller(a, b)
  assert found.unbounded and found.high is None
  assert 0 < found.low < found.value == 12.0
  assert codes(found) == ['denominator_not_above_zero']
  assert intervals.log_delta(a, b).high > 12.0  # which claims a bound all the same


def over_trials(seed, n, cv, common=0.0, own=0.0, replications=1000):
  """Shares of intervals over n trials, of Fieller's and of the reciprocal: (covers, unbounded, no
  bound on either side), where each trial measures |G|^2 with the relative error `cv`.

  `common`: log sd of a factor on both means of a trial; `own`: that of the trial's noise scale.
  """
  rng, found = np.random.default_rng(seed), []
  for _ in draws(replications):
    scale, factor = np.exp(common * rng.standard_normal(n)), np.exp(own * rng.standard_normal(n))
    trace = TRUTH * scale * (1 + cv / 10 * rng.standard_normal(n))
    # A mean reciprocal of 1 / TRUTH.
    grad_sq = scale * (factor * math.exp(-(own**2) / 2) + cv * rng.standard_normal(n))
    both = intervals.fieller(trace, grad_sq), intervals.harmonic_ratio(trace, grad_sq)
    found.append(
      [
        (
          x.low is not None and x.low <= TRUTH <= (math.inf if x.high is None else x.high),
          x.unbounded,
          x.unbounded and x.low == 0,
        )
        for x in both
      ]
    )
  return np.mean(found, axis=0)


# The standard error of a coverage is 0.7%. With two trials nothing is bounded but what is measured
# to a tenth; where |G|^2 is as uncertain as it is large, trials must be many.
@pytest.mark.parametrize(
  'n, cv, common, unbounded',
  [
    (2, 0.1, 0.0, 0.25),
    (3, 0.1, 0.0, 0.0),
    (8, 0.3, 0.0, 0.0),
    (2, 0.1, 1.0, 0.25),
    (3, 0.1, 1.0, 0.0),
    (5, 0.1, 1.0, 0.0),
    (3, 0.3, 1.0, 0.2),
    (3, 1.0, 0.0, 0.83),
    (5, 1.0, 1.0, 0.59),
    (8, 2.0, 0.0, 0.78),
  ],
)
def test_coverage_over_trials(n, cv, common, unbounded):
  fieller, reciprocal = over_trials(n, n, cv, common)
  assert 0.93 < reciprocal[0] < 0.97 and fieller[0] > 0.93
  assert reciprocal[1] == pytest.approx(unbounded, abs=0.04)
  if not common:
    assert reciprocal[1] == pytest.approx(fieller[1], abs=0.03)  # where trials agree, so do they
  elif n == 3 and cv < 1:
    assert fieller[1] > 0.8 and fieller[2] > 0.7  # well measured, and lost
  assert reciprocal[2] == 0


def test_noise_scales_that_differ_much_between_trials_are_covered_less():
  """A limit of both: Student's interval of three skew values (docs/noise_scale.md)."""
  mild, wide = (over_trials(1, 3, 0.1, own=own)[:, 0] for own in (0.3, 1.0))
  assert (mild > 0.92).all() and (wide > 0.8).all() and (wide < 0.88).all()


def test_the_harmonic_ratio_is_the_inverse_of_a_mean():
  found = intervals.harmonic_ratio([40.0, 80.0, 30.0], [2.0, 3.4, 1.4])
  mean = intervals.mean_interval([2 / 40, 3.4 / 80, 1.4 / 30])
  assert numbers(found) == pytest.approx((1 / mean.value, 1 / mean.high, 1 / mean.low))
  assert (found.n, found.over, found.reasons) == (3, 'trials', ())
  scaled = intervals.harmonic_ratio([40.0, 8000.0, 0.3], [2.0, 340.0, 0.014])
  assert numbers(scaled) == pytest.approx(numbers(found))  # no scale of a trial counts
  b = np.random.default_rng(2).standard_normal(20) + 9
  certain = intervals.harmonic_ratio(np.full(20, 2.0), b), intervals.fieller(np.full(20, 2.0), b)
  np.testing.assert_allclose(*map(numbers, certain), rtol=1e-12)


def test_a_reciprocal_that_may_be_zero_has_no_upper_bound():
  found = intervals.harmonic_ratio([5.0, 6.0, 7.0], [1.0, -0.5, 1.0])
  assert found.unbounded and found.high is None and 0 < found.low < found.value
  assert codes(found) == ['denominator_not_above_zero']
  below = intervals.harmonic_ratio([5.0, 6.0, 7.0], [1.0, -3.5, 1.0])
  assert below.value is None and below.unbounded and below.low > 0
  assert codes(below) == ['mean_denominator_not_above_zero', 'denominator_not_above_zero']


def test_a_numerator_below_zero_leaves_the_ratio_of_means():
  pairs = [5.0, -0.1, 7.0], [1.0, 1.1, 0.9]
  found, means = intervals.harmonic_ratio(*pairs), intervals.fieller(*pairs)
  assert numbers(found) == numbers(means) and found.value > 0
  assert codes(found) == [*codes(means), 'numerator_not_above_zero']


@pytest.mark.parametrize(
  'method', [intervals.fieller, intervals.log_delta, intervals.harmonic_ratio]
)
def test_undefined_says_why(method):
  def check(a, b, why):
    found = method(a, b)
    assert numbers(found) == (None, None, None) and not found.unbounded
    assert why in codes(found)[0]

  check([], [], 'nothing_measured')
  check([1.0, np.nan], [1.0, 2.0], 'not_finite')
  check([1.0, 2.0], [1.0, np.inf], 'not_finite')
  check([1.0, None], [1.0, 2.0], 'not_finite')
  check([5.0, 5.1, 5.2], [-1.0, -1.1, -1.2], 'zero')
  check([-5.0, -5.1, -5.2], [1.0, 1.1, 1.2], 'zero')
  check([5.0, 5.1, 5.2], [0.0, 0.0, 0.0], 'zero')
  single = method([6.0], [2.0])
  assert numbers(single) == (3.0, None, None) and codes(single) == ['one_observation']


def test_log_delta_of_zero_and_of_almost_zero():
  assert codes(intervals.log_delta([0.0, 0.0], [1.0, 2.0])) == ['ratio_zero']
  found = intervals.log_delta([1.0, 1.5], [1.0, -1.0 + 1e-3])
  assert found.unbounded and found.high is None and codes(found) == ['upper_bound_overflows']


def test_bad_arguments_name_value_and_remedy():
  with pytest.raises(ValueError, match=r'\(2,\).*\(3,\).*one pair'):
    intervals.fieller([1.0, 2.0], [1.0, 2.0, 3.0])
  with pytest.raises(ValueError, match=r'95.*between 0 and 1'):
    intervals.mean_interval([1.0, 2.0], confidence=95.0)


def test_mean_interval_is_students():
  values = [0.91, 0.93, 0.9]
  found = intervals.mean_interval(values, confidence=0.9)
  expected = stats.t.interval(0.9, 2, np.mean(values), stats.sem(values))
  np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)
  assert (found.value, found.n) == (pytest.approx(np.mean(values)), 3)
  assert intervals.mean_interval([0.5]) == Estimate(0.5, n=1)
  assert intervals.mean_interval([]) == undefined('no_values')
  for bad in (np.nan, np.inf, None):
    assert intervals.mean_interval([0.5, bad]) == undefined('not_finite', 2)
