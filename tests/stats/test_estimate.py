"""What an estimate says of itself, and small statistics at their edges."""

import math

import numpy as np
import pytest
from scipy import stats

from bsjax.stats import intervals, paired, valley
from bsjax.stats.estimate import Estimate, minus
from bsjax.stats.hyperbola import fit_hyperbola
from bsjax.stats.hyperbola_trials import fit_trials
from bsjax.stats.looks import ladder
from bsjax.stats.spreads import slope_of_spreads
from bsjax.stats.tobit import AT_LEAST, EXACT

BELOW, ABOVE, NONE = Estimate(1.0, 0.5, None), Estimate(1.0, None, 2.0), Estimate(1.0)


def codes(estimate):
  return [reason.code for reason in estimate.reasons]


def test_an_estimate_with_one_end_has_an_interval_of_no_known_width():
  assert BELOW.has_interval and ABOVE.has_interval and not NONE.has_interval
  assert not paired.has_no_width(BELOW) and not paired.has_no_width(ABOVE)
  assert paired.has_no_width(Estimate(1.0, 1.0, 1.0))


def test_what_is_not_finite_or_not_there_is_said():
  assert BELOW.is_finite and NONE.is_finite and not Estimate(None, 0.5, 2.0).is_finite
  assert not Estimate(1.0, 0.5, math.inf).is_finite and not Estimate(math.nan).is_finite


def test_the_other_sign_turns_the_ends_and_leaves_no_minus_zero():
  turned = BELOW.negated()
  assert (turned.value, turned.low, turned.high) == (-1.0, None, -0.5)
  assert math.copysign(1, minus(0.0)) == 1 and minus(None) is None
  doubled = ABOVE.map(lambda x: 2 * x)
  assert (doubled.value, doubled.low, doubled.high) == (2.0, None, 4.0)


def test_one_observation_says_what_is_wrong_with_it():
  assert codes(intervals.fieller([6.0], [-2.0])) == ['mean_denominator_not_above_zero']
  assert codes(intervals.fieller([-6.0], [2.0])) == ['mean_numerator_below_zero']
  zero = intervals.fieller([0.0, 0.0, 0.0], [1.0, 2.0, 1.5])
  assert (zero.value, zero.low, zero.high) == (0.0, 0.0, 0.0)


def test_a_numerator_of_zero_has_no_reciprocal():
  found = intervals.harmonic_ratio([5.0, 0.0, 7.0], [1.0, 1.1, 0.9])
  assert codes(found)[-1] == 'numerator_not_above_zero' and found.value == pytest.approx(4.0)


def test_looks_are_taken_together_up_to_a_quarter_more():
  assert ladder(3, 10) == (3, 5, 10)  # 10 is 1.25 x 8
  assert ladder(3, 11) == (3, 5, 8, 11)


@pytest.mark.parametrize('df', [None, 12.0])
def test_trials_needed_have_as_many_degrees_of_freedom_each_as_there_were(df):
  given = Estimate(0.3, 0.1, 0.5, n=5, df=df)
  per_trial = (df or 4) / 4
  error = 0.2 / stats.t.ppf(0.975, 4 * per_trial)
  largest = error * math.sqrt(5 * 4 * per_trial / stats.chi2.ppf(0.05, 4 * per_trial))
  halves = [largest * stats.t.ppf(0.975, per_trial * (n - 1)) / math.sqrt(n) for n in range(2, 300)]
  enough = next(n for n, half in enumerate(halves, start=2) if half < 0.15)
  assert paired.trials_needed(given, 0.15) == enough
  assert paired.trials_needed(given, -0.1) is None and paired.trials_needed(NONE, 0.1) is None
  t = 0.3 / error
  assert paired.p_value_of(given) == pytest.approx(2 * stats.t.sf(t, 4 * per_trial))
  assert paired.p_value_of(given.negated()) == pytest.approx(paired.p_value_of(given))
  assert paired.p_value_of(NONE) is None and paired.p_value_of(Estimate(1.0, 1.0, 1.0, 5)) is None


def test_contrasts_of_what_is_no_whole_table_are_refused():
  with pytest.raises(ValueError, match=r'shapes .*\(3,\).*\(2,\)'):
    paired.against_best({8: [1.0, 2.0, 3.0], 16: [1.0, 2.0]})
  with pytest.raises(ValueError, match=r'batch sizes \[16\] are not finite'):
    paired.against_best({8: [1.0, 2.0], 16: [1.0, math.nan]})
  with pytest.raises(ValueError, match='a slope needs two'):
    paired.slope_weights((8, 8))
  assert paired.against_best({8: [1.0, 2.0]}) == [] and paired.simultaneous(0) == 0.95
  assert paired.p_value(np.array([0.5])) is None and paired.p_value(np.full(4, 0.5)) is None


def test_spreads_of_unequally_many_weigh_by_what_their_logs_err():
  random, sizes, counts = np.random.default_rng(1), (8, 16, 32, 64), (3, 9, 4, 20)
  values = [random.normal(size=count) for count in counts]
  # The variance of the log of a chi-squared variable is the trigamma function of half its df.
  variances = [np.var(np.log(random.chisquare(n - 1, 200_000))) for n in counts]
  logs = [math.log2(one.std(ddof=1)) for one in values]
  slope, level = np.polyfit(np.log2(sizes), logs, 1, w=1 / np.sqrt(variances))
  found = slope_of_spreads(sizes, values)
  assert found.value == pytest.approx(slope, rel=0.02) and found.n == 3
  sure, x = 1 / np.array(variances), np.log2(sizes)
  scale = sure @ np.square(logs - level - slope * x) / 2
  middle = sure @ x / sure.sum()
  half = stats.t.ppf(0.975, 2) * math.sqrt(scale / (sure @ np.square(x - middle)))
  assert found.high - found.low == pytest.approx(2 * half, rel=0.02)


def test_a_point_that_falls_short_by_just_so_much_is_of_the_window():
  values = np.array([0.5, 0.75, 1.0, 0.75, 0.5])
  assert valley.top(np.arange(5.0), values, 2, near=0.25).window == (1, 2, 3)


# --- hyperbolas ---

SIZES = np.array([8, 16, 32, 64])
UPDATES = (
  100 * (1 + 40 / SIZES[:, None]) * np.exp(0.05 * np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]]))
)


def test_a_trial_of_which_nothing_is_exact_is_left_out():
  known = np.full((4, 2), EXACT)
  more = np.column_stack([UPDATES, [100.0, 50.0, 25.0, 12.0]])
  bounds = np.column_stack([known, np.full(4, AT_LEAST)])
  assert fit_hyperbola(SIZES, more, bounds) == fit_hyperbola(SIZES, UPDATES, known)


def test_three_runs_of_two_trials_leave_no_degree_of_freedom():
  known = np.full((4, 2), AT_LEAST)
  known[0, 0] = known[1, 0] = known[2, 1] = EXACT
  fit = fit_hyperbola(SIZES, UPDATES, known)
  assert codes(fit.b_crit) == ['too_few_for_hyperbola'] and fit.df == 0
  known[3, 1] = EXACT
  assert fit_hyperbola(SIZES, UPDATES, known).b_crit.has_interval


def test_what_trials_share_is_not_told_by_two_batch_sizes():
  known = np.full((4, 2), EXACT)
  known[2, 0] = known[3, 1] = AT_LEAST
  assert fit_trials(SIZES, UPDATES, known) == fit_hyperbola(SIZES, UPDATES, known)


def test_what_trials_share_is_the_variance_of_their_means_less_that_of_their_luck():
  """Residuals of means (a, -a, a, -a) about a fit of the geometric mean of trials."""
  from bsjax.stats.hyperbola_trials import _shared

  known = np.full((4, 2), EXACT)
  fit = fit_hyperbola(SIZES, UPDATES, known)
  logs = np.log(UPDATES) - np.log1p(fit.b_crit.value / SIZES)[:, None]
  rest = logs - logs.mean(axis=0)
  means = rest.mean(axis=1)
  within = np.square(rest - means[:, None]).sum() / 3
  expected = np.square(means).sum() / 2 - within / 2
  found = _shared(SIZES, UPDATES, known, fit)
  assert found.variance == pytest.approx(max(expected, 0.0)) and found.df == 2
  alike = np.repeat(UPDATES[:, :1], 2, axis=1)
  assert _shared(SIZES, alike, known, fit_hyperbola(SIZES, alike, known)).variance > 0


@pytest.mark.parametrize('wrong', [0.0, -1.0, math.inf, math.nan])
def test_updates_and_batch_sizes_must_have_a_logarithm(wrong):
  updates = UPDATES.copy()
  updates[2, 1] = wrong
  with pytest.raises(ValueError, match=f'updates hold {wrong}'):
    fit_hyperbola(SIZES, updates, np.full((4, 2), EXACT))
  with pytest.raises(ValueError, match='batch sizes hold 0'):
    fit_hyperbola(np.array([0, 8, 16, 32]), UPDATES, np.full((4, 2), EXACT))
