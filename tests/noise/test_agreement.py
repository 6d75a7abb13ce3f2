"""All estimators of the noise scale on one trained network, against its exact noise scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config, trained
from jax.flatten_util import ravel_pytree

from bsjax import data
from bsjax.data import stream
from bsjax.engine import lanes
from bsjax.noise import estimators, exact, pooling
from bsjax.stats.intervals import fieller, fieller_from_moments
from bsjax.train import rows

CONFIDENCE = 0.99  # of each of nine intervals, which are to hold together
STILL = 3200  # examples after which the lanes are kept where they are


@pytest.fixture(scope='module')
def network():
  """Lanes that have learned their digits and move no more: the group, its data, its windows."""
  config = small_config(
    batch_sizes=(8, 16, 64), learning_rates=(0.1,), trials=1, epochs=240.0, micro_batch=8
  )
  config.optimizer.momentum = 0.0
  config.noise_scale.probe_every = 1
  config.noise_scale.exact_examples = 150
  dataset = data.load(config.data, config.seed)
  study, (group,), on_device = trained(config, dataset, examples=STILL)
  group.evaluate(on_device)()
  (part,) = group.parts
  part.lane_params = part.lane_params.replace(learning_rate=0 * part.lane_params.learning_rate)
  params = group.to_host().params
  while group.position < study.total_examples:
    group.advance(on_device, (study.total_examples - group.position) // study.block_examples)
  jax.tree.map(np.testing.assert_array_equal, params, group.to_host().params)
  return group, dataset, group.evaluate(on_device)()


def example_gradients(group, dataset, params):
  """The gradient of every training example, `[example, parameter]`."""
  theta, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
  images = stream.normalize(jnp.asarray(dataset.train.images), dataset.mean, dataset.std)

  def loss(theta, image, label):
    variables = {'params': unravel(theta)}
    return lanes.evaluation_losses(group.spec, variables, image[None], label[None])[0]

  labels = jnp.asarray(dataset.train.labels)
  grads = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(theta, images, labels)
  return np.asarray(grads, np.float64)


def exact_noise_scale(grads):
  return grads.var(0, ddof=1).sum() / (grads.mean(0) ** 2).sum()


def two_batch_sizes(grads, random, draws=1500):
  """An interval from pairs of independent batches, of 8 and of 64 examples."""
  squares = [
    [(grads[random.permutation(150)[:size]].mean(0) ** 2).sum() for _ in range(draws)]
    for size in (8, 64)
  ]
  estimate = jax.vmap(
    lambda small, big: estimators.from_two_batch_sizes(small, 8, big, 64, population=150)
  )(*jnp.asarray(squares, jnp.float32))
  return fieller(np.asarray(estimate.trace), np.asarray(estimate.grad_sq), CONFIDENCE)


def single_examples(grads, random):
  """An interval from 130 of the 150 examples."""
  some = grads[random.permutation(150)[:130]]
  products = (some**2).sum(1), some @ some.mean(0)
  return fieller_from_moments(exact.from_products(*products, 1, 150), CONFIDENCE)


@pytest.mark.parametrize('lane', [0, 1, 2])  # pairs of micro-batches; 2 and 8 of them an update
def test_all_estimators_agree_on_a_trained_network(network, lane):
  group, dataset, snapshot = network

  def own(tree):
    return jax.tree.map(lambda x: x[lane], tree)

  grads = example_gradients(group, dataset, own(group.to_host().params))
  truth = exact_noise_scale(grads)
  lane_params = jax.tree.map(lambda x: x[0, 0], group.parts[0].lane_params)
  start = lanes.init(group.spec, lane_params, dataset.image_shape).params
  assert truth > 3 * exact_noise_scale(example_gradients(group, dataset, start))  # it has learned

  whole = rows.columns(own(snapshot.probe), 150, 150, updates=1)['plain']
  assert whole['noise_scale'] == pytest.approx(truth, rel=1e-3)
  random = np.random.default_rng(lane)
  summary = estimators.window_summary(own(snapshot.noise['plain']))
  found = {
    'micro-batches': pooling.measured_interval([summary], CONFIDENCE),
    'single examples': single_examples(grads, random),
    'two batch sizes': two_batch_sizes(grads, random),
  }
  for name, interval in found.items():
    assert interval.low <= truth <= interval.high, (name, interval, truth)
    assert interval.high < 6 * interval.low, (name, interval)  # and it says something
