"""Studies whose lanes stand still, and the exact noise of their training set."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bsjax import models
from bsjax.data import stream
from bsjax.models import convolution
from helpers.small import small_config


def still_config(**overrides):
  """A study whose lanes do not move, so that every update measures at the same parameters."""
  keys = {'learning_rates': (1e-30,), 'epochs': 60.0, 'trials': 1, 'optimizer__momentum': 0.0}
  return small_config(**{**keys, 'noise_scale__probe_every': 1, **overrides})


def exact(config, dataset, params):
  """The trace of the gradients' covariance (normalized by N - 1) and |G|^2, from every example."""
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
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
