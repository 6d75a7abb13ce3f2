"""Optimizers from outside: any factory of optax with a learning rate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bsjax.config.errors import ConfigError
from bsjax.optim.optimizers import with_learning_rate
from bsjax.optim.own import OwnOptimizer


def clipped(learning_rate, most=1.0, decay=0.9):
  return optax.chain(optax.clip_by_global_norm(most), optax.sgd(learning_rate, momentum=decay))


@pytest.mark.parametrize('factory', [optax.adam, clipped, functools.partial(optax.adamw, b2=0.9)])
def test_it_steps_as_by_itself_at_the_learning_rate_of_the_state(factory):
  params, grads = {'w': jnp.ones(3)}, {'w': jnp.array([1.0, -2.0, 3.0])}
  own, plain = OwnOptimizer(factory).create(), factory(learning_rate=0.03)
  states = own.init(params), plain.init(params)
  for _ in range(3):
    updates, state = own.update(grads, with_learning_rate(states[0], jnp.float32(0.03)), params)
    expected, other = plain.update(grads, states[1], params)
    states = state, other
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)
  assert int(states[0].count) == 3  # by which noise estimators tell that a gradient was seen


def test_its_name_and_numbers_are_told():
  adam = OwnOptimizer(functools.partial(optax.adam, b1=0.8))
  assert adam.name == 'adam' and adam.hyperparameters['b1'] == 0.8
  assert 'learning_rate' not in adam.hyperparameters
  assert OwnOptimizer(clipped).hyperparameters == {'most': 1.0, 'decay': 0.9}
  assert 'nesterov' not in adam.hyperparameters  # no number


def test_a_factory_may_take_whatever_else_it_is_given():
  def loose(learning_rate, *rest, momentum=0.5, **more):
    return optax.sgd(learning_rate, momentum)

  assert OwnOptimizer(loose).hyperparameters == {'momentum': 0.5}


@pytest.mark.parametrize(
  'factory, said',
  [
    (optax.sgd(0.1), 'give what makes it'),
    (lambda rate: optax.sgd(rate), 'no parameter learning_rate'),
    (lambda learning_rate, momentum: optax.sgd(learning_rate), 'needs momentum'),
  ],
)
def test_what_cannot_be_one_is_refused_in_words(factory, said):
  with pytest.raises(ConfigError, match=said):
    OwnOptimizer(factory)
