"""Names of the layers of a model that one may treat apart: its head and its BatchNorm layers."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import PyTree

HEAD = 'head'  # the last layer of models that name it; others count their dense layers


def head(params: PyTree) -> str:
  """Returns the module path of the final classifier in a model's parameters.

  That is 'head', or in models without one the last of 'Dense_0', 'Dense_1' and so on. Raises
  ValueError where there is neither.
  """
  if HEAD in params:
    return HEAD
  dense = [name for name in params if re.fullmatch(r'Dense_\d+', name)]
  if not dense:
    raise ValueError(
      f'no classifier among the layers {", ".join(sorted(params))}: '
      f'a model calls its last dense layer {HEAD!r}, or Dense_N'
    )
  return max(dense, key=lambda name: int(name.removeprefix('Dense_')))


def batch_norm_paths(
  model: nn.Module, image_shape: tuple[int, int, int]
) -> dict[str, tuple[str, ...]]:
  """Returns the module paths of BatchNorm layers, each with the paths of its parameters.

  As `{'Block_0/BatchNorm_1': ('Block_0/BatchNorm_1/scale', 'Block_0/BatchNorm_1/bias')}`, in the
  order of the paths; it is for `frozen_norms`. Nothing is computed.
  """
  images = jnp.zeros((1, *image_shape))
  variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
  statistics = traverse_util.flatten_dict(variables.get('batch_stats', {}))
  paths = sorted({path[:-1] for path in statistics})
  return {
    '/'.join(path): tuple('/'.join((*path, leaf)) for leaf in ('scale', 'bias')) for path in paths
  }
