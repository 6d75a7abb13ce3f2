"""Models as the tests build them, and what tests count of them."""

import re

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from bsjax import models
from bsjax.config.keys import base_config
from bsjax.models import convolution

SMALL = {
  **{'mlp': 16, 'cnn': 4, 'resnet8': 4, 'resnet20': 4, 'resnet18': 4, 'resnet34': 4},
  **{'vgg11': 4, 'vgg16': 4, 'mobilenet_v2': 4, 'efficientnet_b0': 4, 'vit_tiny': 16},
  'vit_small': 16,
}


def model_config(name, **changes):
  config = base_config().model
  config.name = name
  config.update(changes)
  return config


def build(name, num_classes=4, form='canonical', **changes):
  return models.create(model_config(name, **changes), num_classes, convolution.conv(form))


def shapes(model, images=(2, 8, 8, 1)):
  return jax.eval_shape(
    lambda: model.init(jax.random.key(0), jnp.zeros(images, jnp.float32), train=True)
  )


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def step_gradient(model, images, labels):
  """The gradient of a training step as a function of `{'params': ...}` and the rest."""

  def loss(params, rest):
    logits, _ = model.apply({'params': params, **rest}, images, train=True, mutable=['batch_stats'])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  return jax.grad(loss)


def products(text):
  """(operand types, precisions) of every matrix product and convolution in a lowered program."""
  lines = [x for x in text.splitlines() if re.search(r'stablehlo\.(dot_general|convolution)', x)]
  operands = [re.findall(r'tensor<([^>]*)>', line.rpartition(' : ')[2])[:2] for line in lines]
  return [
    (shapes, re.findall(r'\b(?:DEFAULT|HIGH|HIGHEST)\b', line))
    for shapes, line in zip(operands, lines, strict=True)
  ]


def batch_norm_paths(model, image_shape):
  """The module paths of BatchNorm layers, each with the paths of its parameters.

  As `{'Block_0/BatchNorm_1': ('Block_0/BatchNorm_1/scale', 'Block_0/BatchNorm_1/bias')}`, in the
  order of the paths, as `frozen_norms` has them.
  """
  images = jnp.zeros((1, *image_shape))
  variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
  statistics = traverse_util.flatten_dict(variables.get('batch_stats', {}))
  paths = sorted({path[:-1] for path in statistics})
  return {
    '/'.join(path): tuple('/'.join((*path, leaf)) for leaf in ('scale', 'bias')) for path in paths
  }
