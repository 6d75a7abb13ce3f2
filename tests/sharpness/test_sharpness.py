"""Hessian spectra, trace and sharpness measures against dense matrices and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import small_config
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from bsjax import data
from bsjax.data import stream
from bsjax.engine import lanes
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.evaluate import evaluate
from bsjax.engine.lanes import LaneParams
from bsjax.engine.spec import lane_spec
from bsjax.plan import plan
from bsjax.sharpness import hessian, measures, slices, spectrum
from bsjax.sharpness.objective import lane_objective, mean_over_chunks

EXAMPLES = 50


def network(normalization='none', **overrides):
  """An untrained MLP on a few digits, moved so that no bias is zero: (spec, state, examples)."""
  config = small_config(model__normalization=normalization, model__width=4, **overrides)
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train.labels)).first
  spec = lane_spec(config, dataset, study, study.groups[0])
  state = jax.jit(lambda: lanes.init(spec, LaneParams(0.1, 1, jnp.int32(0)), dataset.image_shape))()
  state = state.replace(params=jax.tree.map(lambda x: x + 0.05, state.params))
  kept = DeviceSplit(
    *(jnp.asarray(x[:EXAMPLES]) for x in (dataset.train.images, dataset.train.labels))
  )
  return spec, state, kept


def dense_hessian(spec, params, examples):
  """The Hessian of the MLP written out by hand, in float64, in the order of ravel_pytree."""
  with jax.enable_x64(True):
    images = stream.normalize(
      jnp.asarray(examples.images, jnp.float64), spec.mean, spec.std, jnp.float64
    ).reshape(len(examples.labels), -1)
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params))

    def loss(w):
      first, second = (unravel(w)[name] for name in ('Dense_0', 'Dense_1'))
      hidden = jnp.maximum(images @ first['kernel'] + first['bias'], 0)
      log_p = jax.nn.log_softmax(hidden @ second['kernel'] + second['bias'])
      return -log_p[jnp.arange(len(examples.labels)), np.asarray(examples.labels)].mean()

    return np.asarray(jax.jit(jax.hessian(loss))(flat))


@pytest.fixture(scope='module')
def mlp():
  spec, state, examples = network()
  return spec, state, examples, dense_hessian(spec, state.params, examples)


def quadratic(matrix, linear=None, constant=0.0):
  """z'Az / 2 + c'z + constant over a tree of two leaves, as two chunks of one half each."""
  matrix = jnp.float32(matrix)
  linear = jnp.zeros(len(matrix)) if linear is None else jnp.float32(linear)

  def half(params, share):
    z = ravel_pytree(params)[0]
    return share * (z @ matrix @ z / 2 + linear @ z + constant)

  return mean_over_chunks(half, jnp.array([1.5, 0.5]), 2)


def two_leaves(values):
  half = len(values) // 2
  return {'a': jnp.float32(values[:half]), 'b': jnp.float32(values[half:])}


def symmetric(values, seed):
  q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
  return q * np.asarray(values) @ q.T


def lanczos(objective, params, steps, seed=0):
  def run(params):
    return hessian.lanczos(lambda v: objective.hvp(params, v), jax.random.key(seed), params, steps)

  found = jax.jit(run)(params)
  return spectrum.ritz(np.asarray(found.alpha), np.asarray(found.beta))


def test_top_eigenvalues_and_trace_equal_eigh_of_the_dense_hessian(mlp):
  spec, state, examples, dense = mlp
  values = np.linalg.eigh(dense)[0][::-1]
  objective = lane_objective(spec, state, examples, 20)  # a ragged last chunk
  found = spectrum.top_eigenvalues(lanczos(objective, state.params, 40), 5)
  np.testing.assert_allclose([f['value'] for f in found], values[:5], rtol=1e-4)
  assert all(f['converged'] for f in found)
  unravel = ravel_pytree(state.params)[1]

  def form(e):
    return optax.tree.vdot(unravel(e), objective.hvp(state.params, unravel(e)))

  diagonal = jax.jit(lambda basis: jax.lax.map(form, basis))(jnp.eye(len(dense)))
  np.testing.assert_allclose(diagonal.sum(), values.sum(), rtol=1e-4)
  np.testing.assert_allclose(diagonal, np.diag(dense), atol=1e-4 * values[0])


def test_hutchinson_on_the_network_holds_the_trace_and_predicts_its_error(mlp):
  spec, state, examples, dense = mlp
  objective = lane_objective(spec, state, examples, EXAMPLES)

  def run(p):
    return hessian.trace_samples(lambda v: objective.hvp(p, v), jax.random.key(1), p, probes=400)

  samples = np.asarray(jax.jit(run)(state.params))
  mean, error = spectrum.mean_and_standard_error(samples)
  off_diagonal = (dense**2).sum() - (np.diag(dense) ** 2).sum()
  assert error == pytest.approx(np.sqrt(2 * off_diagonal / 400), rel=0.25)
  assert abs(mean - np.trace(dense)) < 4 * error


def test_chunks_only_save_memory_and_the_curvature_along_the_gradient(mlp):
  spec, state, examples, dense = mlp

  def run(params, chunk):
    objective = lane_objective(spec, state, examples, chunk)
    grads = objective.gradient(params)
    along = hessian.curvature_along(lambda v: objective.hvp(params, v), grads)
    return objective.value(params), ravel_pytree(grads)[0], along

  sums = jax.jit(lambda s: evaluate(spec, 64, s, examples, examples).train)(state)
  whole = jax.jit(run, static_argnums=1)(state.params, 1000)
  for found in (whole, jax.jit(run, static_argnums=1)(state.params, 16)):
    g = np.asarray(found[1], np.float64)
    np.testing.assert_allclose(found[0], sums.loss / sums.count, rtol=1e-6)
    np.testing.assert_allclose(found[1], whole[1], atol=1e-6)
    np.testing.assert_allclose(found[2], g @ dense @ g / (g @ g), rtol=1e-4)


@pytest.mark.parametrize('steps', [12, 100])
def test_as_many_steps_as_parameters_recover_the_whole_spectrum(steps):
  """Also of a Hessian with repeated and zero eigenvalues, where the Krylov space ends early."""
  for values in (np.arange(1.0, 13), [5, 5, 5, 2, 2, -1, -1, 0, 0, 0, 0, 0], [0.0] * 12):
    objective = quadratic(symmetric(values, 0))
    found = lanczos(objective, two_leaves(np.zeros(12)), steps)
    np.testing.assert_allclose(found.value, sorted(values, reverse=True), atol=3e-5)
    assert found.residual.max() <= 3e-5
    assert found.weight.sum() == pytest.approx(1, abs=1e-6)


def test_without_reorthogonalization_ghosts_would_appear():
  """One far eigenvalue converges at once, and the plain recurrence finds it again and again."""
  values = np.concatenate([[100.0], np.linspace(0, 1, 59)])
  matrix = symmetric(values, 1)
  found = lanczos(quadratic(matrix), two_leaves(np.zeros(60)), 40)
  assert (found.value > 50).sum() == 1
  np.testing.assert_allclose(found.value[0], 100, rtol=1e-5)
  assert (plain_recurrence(np.float32(matrix), 40) > 50).sum() > 1


def plain_recurrence(matrix, steps):
  v = np.random.default_rng(0).normal(size=len(matrix)).astype(np.float32)
  v, before, beta = v / np.linalg.norm(v), np.zeros_like(v), np.float32(0)
  t = np.zeros((steps, steps))
  for j in range(steps):
    rest = matrix @ v - beta * before
    t[j, j] = v @ rest
    rest = rest - np.float32(t[j, j]) * v
    beta = np.linalg.norm(rest)
    if j + 1 < steps:
      t[j, j + 1] = t[j + 1, j] = beta
    before, v = v, rest / beta
  return np.linalg.eigvalsh(t)


def test_residuals_bound_the_error_and_say_what_has_not_converged():
  values = np.linspace(0, 1, 60)
  found = lanczos(quadratic(symmetric(values, 2)), two_leaves(np.zeros(60)), 10)
  distance = np.abs(found.value[:, None] - values).min(axis=1)
  assert (distance <= found.residual + 1e-6).all()
  first = spectrum.eigenvalue(found, 0)
  assert not first['converged'] and first['value'] < 1
  assert first['residual'] == pytest.approx(found.residual[0])


@pytest.mark.parametrize('scale', [1e-8, 1e8])
def test_eigenvalues_of_flat_and_of_steep_losses_are_as_exact_as_others(scale):
  values = np.linspace(0.1, 1, 12)
  found = lanczos(quadratic(scale * symmetric(values, 2)), two_leaves(np.zeros(12)), 12)
  np.testing.assert_allclose(np.sort(found.value) / scale, values, atol=1e-5)


def test_residual_and_weight_are_those_of_the_value_they_stand_beside():
  """Also where no end of the spectrum is the mirror of the other."""
  random = np.random.default_rng(0)
  alpha, beta = random.normal(size=6), random.uniform(0.5, 1.5, 6)
  matrix = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
  found = spectrum.ritz(alpha, beta)
  assert (np.diff(found.value) < 0).all()
  for value, residual, weight in zip(*found, strict=True):
    vector = np.linalg.svd(matrix - value * np.eye(6))[2][-1]  # which it leaves nothing of
    assert residual == pytest.approx(abs(beta[-1] * vector[-1]))
    assert weight == pytest.approx(vector[0] ** 2)


def test_quadrature_gives_the_moments_of_the_spectral_density():
  values = np.concatenate([[10.0], np.linspace(-1, 1, 39)])
  objective, params = quadratic(symmetric(values, 3)), two_leaves(np.zeros(40))

  def run(seed):
    return hessian.lanczos(lambda v: objective.hvp(params, v), jax.random.key(seed), params, 12)

  pairs = jax.jit(jax.vmap(run))(jnp.arange(60))
  runs = [spectrum.ritz(*pair) for pair in zip(*map(np.asarray, pairs), strict=True)]
  found = spectrum.density(runs)
  nodes, weights = np.array(found['nodes']), np.array(found['weights'])
  for power in (1, 2):
    each = (weights * nodes**power).sum(axis=1)
    error = each.std(ddof=1) / np.sqrt(len(runs))
    assert abs(each.mean() - (values**power).mean()) < 4 * error
  assert np.trapezoid(found['density'], found['grid']) == pytest.approx(1, abs=1e-3)
  above = np.array(found['grid']) > 5
  share = np.trapezoid(np.array(found['density'])[above], np.array(found['grid'])[above])
  assert share == pytest.approx(1 / 40, abs=4 * (weights * (nodes > 5)).sum(1).std() / np.sqrt(60))


def test_hutchinson_is_exact_on_diagonals_and_unbiased_across_leaves():
  """Blocks between equal leaves: with one key for both, every probe would give their trace too."""
  size, identity = 20, np.eye(10)
  matrix = np.block([[2 * identity, 5 * identity], [5 * identity, 3 * identity]])
  params = two_leaves(np.zeros(size))

  def samples(m, probes):
    return np.asarray(
      hessian.trace_samples(
        lambda v: quadratic(m).hvp(params, v), jax.random.key(0), params, probes
      )
    )

  np.testing.assert_allclose(samples(np.diag(np.arange(20.0)), 3), 190, rtol=1e-6)
  mean, error = spectrum.mean_and_standard_error(samples(matrix, 500))
  assert abs(mean - 50) < 4 * error
  assert error == pytest.approx(np.sqrt(2 * 2 * 10 * 25 / 500), rel=0.15)


def test_sam_and_adaptive_sam_on_a_quadratic():
  matrix, x, rho = symmetric([4.0, 2, 1, -1], 4), np.array([1.0, -2, 0.5, 3]), 0.1
  objective, params = quadratic(matrix, constant=2), two_leaves(x)
  g = matrix @ x

  def value(z):
    return z @ matrix @ z / 2 + 2

  expected = value(x + rho * g / np.linalg.norm(g)) - value(x)
  found = measures.sam(objective, params, objective.gradient(params), rho)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  step = rho * x**2 * g / np.linalg.norm(x * g)
  found = measures.sam(objective, params, objective.gradient(params), rho, adaptive=True)
  np.testing.assert_allclose(found, value(x + step) - value(x), rtol=1e-4)
  zero = two_leaves(np.zeros(4))
  assert np.isnan(measures.sam(objective, zero, objective.gradient(zero), rho))


def keskar(matrix, linear, x, epsilon, constant=1.0):
  objective, params = quadratic(matrix, linear, constant), two_leaves(x)

  def run(p):
    return measures.keskar(objective, p, jax.random.key(0), epsilon)

  return float(jax.jit(run)(params))


def test_keskar_finds_the_maximum_over_the_box_of_a_separable_quadratic():
  """Each coordinate rises to a wall, or, where it bends down, to its top inside the box."""
  rng = np.random.default_rng(5)
  d, c, x, epsilon = rng.normal(size=12) * 3, rng.normal(size=12), rng.normal(size=12), 0.3

  def along(z):
    return d * z**2 / 2 + c * z

  half = epsilon * (abs(x) + 1)
  top = np.clip(-c / d, x - half, x + half)  # of those that bend down
  best = np.maximum(along(x - half), along(x + half))
  best = np.where(d < 0, np.maximum(best, along(top)), best)
  inside = (d < 0) & (abs(-c / d - x) < half)
  assert 0 < inside.sum() < 12
  f = 20 + along(x).sum()
  expected = 100 * (best - along(x)).sum() / (1 + f)
  np.testing.assert_allclose(keskar(np.diag(d), c, x, epsilon, 20.0), expected, rtol=1e-4)


def test_keskar_on_a_concave_quadratic_equals_a_bounded_optimizer():
  matrix = symmetric(-np.array([8.0, 4, 2, 1, 1, 0.5]), 6)
  rng = np.random.default_rng(7)
  c, x, epsilon = rng.normal(size=6), rng.normal(size=6), 0.2

  def value(z):
    return z @ matrix @ z / 2 + c @ z + 20

  half = epsilon * (abs(x) + 1)
  found = minimize(
    lambda z: -value(z),
    x,
    jac=lambda z: -(matrix @ z + c),
    bounds=np.stack([x - half, x + half], 1),
    method='L-BFGS-B',
    options={'ftol': 1e-15, 'gtol': 1e-10},
  )
  expected = 100 * (-found.fun - value(x)) / (1 + value(x))
  np.testing.assert_allclose(keskar(matrix, c, x, epsilon, 20.0), expected, rtol=2e-4)


def test_keskar_leaves_a_minimum_whose_gradient_is_zero():
  matrix, epsilon = symmetric([3.0, 1, 0.5, 0.1], 8), 5e-2
  corners = np.array(list(itertools.product([-epsilon, epsilon], repeat=4)))
  highest = max(z @ matrix @ z / 2 for z in corners)
  found = keskar(matrix, np.zeros(4), np.zeros(4), epsilon)
  np.testing.assert_allclose(found, 100 * highest / 2, rtol=1e-3)


def test_keskar_says_when_the_loss_is_not_finite_in_the_box():
  objective = mean_over_chunks(lambda p, c: c * jnp.log(p['a'].sum()), jnp.ones(1), 1)
  found = measures.keskar(objective, {'a': jnp.array([0.001])}, jax.random.key(0), 0.1)
  assert not np.isfinite(found)


def test_filter_normalization_by_hand():
  rng = np.random.default_rng(9)

  def draw(*shape):
    return rng.normal(size=shape).astype(np.float32)

  w, d = (
    {'dense': jnp.array(draw(3, 2)), 'conv': jnp.array(draw(3, 3, 2, 4)), 'bias': jnp.ones(4)}
    for _ in range(2)
  )
  found = slices.filter_normalized(d, w)
  assert (found['bias'] == 0).all()
  for name in ('dense', 'conv'):
    for unit in range(w[name].shape[-1]):
      a, b = d[name][..., unit], w[name][..., unit]
      expected = a * np.linalg.norm(b) / np.linalg.norm(a)
      np.testing.assert_allclose(found[name][..., unit], expected, rtol=1e-5)


def test_slices_do_not_change_when_filters_of_a_relu_network_are_rescaled(mlp):
  """Twice the weights into a hidden unit, half of those out of it: the same function.

  All units by the same factor, because a filter of the next layer takes from all of them.
  """
  spec, state, examples, _ = mlp
  first, second = state.params['Dense_0'], state.params['Dense_1']
  scaled = {
    'Dense_0': jax.tree.map(lambda x: 2 * x, first),
    'Dense_1': {'kernel': second['kernel'] / 2, 'bias': second['bias']},
  }
  keys, points = jax.random.split(jax.random.key(0), 2), jnp.array([[0.0, 0], [0.5, -1], [1, 1]])
  run = jax.jit(
    lambda params: (
      slices.random_slice(spec, 64, state.replace(params=params), keys, points, examples, examples)[
        'train'
      ].loss
    )
  )
  losses = run(state.params)
  np.testing.assert_allclose(run(scaled), losses, rtol=1e-5)
  assert np.ptp(losses) > 1
  direction = slices.random_direction(keys[0], state.params)
  assert not np.allclose(direction['Dense_1']['kernel'][:4, :4], direction['Dense_0']['kernel'][:4])
  bias_zero = [direction[name]['bias'] == 0 for name in direction]
  assert np.concatenate(bias_zero).all()
