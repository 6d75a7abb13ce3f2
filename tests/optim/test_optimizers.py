"""Schedules and scaling against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config

from bsjax.optim import optimizers, schedules
from bsjax.optim.entries import OPTIMIZERS


def factors(examples, **keys):
  config = small_config(epochs=10.0, **keys)
  schedule = schedules.create_schedule(config.schedule, total_examples=1000, train_examples=100)
  return [float(schedule(jnp.int32(at))) for at in examples]


def test_constant():
  assert factors((0, 500, 999), schedule__name='constant') == [1, 1, 1]


def test_warm_up_is_linear_in_examples():
  found = factors((0, 50, 100, 199, 200, 900), schedule__warmup_epochs=2.0)
  np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.995, 1, 1], rtol=1e-6)


def test_cosine_ends_at_zero_and_starts_after_the_warm_up():
  found = factors((200, 600, 1000), schedule__name='cosine', schedule__warmup_epochs=2.0)
  np.testing.assert_allclose(found, [1, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize('warmup', [0.0, 2.0])
def test_steps_are_shares_of_the_whole_training(warmup):
  found = factors(
    (499, 501, 749, 751),
    schedule__name='step',
    schedule__boundaries=(0.5, 0.75),
    schedule__factor=0.1,
    schedule__warmup_epochs=warmup,
  )
  np.testing.assert_allclose(found, [1, 0.1, 0.1, 0.01], rtol=1e-6)


def test_weight_decay_leaves_biases_alone_unless_asked():
  params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
  zero = {'kernel': jnp.zeros((2, 2)), 'bias': jnp.zeros(2)}
  for name in OPTIMIZERS:
    if name == 'lars':  # without a gradient its trust ratio is that of the decay alone
      continue
    for everything in (False, True):
      config = small_config(
        optimizer__name=name, optimizer__weight_decay=0.1, optimizer__decay_all=everything
      )
      tx = optimizers.create(config.optimizer)
      state = optimizers.with_learning_rate(tx.init(params), jnp.float32(0.5))
      updates, _ = tx.update(zero, state, params)
      assert (np.asarray(updates['kernel']) < 0).all(), name
      assert (np.asarray(updates['bias']) < 0).all() == everything, name


def one_step(name, grads, **keys):
  """The updates of one step from parameters of ones, and the optimizer's state but for rates."""
  params = {'kernel': jnp.ones((2, 2))}
  config = small_config(optimizer__name=name, **{f'optimizer__{k}': v for k, v in keys.items()})
  tx = optimizers.create(config.optimizer)
  state = optimizers.with_learning_rate(tx.init(params), jnp.float32(0.01))
  updates, state = tx.update({'kernel': jnp.asarray(grads)}, state, params)
  return np.asarray(updates['kernel']), jax.tree.leaves(state.inner_state)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_an_entry_says_whether_decay_is_decoupled(name):
  """Then it is no part of what the optimizer remembers of gradients."""
  grads = [[0.1, -0.2], [0.3, 0.4]]
  (plain, without), (decayed, state) = (one_step(name, grads, weight_decay=d) for d in (0.0, 0.3))
  assert (plain != decayed).any()
  pairs = zip(without, state, strict=True)
  same = all(np.array_equal(a, b) for a, b in pairs if np.ndim(a) == 2)
  assert same == OPTIMIZERS[name].decoupled_decay


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_an_entry_says_whether_coordinates_are_scaled(name):
  """Then a coordinate with a hundred times the gradient steps about as far as the others."""
  updates, _ = one_step(name, [[0.001, 0.0], [0.0, 0.1]], nesterov=False)
  ratio = updates[1, 1] / updates[0, 0]
  close = 0.4 if name == 'muon' else 0.1  # its five iterations end near orthogonal matrices
  assert ratio == pytest.approx(1 if OPTIMIZERS[name].adaptive else 100, rel=close)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_an_entry_says_whether_nesterov_is_read(name):
  grads = [[0.1, -0.2], [0.3, 0.4]]
  (plain, _), (nesterov, _) = (one_step(name, grads, nesterov=on) for on in (False, True))
  assert (plain != nesterov).any() == OPTIMIZERS[name].nesterov
