"""Preconditioners against the steps that optax takes, and their damping."""

import jax.numpy as jnp
import numpy as np
import pytest

from bsjax.config.keys import base_config
from bsjax.optim import optimizers, preconditioners

PARAMS = {'kernel': jnp.zeros((4, 3)), 'bias': jnp.zeros(3)}


def optimizer_of(name, **keys):
  """The config of an optimizer without momentum, so that its step is the scaled gradient."""
  config = base_config().optimizer
  config.name, config.momentum, config.b1, config.rmsprop_momentum = name, 0.0, 0.0, 0.0
  config.update(keys)
  return config


def gradients(number):
  random = np.random.default_rng(number)  # far from zero: nothing is damped
  return {name: jnp.float32(random.uniform(0.5, 2, x.shape)) for name, x in PARAMS.items()}


def after(config, updates):
  """The state after so many updates, and the last step at a learning rate of 1."""
  optimizer = optimizers.create(config)
  state, step = optimizer.init(PARAMS), None
  for number in range(updates):
    state = optimizers.with_learning_rate(state, jnp.float32(1.0))
    step, state = optimizer.update(gradients(number), state, PARAMS)
  return state, step


@pytest.mark.parametrize('name', ['adam', 'adamw', 'rmsprop'])
@pytest.mark.parametrize('updates', [1, 3])
def test_a_step_without_momentum_is_the_gradient_so_scaled(name, updates):
  config = optimizer_of(name, weight_decay=0.0, eps=0.01)
  state, step = after(config, updates)
  scaling = preconditioners.preconditioner(config)(state, jnp.int32(updates))
  for key, gradient in gradients(updates - 1).items():
    np.testing.assert_allclose(-scaling[key] * gradient, step[key], rtol=2e-6)


@pytest.mark.parametrize('name', ['adam', 'rmsprop'])
def test_a_silent_coordinate_counts_as_a_tenth_of_the_root_mean_square(name):
  config = optimizer_of(name, eps=1e-12)
  optimizer = optimizers.create(config)
  grads = {'kernel': jnp.ones((4, 3)).at[0, 0].set(0.0), 'bias': jnp.ones(3)}
  state = optimizers.with_learning_rate(optimizer.init(PARAMS), jnp.float32(1.0))
  _, state = optimizer.update(grads, state, PARAMS)
  scaling = preconditioners.preconditioner(config)(state, jnp.int32(1))['kernel']
  root_mean_square = np.sqrt(11 / 12)
  expected = 1 / (0.1 * root_mean_square)
  assert scaling[0, 0] / scaling[1, 1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('name', ['sgd', 'lars', 'lamb'])
def test_optimizers_that_scale_no_coordinate_have_none(name):
  assert preconditioners.preconditioner(optimizer_of(name)) is None


@pytest.mark.parametrize('name', ['adam', 'rmsprop'])
def test_values_of_the_lane_take_the_place_of_those_of_the_config(name):
  config = optimizer_of(name, eps=1e-8, b2=0.999)
  state, _ = after(config, 2)
  own = {'eps': jnp.float32(0.5)} | ({'b2': jnp.float32(0.9)} if name == 'adam' else {})
  lane = optimizers.with_learning_rate(state, jnp.float32(1.0), own)
  found = preconditioners.preconditioner(config, tuple(own))(lane, jnp.int32(2))
  as_config = {key: float(value) for key, value in own.items()}
  expected = preconditioners.preconditioner(optimizer_of(name, **{'b2': 0.999} | as_config))
  for key, scaling in expected(state, jnp.int32(2)).items():
    np.testing.assert_allclose(found[key], scaling, rtol=1e-5)
  plain = preconditioners.preconditioner(config)(lane, jnp.int32(2))
  assert abs(plain['bias'] / found['bias'] - 1).min() > 0.2
