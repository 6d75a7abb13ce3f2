"""Dropout in lanes: lanes of a trial draw the same for an example, whatever their batch size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.data import stream
from bsjax.engine import lanes


class Dropped(nn.Module):
  """A hidden layer, half of it dropped in training."""

  @nn.compact
  def __call__(self, x, train):
    x = nn.relu(nn.Dense(16)(x.reshape(len(x), -1)))
    x = nn.Dropout(0.5, deterministic=not train)(x)
    return nn.Dense(10)(x)


class Mask(nn.Module):
  """What dropout leaves of ones."""

  @nn.compact
  def __call__(self, x, train):
    self.param('unused', nn.initializers.zeros, (1,))
    return nn.Dropout(0.5, deterministic=not train)(jnp.ones((len(x), 32)))


def config_of(**keys):
  config = small_config(learning_rates=(0.05,), **keys)
  config.optimizer.momentum = 0.0
  return config


@pytest.fixture(scope='module')
def dataset():
  config = config_of()
  return data.load(config.data, config.seed)


def masks(spec, trial, start, count):
  """The masks of `count` examples from a position on, which a lane takes in micro-batches."""
  size, found = spec.micro_batch, []
  for at in range(start, start + count, size):
    where = spec, jnp.int32(trial), jnp.int32(at), size
    images = jnp.zeros((size, 2, 2, 1))
    variables = {'params': {'unused': jnp.zeros(1)}, 'batch_stats': {}}
    found.append(
      lanes.training_outputs(
        Mask(), variables, images, lambda where=where: lanes.example_keys(*where)
      )[0]
    )
  return np.concatenate(found) > 0


def test_masks_are_those_of_trial_and_position_whatever_the_batch_size(dataset):
  groups = {}
  for size in (8, 16, 32):  # as one micro-batch each, and gathered from eights
    for micro in ('batch', 8):
      config = config_of(batch_sizes=(size,), micro_batch=micro)
      _, (groups[size, micro],), _ = trained(config, dataset, examples=0, model=Mask())
  drawn = {key: masks(group.spec, 0, 32, 32) for key, group in groups.items()}
  assert {group.spec.micro_batch for group in groups.values()} == {8, 16, 32}
  first = drawn.pop((8, 8))
  assert 0.4 < first.mean() < 0.6
  for key, mask in drawn.items():
    np.testing.assert_array_equal(mask, first, err_msg=str(key))
  spec = groups[32, 8].spec
  for other in (masks(spec, 1, 32, 32), masks(spec, 0, 64, 32)):
    assert 0.3 < (other != first).mean() < 0.7
  for i, a in enumerate(first):  # and every example has a mask of its own
    assert all((a != b).any() for b in first[:i])


@jax.jit
def plain_gradient(params, trial_key, images, labels, start):
  """The mean gradient over a batch, of losses of single examples with a key each."""
  model_key = jax.random.fold_in(trial_key, lanes.MODEL)

  def loss(params, image, label, position):
    rngs = {'dropout': jax.random.fold_in(model_key, position)}
    logits = Dropped().apply({'params': params}, image[None], train=True, rngs=rngs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label[None])[0]

  positions = start + jnp.arange(len(images))
  grads = jax.vmap(jax.grad(loss), (None, 0, 0, 0))(params, images, labels, positions)
  return jax.tree.map(lambda g: g.mean(0), grads)


def plain_loop(config, dataset, study, lane):
  """A lane's parameters, from whole batches and keys given by hand."""
  key = stream.trial_key(config.seed, jnp.int32(lane.trial))
  images = stream.normalize(jnp.asarray(dataset.train.images), dataset.mean, dataset.std)
  labels = jnp.asarray(dataset.train.labels)
  params = Dropped().init(jax.random.fold_in(key, lanes.INIT), images[:1], train=False)['params']
  orders = np.asarray(stream.epoch_orders(key, jnp.int32(0), 3, study.train_examples)).ravel()
  for first in range(0, study.total_examples, lane.batch_size):
    batch = orders[first : first + lane.batch_size]
    grads = plain_gradient(params, key, images[batch], labels[batch], first)
    params = jax.tree.map(lambda w, g: w - lane.learning_rate * g, params, grads)
  return params


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native'])
def test_lanes_with_dropout_equal_plain_loops_that_draw_the_same(dataset, how):
  config = config_of(execution__strategy=how, epochs=1.0, noise_scale__probe_every=4)
  study, (group,), _ = trained(config, dataset, model=Dropped())
  states = group.to_host()
  for i, lane in enumerate(group.group.lanes):
    params = jax.tree.map(lambda x, i=i: x[i], states.params)
    assert largest_difference(params, plain_loop(config, dataset, study, lane)) < 1e-5, lane


def test_nothing_is_dropped_in_evaluation(dataset):
  config = config_of(trials=1)
  _, (group,), on_device = trained(config, dataset, examples=96, model=Dropped())
  evaluation, states = group.evaluate(on_device)().evaluation, group.to_host()
  images = stream.normalize(jnp.asarray(dataset.train.images), dataset.mean, dataset.std)
  for i in range(len(group.group.lanes)):
    params = jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), states.params)
    first, last = params['Dense_0'], params['Dense_1']
    hidden = jax.nn.relu(images.reshape(len(images), -1) @ first['kernel'] + first['bias'])
    logits = hidden @ last['kernel'] + last['bias']
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, dataset.train.labels)
    np.testing.assert_allclose(evaluation.train.loss[i], losses.sum(), rtol=1e-4)


class DroppedWithBatchNorm(nn.Module):
  """Dropout beside a normalization over examples, which draws for the whole micro-batch."""

  batch_norm_momentum: float = 0.9

  @nn.compact
  def __call__(self, x, train):
    x = nn.Dense(16)(x.reshape(len(x), -1))
    x = nn.BatchNorm(use_running_average=not train, momentum=self.batch_norm_momentum)(x)
    return nn.Dense(10)(nn.Dropout(0.5, deterministic=not train)(nn.relu(x)))


def test_lanes_of_a_trial_share_masks_beside_batch_norm_too(dataset):
  config = config_of(batch_sizes=(8, 16), trials=1)
  config.learning_rates = (1e-30,)
  _, (group,), on_device = trained(config, dataset, model=DroppedWithBatchNorm())
  evaluation, states = group.evaluate(on_device)().evaluation, group.to_host()
  assert evaluation.finite.all()
  for leaf in jax.tree.leaves(states.batch_stats):  # the lanes saw the same batches of eight
    np.testing.assert_array_equal(leaf[0], leaf[1])


@pytest.mark.parametrize('model, asks', [(None, False), (Dropped(), True), (Mask(), True)])
def test_only_models_that_draw_are_given_keys(dataset, monkeypatch, model, asks):
  config, calls, keys = config_of(trials=1), [], lanes.example_keys
  monkeypatch.setattr(lanes, 'example_keys', lambda *where: calls.append(1) or keys(*where))
  _, (group,), _ = trained(config, dataset, examples=0, model=model)
  state = jax.tree.map(lambda x: x[0], group.to_host())
  images, labels = jnp.zeros((8, 8, 8, 1)), jnp.zeros(8, jnp.int32)
  zero = jnp.int32(0), jnp.int32(0)
  jax.eval_shape(lambda state: lanes.gradients(group.spec, state, *zero, images, labels), state)
  assert bool(calls) == asks
