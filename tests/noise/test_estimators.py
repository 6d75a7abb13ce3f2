"""Estimators against closed forms and exhaustive enumeration, moments against float64 numpy."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.linear_regression import DISTANCE, EIGENVALUES, LABEL_NOISE, regression_truth

from bsjax.noise import estimators

UPDATES, BATCH = 8192, 32


@pytest.fixture(scope='module')
def example_grads() -> jax.Array:
  """Gradients of single examples at one point: [update, example, parameter]."""
  rng = np.random.default_rng(0)
  truth = np.array([0.3, -0.2, 0.1, 0.7])
  x = rng.standard_normal((UPDATES, BATCH, 4)) * np.sqrt(EIGENVALUES)
  y = x @ truth + LABEL_NOISE * rng.standard_normal((UPDATES, BATCH))

  def loss(w, x, y):
    return (x @ w - y) ** 2 / 2

  per_example = jax.vmap(jax.vmap(jax.grad(loss), (None, 0, 0)), (None, 0, 0))
  return per_example(jnp.float32(truth + DISTANCE), x.astype(np.float32), y.astype(np.float32))


def micro_norms(grads, micro_batch):
  """mean_j |g_j|^2 and |mean_j g_j|^2 of one update's micro-batches, from [example, parameter]."""
  micro = grads.reshape(-1, micro_batch, grads.shape[-1]).mean(1)
  return jnp.mean(jnp.sum(micro**2, -1)), jnp.sum(micro.mean(0) ** 2)


def micro_estimate(grads, micro_batch, population=None):
  k = jnp.int32(grads.shape[0] // micro_batch)
  return estimators.from_micro_batches(*micro_norms(grads, micro_batch), k, micro_batch, population)


def pair_estimate(grads, population=None):
  half = grads.shape[0] // 2

  def tree(g):
    return {'kernel': g[:1], 'bias': g[1:]}

  a, b = tree(grads[:half].mean(0)), tree(grads[half : 2 * half].mean(0))
  if population:
    factors = [estimators.variance_factor(0, size, population) for size in (half, 2 * half)]
  else:
    factors = [jnp.float32(1 / half), jnp.float32(1 / (2 * half))]
  return estimators.from_pair(a, b, *factors)


def two_sizes_estimate(grads, small, population=None):
  small_sq = estimators.tree_sq_norm(grads[:small].mean(0))
  big_sq = estimators.tree_sq_norm(grads.mean(0))
  return estimators.from_two_batch_sizes(small_sq, small, big_sq, grads.shape[0], population)


def per_example_estimate(grads, population=None):
  example_sq, mean_sq = micro_norms(grads, 1)
  return estimators.from_per_example(example_sq, mean_sq, grads.shape[0], population)


def split_two_sizes_estimate(grads):
  """The mean over quarters: one estimate from 32 examples is too noisy for a sharp test."""
  quarters = grads.reshape(4, -1, grads.shape[-1])
  return jax.tree.map(jnp.mean, jax.vmap(lambda g: two_sizes_estimate(g, 2))(quarters))


ESTIMATORS = {
  'micro 2x16': lambda g: micro_estimate(g, 16),
  'micro 4x8': lambda g: micro_estimate(g, 8),
  'micro 16x2': lambda g: micro_estimate(g, 2),
  'pair': pair_estimate,
  'two batch sizes': split_two_sizes_estimate,
  'per example': per_example_estimate,
}


def mean_and_error(values) -> tuple[float, float]:
  values = np.asarray(values, np.float64)
  return values.mean(), values.std(ddof=1) / math.sqrt(values.size)


@pytest.mark.parametrize('name', ESTIMATORS)
def test_estimators_recover_the_closed_form(example_grads, name):
  estimates = jax.jit(jax.vmap(ESTIMATORS[name]))(example_grads)
  for values, truth in zip(estimates, regression_truth(), strict=True):
    mean, error = mean_and_error(values)
    assert error < 0.02 * truth
    assert abs(mean - truth) < 4 * error


# (trace, grad_sq) from mean |g_j|^2, |mean g_j|^2, k and m, each with a mistake.
FAULTS = {
  'k for k - 1': lambda micro, mean, k, m: ((micro - mean) * m, mean - (micro - mean) / k),
  'm and k m swapped': lambda micro, mean, k, m: (
    (micro - mean) * m / (k - 1),
    mean - (micro - mean) * k,
  ),
  'm left out': lambda micro, mean, k, m: (
    (micro - mean) * k / (k - 1),
    mean - (micro - mean) / m,
  ),
  'noise left in': lambda micro, mean, k, m: (micro * m, mean),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_the_closed_form_tells_faults_apart(example_grads, fault):
  norms = jax.vmap(lambda g: micro_norms(g, 8))(example_grads)
  for values, truth in zip(FAULTS[fault](*norms, 4, 8), regression_truth(), strict=True):
    mean, error = mean_and_error(values)
    assert abs(mean - truth) > 5 * error


def test_estimators_agree_where_one_is_a_case_of_another(example_grads):
  pair = jax.jit(jax.vmap(pair_estimate))(example_grads)
  micro = jax.jit(jax.vmap(ESTIMATORS['micro 2x16']))(example_grads)
  np.testing.assert_allclose(pair.trace, micro.trace, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(pair.grad_sq, micro.grad_sq, rtol=1e-5, atol=1e-5)


def test_pairs_that_share_a_batch_are_correlated_by_at_most_one_half(example_grads):
  pairs = jax.jit(jax.vmap(pair_estimate))
  first, second = pairs(example_grads[:, :16]), pairs(example_grads[:, 8:24])
  for a, b in zip(first, second, strict=True):
    assert 0.1 < np.corrcoef(a, b)[0, 1] < 0.5


def test_a_pair_of_almost_equal_gradients_keeps_its_noise():
  # float32 carries no digit of |a|^2 + |b|^2 - |a + b|^2 / 2 here.
  a = jnp.full(1000, 100.0)
  factors = jnp.float32(1 / 4), jnp.float32(1 / 8)
  estimate = estimators.from_pair(a, a + 2**-10, *factors)
  np.testing.assert_allclose(estimate.trace, 4 * 1000 * 2.0**-20 / 2, rtol=1e-6)


def test_accumulation_is_data_and_one_micro_batch_is_never_a_number():
  def lane(micro, mean, k):
    return estimators.from_micro_batches(micro, mean, k, 7, 1000)

  estimate = jax.jit(jax.vmap(lane))(
    jnp.float32([5.0, 5.0, 5.0]), jnp.float32([3.0, 5.0, 4.9999]), jnp.int32([3, 1, 1])
  )
  np.testing.assert_allclose(estimate.trace[0], 2 / (1 / 7 - 1 / 21), rtol=1e-6)
  np.testing.assert_allclose(estimate.grad_sq[0], 3 - 21 * (1 / 21 - 1 / 1000), rtol=1e-6)
  assert np.isnan(estimate.trace[1:]).all()
  assert np.isnan(estimate.grad_sq[1:]).all()


ENUMERATED = {
  'micro 2x2 of 6': lambda g, n: micro_estimate(g[:4], 2, n),
  'micro 3x2, all of 6': lambda g, n: micro_estimate(g, 2, n),
  'pair of 2': lambda g, n: pair_estimate(g[:4], n),
  'pair of 3, all of 6': pair_estimate,
  'two batch sizes 2 and 5': lambda g, n: two_sizes_estimate(g[:5], 2, n),
  'per example, 4 of 6': lambda g, n: per_example_estimate(g[:4], n),
}


@pytest.mark.parametrize('name', ENUMERATED)
def test_every_order_of_a_finite_training_set_averages_to_the_truth(name):
  grads = np.random.default_rng(1).standard_normal((6, 3)) + 0.5
  orders = jnp.float32(grads[list(itertools.permutations(range(6)))])
  trace, grad_sq = grads.var(0, ddof=1).sum(), (grads.mean(0) ** 2).sum()
  estimate = jax.jit(jax.vmap(lambda g: ENUMERATED[name](g, 6)))(orders)
  np.testing.assert_allclose(np.mean(estimate.trace, dtype=float), trace, rtol=1e-5)
  np.testing.assert_allclose(np.mean(estimate.grad_sq, dtype=float), grad_sq, rtol=1e-5)
  infinite = jax.jit(jax.vmap(lambda g: ENUMERATED[name](g, None)))(orders)
  np.testing.assert_allclose(infinite.trace, estimate.trace, rtol=1e-6)
  np.testing.assert_allclose(np.mean(infinite.grad_sq, dtype=float), grad_sq - trace / 6, rtol=1e-5)


def test_batches_of_half_the_training_set_need_the_finite_population_term():
  rng = np.random.default_rng(2)
  grads = (rng.standard_normal((64, 5)) + 0.3).astype(np.float32)
  orders = grads[rng.permuted(np.tile(np.arange(64), (20000, 1)), axis=1)[:, :32]]
  truth = (grads.astype(float).mean(0) ** 2).sum()
  mean, error = mean_and_error(
    jax.jit(jax.vmap(lambda g: micro_estimate(g, 8, 64).grad_sq))(orders)
  )
  assert abs(mean - truth) < 4 * error
  mean, error = mean_and_error(jax.jit(jax.vmap(lambda g: micro_estimate(g, 8).grad_sq))(orders))
  assert abs(mean - truth) > 20 * error


def test_variance_factor_over_every_stream_of_three_epochs():
  grads = np.array([1.0, 4.0, 10.0])
  orders = np.array(list(itertools.permutations(grads)))
  streams = np.array([np.concatenate(epochs) for epochs in itertools.product(orders, repeat=3)])
  factor = jax.jit(lambda start, size: estimators.variance_factor(start, size, 3))
  for start, size in itertools.combinations_with_replacement(range(9), 2):
    size = size - start + 1
    mean_sq = np.mean(streams[:, start : start + size].mean(1) ** 2)
    exact = (mean_sq - grads.mean() ** 2) / grads.var(ddof=1)
    np.testing.assert_allclose(factor(start, size), exact, atol=2e-7)


def test_updates_across_the_end_of_an_epoch_are_unbiased():
  # Micro-batches of 2 from position 2 of epochs of 5: the second holds the end of one epoch and
  # the start of the next, whose factors differ from those of the first and third.
  grads = np.random.default_rng(8).standard_normal((5, 3)) + 0.5
  orders = np.array(list(itertools.permutations(grads)))
  rng = np.random.default_rng(9)
  epochs = [orders[rng.integers(len(orders), size=200_000)] for _ in range(2)]
  streams = jnp.float32(np.concatenate(epochs, axis=1)[:, 2:8])

  def estimate(stream):
    micro_sq, mean_sq = micro_norms(stream, 2)
    factors = [estimators.variance_factor(start, 2, 5) for start in (2, 4, 6)]
    whole = estimators.variance_factor(2, 6, 5)
    return estimators.from_variances(micro_sq - mean_sq, mean_sq, sum(factors) / 3, whole)

  found = jax.jit(jax.vmap(estimate))(streams)
  truths = grads.var(0, ddof=1).sum(), (grads.mean(0) ** 2).sum()
  for values, truth in zip(found, truths, strict=True):
    mean, error = mean_and_error(values)
    assert error < 0.01 * truth
    assert abs(mean - truth) < 4 * error


def test_equal_variances_are_never_a_number():
  one = jnp.float32(1.0)
  for factors in ((one, one), (one / 2, one)):
    assert np.isnan(estimators.from_variances(one, one, *factors)).all()


def test_tree_norm_sums_in_float32():
  tree = {'a': jnp.ones((7, 143), jnp.bfloat16), 'b': [jnp.float32(2.0)]}
  norm = estimators.tree_sq_norm(tree)
  assert norm.dtype == jnp.float32
  assert norm == 1005  # 1001 of them in the leaf whose own precision stops at 1000
  many = np.random.default_rng(3).standard_normal(1_000_000).astype(np.float32)
  expected = np.sum(many.astype(float) ** 2)
  np.testing.assert_allclose(estimators.tree_sq_norm(jnp.asarray(many)), expected, rtol=1e-6)


@jax.jit
def prefixes(trace, grad_sq, weight):
  """The moments after every update of one lane, weights 0 left out."""

  def step(moments, row):
    moments = estimators.add(moments, estimators.Measurement(row[0], row[1]), row[2])
    return moments, moments

  return jax.lax.scan(step, estimators.zero_moments(), (trace, grad_sq, weight))[1]


def check_moments(moments, trace, grad_sq, rtol):
  found = estimators.summary(moments)
  trace, grad_sq = np.asarray(trace, np.float64), np.asarray(grad_sq, np.float64)
  assert found['count'] == trace.size
  assert found['negative'] == np.mean(grad_sq <= 0)
  np.testing.assert_allclose(found['trace'], trace.mean(), rtol=rtol)
  np.testing.assert_allclose(found['grad_sq'], grad_sq.mean(), rtol=rtol)
  if trace.size > 1:
    (trace_var, cov), (_, grad_sq_var) = np.cov(trace, grad_sq)
    np.testing.assert_allclose(found['trace_var'], trace_var, rtol=rtol)
    np.testing.assert_allclose(found['grad_sq_var'], grad_sq_var, rtol=rtol)
    np.testing.assert_allclose(found['cov'], cov, atol=rtol * math.sqrt(trace_var * grad_sq_var))


def test_moments_equal_numpy_on_every_prefix():
  rng = np.random.default_rng(4)
  lanes, updates = 3, 40
  trace = (rng.standard_normal((lanes, updates)) + 5).astype(np.float32)
  grad_sq = (rng.standard_normal((lanes, updates)) + 0.2 * trace).astype(np.float32)
  weight = rng.random((lanes, updates)) < 0.7
  vectorized = jax.vmap(prefixes)(trace, np.where(weight, grad_sq, np.nan), weight)
  mapped = jax.lax.map(lambda row: prefixes(*row), (trace, grad_sq, weight))
  for lane, tick in itertools.product(range(lanes), range(updates)):
    seen = np.flatnonzero(weight[lane, : tick + 1])
    if seen.size:
      for moments in (vectorized, mapped):
        moments = jax.tree.map(lambda x, at=(lane, tick): x[at], moments)
        check_moments(moments, trace[lane, seen], grad_sq[lane, seen], rtol=1e-4)


@pytest.mark.parametrize('spread', [1e-3, 0.1, 3.0])
def test_moments_survive_large_gradients(spread):
  # Of the first variance, a float32 sum of squares keeps no digit.
  rng = np.random.default_rng(5)
  trace = (1e8 * (1 + spread * rng.standard_normal(10_000))).astype(np.float32)
  grad_sq = (1e6 * (1 + spread * rng.standard_normal(10_000))).astype(np.float32)
  moments = jax.tree.map(lambda x: x[-1], prefixes(trace, grad_sq, np.ones(10_000, bool)))
  check_moments(moments, trace, grad_sq, rtol=1e-3)
  for mean, values in ((moments.trace, trace), (moments.grad_sq, grad_sq)):
    expected, error = mean_and_error(values)
    assert abs(mean - expected) < 0.3 * error


def test_merged_windows_equal_one_window():
  rng = np.random.default_rng(6)
  trace, grad_sq = rng.lognormal(size=(2, 90)).astype(np.float32) + 100

  def last(rows):
    return jax.tree.map(
      lambda x: x[-1], prefixes(trace[rows], grad_sq[rows], np.ones(90, bool)[rows])
    )

  parts = [last(slice(0, 1)), last(slice(1, 50)), last(slice(50, 90))]
  merged = estimators.merge(estimators.merge(parts[0], parts[1]), parts[2])
  check_moments(merged, trace, grad_sq, rtol=1e-5)


@pytest.mark.parametrize('size', [3.0, 1e25])
def test_an_empty_window_merges_without_a_trace(size):
  empty = estimators.zero_moments()
  one = estimators.add(empty, estimators.Measurement(jnp.float32(size), jnp.float32(-size)), True)
  assert estimators.merge(empty, one) == estimators.merge(one, empty) == one
  assert estimators.merge(empty, empty) == empty
  assert estimators.summary(one) == {
    'count': 1,
    'trace': float(np.float32(size)),
    'grad_sq': -float(np.float32(size)),
    'trace_var': None,
    'grad_sq_var': None,
    'cov': None,
    'negative': 1.0,
  }


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_left_out_by_weight_and_never_becomes_a_number(bad):
  good = estimators.Measurement(jnp.float32(2.0), jnp.float32(1.0))
  moments = estimators.add(estimators.zero_moments(), good, 1)
  spoilt = estimators.Measurement(jnp.float32(bad), jnp.float32(bad))
  for weight in (0, False, jnp.zeros((), bool), jnp.float32(0.0)):
    assert estimators.add(moments, spoilt, weight) == moments
  found = estimators.summary(estimators.add(moments, spoilt, 1))
  assert found['count'] == 2
  assert [found[key] for key in ('trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov')] == [
    None
  ] * 5
  assert estimators.b_simple(found['trace'], found['grad_sq']) is None


def test_summary_of_nothing_is_strict_json():
  found = estimators.summary(jax.device_get(estimators.zero_moments()))
  assert json.loads(json.dumps(found, allow_nan=False)) == {
    'count': 0,
    **dict.fromkeys(['trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov', 'negative']),
  }


def test_b_simple_is_a_ratio_or_undefined():
  assert estimators.b_simple(12.0, 3.0) == 4.0
  assert estimators.b_simple(0.0, 3.0) == 0.0
  undefined = [(12.0, 0.0), (12.0, -1.0), (-1.0, 3.0), (None, 3.0), (12.0, None)]
  undefined += [(math.nan, 3.0), (math.inf, 3.0), (12.0, math.nan), (12.0, math.inf), (1.0, 5e-324)]
  for trace, grad_sq in undefined:
    assert estimators.b_simple(trace, grad_sq) is None
