"""Windows of noise measurements: merged as all their updates, as blocks, as strata of spans."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.gradients import TAILS, TRUTH, simulated_blocks
from scipy import signal

from bsjax.noise import estimators, pooling
from bsjax.noise.estimators import SPAN
from bsjax.stats import intervals
from bsjax.stats.estimate import undefined


def covers(interval, truth):
  """Whether the interval holds the truth; one without an upper end may."""
  high = math.inf if interval.high is None else interval.high
  return interval.low is not None and interval.low <= truth <= high


def window(trace, grad_sq):
  """What a record says about the updates of a window."""
  n = len(trace)
  (trace_var, cov), (_, grad_sq_var) = np.cov(trace, grad_sq) if n > 1 else [[None] * 2] * 2
  return {
    'count': n,
    'trace': np.mean(trace),
    'grad_sq': np.mean(grad_sq),
    'trace_var': trace_var,
    'grad_sq_var': grad_sq_var,
    'cov': cov,
    'spans': {'count': 0} if n < SPAN else window(*spans(trace, grad_sq)),
  }


def spans(*columns):
  """The means of whole spans; a last one that is not full is left out."""
  return [np.reshape(x[: len(x) // SPAN * SPAN], (-1, SPAN)).mean(1) for x in columns]


EMPTY = dict.fromkeys(['trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov'], None) | {'count': 0}


def test_windows_without_blocks_equal_all_updates_at_once():
  rng = np.random.default_rng(4)
  trace, grad_sq = rng.standard_normal((2, 40)) + 3 + np.arange(40) / 10
  windows = [EMPTY, *(window(trace[i:j], grad_sq[i:j]) for i, j in [(0, 1), (1, 30), (30, 40)])]
  found = pooling.combine_windows(windows, blocks=False)
  np.testing.assert_allclose(found, intervals.pair_moments(trace, grad_sq), rtol=1e-12)
  alone = pooling.combine_windows(windows[:1] + windows[2:3])
  np.testing.assert_allclose(alone, intervals.pair_moments(trace[1:30], grad_sq[1:30]), rtol=1e-12)


def test_blocks_weigh_every_update_equally():
  rng = np.random.default_rng(5)
  trace, grad_sq = rng.standard_normal((2, 60)) + 3
  equal = [window(trace[i : i + 20], grad_sq[i : i + 20]) for i in (0, 20, 40)]
  means = trace.reshape(3, 20).mean(1), grad_sq.reshape(3, 20).mean(1)
  found = pooling.combine_windows([EMPTY, *equal])
  np.testing.assert_allclose(found, intervals.pair_moments(*means), rtol=1e-12)


def test_ragged_blocks_estimate_the_variance_of_the_mean_without_bias():
  rng = np.random.default_rng(7)
  cuts = [5, 8, 40]
  found = []
  for _ in range(3000):
    trace, noise = rng.standard_normal((2, 60))
    grad_sq = trace + noise
    parts = zip(np.split(trace, cuts), np.split(grad_sq, cuts), strict=True)
    found.append(pooling.combine_windows([window(*part) for part in parts]))
  np.testing.assert_allclose(found[-1][:2], [trace.mean(), grad_sq.mean()], rtol=1e-12)
  assert found[-1].n == 4
  mean = np.mean(found, axis=0)[2:5] / 4
  error = np.std(found, axis=0)[2:5] / 4 / math.sqrt(3000)
  truth = np.array([1, 2, 1]) / 60
  assert (error < 0.03 * truth).all()
  assert (np.abs(mean - truth) < 4 * error).all()


def test_windows_that_measured_nothing_or_nonsense_are_undefined():
  nothing = intervals.fieller_from_moments(pooling.combine_windows([EMPTY, EMPTY]))
  assert nothing == undefined('nothing_measured')
  fine = window([1.0, 2.0], [1.0, 3.0])
  for blocks in (True, False):
    spoilt = pooling.combine_windows([fine, fine | {'trace': None}], blocks=blocks)
    assert intervals.fieller_from_moments(spoilt).reasons[0].code == 'moments_not_finite'


def correlated_windows(rng, sizes):
  """Consecutive updates with a correlation of 0.8 from one to the next, cut into windows."""
  noise = rng.standard_normal((2, sum(sizes) + 50))
  noise = signal.lfilter([1.0], [1.0, -0.8], noise)
  pairs = np.array([[30.0], [10.0]]) + noise[:, 50:]
  return [window(*part) for part in np.split(pairs, np.cumsum(sizes)[:-1], axis=1)]


def test_blocks_cover_where_updates_are_correlated():
  rng = np.random.default_rng(6)
  sizes = [40, 80] * 6
  found = []
  for _ in range(600):
    windows = correlated_windows(rng, sizes)
    found.append(
      [
        covers(intervals.fieller_from_moments(pooling.combine_windows(windows, blocks=b)), 3.0)
        for b in (True, False)
      ]
    )
  blocks, updates = np.mean(found, axis=0)
  assert 0.92 < blocks < 0.975
  assert updates < 0.7


def streamed(trace, grad_sq):
  """The record of a window that the compiled program measured, update by update."""

  def step(window, pair):
    return estimators.observe(window, estimators.Measurement(*pair), True), None

  pairs = jnp.asarray(np.stack([trace, grad_sq], axis=1), jnp.float32)
  window = jax.lax.scan(step, estimators.zero_window(), pairs)[0]
  return estimators.window_summary(jax.device_get(window))


def test_the_program_carries_the_moments_of_updates_and_of_spans():
  rng = np.random.default_rng(8)
  trace, grad_sq = rng.standard_normal((2, 5 * SPAN + 3)) + 3
  found, expected = streamed(trace, grad_sq), window(trace, grad_sq)
  for there, here in ((found, expected), (found['spans'], expected['spans'])):
    for name in ('count', 'trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov'):
      assert there[name] == pytest.approx(here[name], rel=2e-5), name


def test_updates_that_do_not_count_leave_the_spans_alone():
  empty = estimators.zero_window()
  nothing = estimators.observe(empty, estimators.Measurement(*jnp.full(2, jnp.nan)), False)
  for before, after in zip(jax.tree.leaves(empty), jax.tree.leaves(nothing), strict=True):
    np.testing.assert_array_equal(before, after)


def test_strata_estimate_the_variance_of_the_mean_whatever_the_drift():
  rng = np.random.default_rng(9)
  sizes = np.array([40, 120, 64])
  drift = np.repeat([1.0, 50.0, 9.0], sizes)
  found = []
  for _ in range(2000):
    trace, noise = rng.standard_normal((2, sizes.sum()))
    pairs = np.stack([trace + drift, trace + noise + 2 * drift])
    parts = np.split(pairs, np.cumsum(sizes)[:-1], axis=1)
    found.append(pooling.measurement_moments([window(*part) for part in parts]))
  assert found[0].n == pytest.approx(sizes.sum() / SPAN - 2)
  mean = np.mean(found, axis=0)[2:5] / found[0].n
  error = np.std(found, axis=0)[2:5] / found[0].n / math.sqrt(2000)
  truth = np.array([1, 2, 1]) / sizes.sum()
  assert (error < 0.02 * truth).all()
  assert (np.abs(mean - truth) < 4 * error).all()


def test_windows_of_few_updates_fall_back_on_updates_that_count_half():
  rng = np.random.default_rng(10)
  short = rng.standard_normal((2, 12)) + 3
  alone = pooling.measurement_moments([window(*short)])
  expected = intervals.pair_moments(*short)
  np.testing.assert_allclose(alone, expected._replace(n=6), rtol=1e-12)
  parts = [window(*short[:, :2]), window(*short[:, 2:])]
  merged = pooling.measurement_moments(parts)
  np.testing.assert_allclose(merged, expected._replace(n=6), rtol=1e-12)
  one = pooling.measured_interval([window(*short[:, :1])])
  assert one.value is not None and one.low is None and one.reasons[0].code == 'one_observation'


@pytest.mark.parametrize('tails', TAILS)
def test_intervals_of_one_lane_cover_at_a_hundred_updates(tails):
  rng = np.random.default_rng(12)
  blocks = (x.astype(np.float64) for x in simulated_blocks(rng, 1500, tails))
  windows = [[window(*pair)] for pair in zip(*blocks, strict=True)]
  fieller = [covers(pooling.measured_interval(w), TRUTH) for w in windows]
  moments = (pooling.measurement_moments(w) for w in windows)
  log_delta = [covers(intervals.log_delta_from_moments(m), TRUTH) for m in moments]
  assert 0.93 < np.mean(fieller) < 0.97
  assert 0.93 < np.mean(log_delta) < 0.97


def test_intervals_cover_where_neighbours_share_half_of_what_they_see():
  rng = np.random.default_rng(11)
  noise = rng.standard_normal((2, 3000, 101))
  noise = (noise[..., 1:] + noise[..., :-1]) / math.sqrt(2)
  trace, grad_sq = 30 + 15 * noise[0], 10 + 10 * noise[1] + 5 * noise[0]
  held = [
    [
      covers(pooling.measured_interval([window(*pair)]), 3.0),
      covers(intervals.fieller(*pair), 3.0),
    ]
    for pair in zip(trace, grad_sq, strict=True)
  ]
  spans, updates = np.mean(held, axis=0)
  assert 0.92 < spans < 0.97
  assert updates < 0.88  # as if they were independent


@pytest.mark.parametrize(('updates', 'n'), [(4 * SPAN, 4), (4 * SPAN - 1, (4 * SPAN - 1) / 2)])
def test_four_whole_spans_are_the_fewest_that_count(updates, n):
  pairs = np.random.default_rng(13).standard_normal((2, updates)) + 3
  assert pooling.measurement_moments([window(*pairs)]).n == n


@pytest.mark.parametrize(('first', 'merged'), [(3, True), (4, False)])
def test_windows_of_four_updates_are_strata_and_of_fewer_are_merged(first, merged):
  """What differs between them, here by 100, is an uncertainty of merged ones only."""
  rng = np.random.default_rng(14)
  pairs = [rng.standard_normal((2, count)) + shift for count, shift in ((first, 0), (12, 100))]
  found = pooling.measurement_moments([window(*pair) for pair in pairs])
  assert (found.var_a > 100) == merged
  n = (first + 12) / 2
  assert found.n == pytest.approx(n if merged else n - 1)
