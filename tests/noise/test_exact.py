"""Noise scales from products of gradients: closed forms, exactness over all draws, coverage."""

import itertools
import math

import numpy as np
import pytest

from bsjax.noise import exact
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import fieller_from_moments
from bsjax.train import rows


def products(grads, metric=None):
  """g_i' M g_i and g_i' M (mean g) of rows."""
  metric = np.eye(grads.shape[-1]) if metric is None else metric
  lowered = grads @ metric
  return (lowered * grads).sum(-1), (lowered * grads.mean(-2, keepdims=True)).sum(-1)


def truth(grads, metric=None):
  """tr(M Sigma), normalised by N - 1, and G' M G of a whole population."""
  metric = np.eye(grads.shape[-1]) if metric is None else metric
  mean = grads.mean(0)
  return np.trace(metric @ np.cov(grads.T)), mean @ metric @ mean


METRIC = np.diag([1.0, 4.0, 0.25]) - 0.5 * np.eye(3)[::-1]  # with a negative eigenvalue


@pytest.mark.parametrize('metric', [None, METRIC])
@pytest.mark.parametrize('size', [1, 2])
def test_all_draws_from_a_small_population_average_to_the_truth(metric, size):
  population = np.random.default_rng(0).standard_normal((7, 3)) + 0.5
  draws = itertools.permutations(range(7), 3 * size)
  blocks = (population[np.reshape(draw, (3, size))].mean(1) for draw in draws)
  found = [exact.from_products(*products(g, metric), size, 7)[:2] for g in blocks]
  np.testing.assert_allclose(np.mean(found, axis=0), truth(population, metric), rtol=1e-10)


def test_all_of_the_population_is_exact():
  population = np.random.default_rng(1).standard_normal((50, 3)) + 0.3
  found = exact.ratio(exact.from_products(*products(population), 1, 50))
  trace, grad_sq = truth(population)
  assert found['trace'] == pytest.approx(trace, rel=1e-10)
  assert found['grad_sq'] == pytest.approx(grad_sq, rel=1e-10)
  np.testing.assert_allclose(found['ci95'], [found['noise_scale']] * 2, rtol=1e-6)
  part = exact.ratio(exact.from_products(*products(population[:49]), 1, 50))
  assert part['ci95'][1] > part['ci95'][0] * 1.001


def test_the_jackknife_leaves_out_one_gradient_at_a_time():
  grads = np.random.default_rng(2).standard_normal((6, 3)) + 1
  found = exact.from_products(*products(grads), 1, 10**9)
  whole = np.array(found[:2])
  pseudo = [
    6 * whole - 5 * np.array(exact.from_products(*products(part), 1, 10**9)[:2])
    for part in (np.delete(grads, i, axis=0) for i in range(6))
  ]
  np.testing.assert_allclose(np.mean(pseudo, axis=0), whole, rtol=1e-9)
  (var_a, cov), (_, var_b) = np.cov(np.transpose(pseudo))
  np.testing.assert_allclose(found[2:], [var_a, var_b, cov, 6], rtol=1e-6)


TAILS = {
  'normal': lambda rng, shape: np.ones((*shape, 1)),
  'student 5': lambda rng, shape: (rng.standard_gamma(2.5, (*shape, 1)) / 1.5) ** -0.5,
  'lognormal scales': lambda rng, shape: np.exp(0.5 * rng.standard_normal((*shape, 1)) - 0.25),
}


@pytest.mark.parametrize('tails', TAILS)
def test_intervals_from_single_examples_cover(tails):
  rng = np.random.default_rng(3)
  n, parameters, replications, expected = 200, 8, 1500, 40.0
  held = []
  for _ in range(replications):
    # Unit covariance: the scales have a mean square of 1, so tr(Sigma) is the number of parameters.
    grads = rng.standard_normal((n, parameters)) * TAILS[tails](rng, (n,))
    grads += math.sqrt(1 / expected)
    interval = fieller_from_moments(exact.from_products(*products(grads), 1, 10**9))
    high = math.inf if interval.high is None else interval.high
    held.append(interval.low is not None and interval.low <= expected <= high)
  assert 0.93 < np.mean(held) < 0.97


def curvature_products(grads, hessians):
  return np.einsum('ka,jab,lb->jkl', grads, hessians, grads)


def test_curvature_uses_no_gradient_with_its_own_hessian_and_averages_to_the_truth():
  rng = np.random.default_rng(4)
  n, size = 6, 5
  mean, metric = np.array([1.0, -0.5, 0.2]), METRIC + np.eye(3)
  found = []
  for _ in range(4000):
    noise = rng.standard_normal((n, 3))
    grads = mean + noise / math.sqrt(size)
    # Each block's Hessian is as wrong as its gradient is: with itself the product would be biased.
    hessians = metric + noise[:, :, None] * noise[:, None, :] - np.eye(3)
    tensor = curvature_products(grads, hessians)
    found.append(exact.from_curvature(tensor, size, 10**9)[:2])
  error = np.std(found, axis=0) / math.sqrt(len(found))
  expected = np.trace(metric), mean @ metric @ mean
  assert (error < 0.03 * np.abs(expected)).all()
  assert (np.abs(np.mean(found, axis=0) - expected) < 4 * error).all()


def test_block_means_are_those_over_different_indices():
  tensor = np.random.default_rng(5).standard_normal((5, 5, 5))
  tensor += tensor.swapaxes(1, 2)
  square = np.mean([tensor[j, k, k] for j, k in itertools.permutations(range(5), 2)])
  product = np.mean([tensor[i] for i in itertools.permutations(range(5), 3)])
  np.testing.assert_allclose(exact._block_means(tensor), (square, product), rtol=1e-12)


def curvature(hessian, spread=0.01):
  rng = np.random.default_rng(6)
  grads = np.array([1.0, 0.0]) + spread * rng.standard_normal((8, 2))
  tensor = curvature_products(grads, np.tile(hessian, (8, 1, 1)))
  return rows._curvature_columns(exact.from_curvature(tensor, 4, 10**9), 1.0)


def test_a_gradient_that_curves_downwards_has_no_noise_scale():
  fine = curvature(np.diag([2.0, 5.0]))
  assert fine['noise_scale'] > 0 and 'reason' not in fine
  assert fine['largest_learning_rate'] == pytest.approx(1 / 2.0, rel=0.02)
  down = curvature(np.diag([-2.0, 5.0]))
  assert down['noise_scale'] is None and down['ci95'] == [None, None]
  assert down['reason'] == Reason('curvature_along_gradient')
  assert down['largest_learning_rate'] is None
  below = curvature(np.diag([2.0, -50.0]))
  assert below['noise_scale'] is None
  assert below['reason'] == Reason('curvature_weighted_by_noise')
  assert curvature(np.diag([np.nan, 1.0]))['reason'] == (Reason('moments_not_finite'),)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_what_is_not_finite_is_undefined(bad):
  squares, with_mean = products(np.random.default_rng(7).standard_normal((40, 3)) + 1)
  squares[3] = bad
  found = exact.ratio(exact.from_products(squares, with_mean, 1, 1000))
  assert found['noise_scale'] is None and found['ci95'] == [None, None]
  assert found['reason'] == (Reason('moments_not_finite'),)


def test_the_spread_of_a_record_is_that_of_trace_and_gradient():
  grads = np.random.default_rng(8).standard_normal((40, 3)) + 2
  moments = exact.from_products(*products(grads), 1, 10**9)
  assert exact.spread(moments) == {
    'n': 40,
    'trace_var': moments.var_a,
    'grad_sq_var': moments.var_b,
    'cov': moments.cov,
  }
  # Of a large mean gradient its square is the less certain of the two, by 4 |G|^2 a coordinate.
  assert moments.var_b > 4 * moments.var_a > 0
  assert exact.spread(moments._replace(var_b=math.nan))['grad_sq_var'] is None
