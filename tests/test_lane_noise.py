"""The noise scale that lanes measure while training, against the exact one of the training set."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import small_config, trained

from bsjax import data, models, noise_scale, ops, stream


def still_config(**overrides):
  """A study whose lanes do not move, so that every update measures at the same parameters."""
  keys = {'learning_rates': (1e-30,), 'epochs': 60.0, 'trials': 1, 'optimizer__momentum': 0.0}
  return small_config(**{**keys, 'noise_scale__probe_every': 1, **overrides})


def exact(config, dataset, params):
  """The trace of the gradients' covariance (normalized by N - 1) and |G|^2, from every example."""
  model = models.create(config.model, dataset.num_classes, conv=ops.conv('native'))
  images = stream.normalize(jnp.asarray(dataset.train.images), dataset.mean, dataset.std)

  def loss(params, image, label):
    logits = model.apply({'params': params}, image[None], train=True)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label[None])[0]

  grads = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(
    params, images, jnp.asarray(dataset.train.labels)
  )
  flat = np.concatenate(
    [np.asarray(g, np.float64).reshape(len(g), -1) for g in jax.tree.leaves(grads)], axis=1
  )
  return flat.var(axis=0, ddof=1).sum(), (flat.mean(axis=0) ** 2).sum()


# Updates within an epoch, over its end, longer than a whole one; and lanes of one micro-batch an
# update, which probe; with `probe_every=1` neighbouring pairs share a batch, hence the wider band.
@pytest.mark.parametrize(
  'sizes, micro, band',
  [((16, 64), 8, 4.0), ((192,), 64, 4.0), ((8,), 8, 5.0), ((16, 32), 'batch', 5.0)],
)
@pytest.mark.parametrize('how', ['map', 'vmap'])
def test_lanes_measure_the_noise_of_their_training_set(sizes, micro, band, how):
  config = still_config(batch_sizes=sizes, micro_batch=micro, execution__vectorize=how)
  dataset = data.load(config.data, config.seed)
  _, groups, _ = trained(config, dataset)
  for group in groups:
    params = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host().params)
    trace, grad_sq = exact(config, dataset, params)
    moments = group.noise()
    for i, lane in enumerate(group.group.lanes):
      found = noise_scale.summary(jax.tree.map(lambda x, i=i: x[i], moments))
      assert found['count'] >= 9000 // lane.batch_size - 1
      for name, expected in (('trace', trace), ('grad_sq', grad_sq)):
        error = np.sqrt(found[f'{name}_var'] / found['count'])
        assert error < 0.1 * expected, (lane, name)
        assert abs(found[name] - expected) < band * error, (lane, name, found[name], expected)


def test_windows_start_anew():
  config = still_config(batch_sizes=(16,), micro_batch=8, epochs=4.0)
  _, (group,), _ = trained(config)
  assert group.noise().count == [38]
  assert group.noise().count == [0]


def test_probes_can_be_switched_off_and_spaced():
  counts = {}
  for every in (0, 1, 4):
    config = still_config(batch_sizes=(8, 16), noise_scale__probe_every=every, epochs=4.0)
    _, (group,), _ = trained(config)
    counts[every] = list(group.noise().count)
  ticks = group.ticks
  assert counts == {0: [0, ticks // 2], 1: [ticks, ticks // 2], 4: [-(-ticks // 4), ticks // 2]}
