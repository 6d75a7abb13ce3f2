"""Small convolutional network."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from bsjax.models import normalization
from bsjax.models.arithmetic import classifier, keep_bias
from bsjax.models.convolution import max_pool
from bsjax.models.initializers import he_normal


class CNN(nn.Module):
  """Two 3x3 convolutions, each halving the image by a maximum, and a dense layer.

  Channels: `width`, then twice as many; the dense layer has four times as many units. Images
  have at least 4 pixels a side.
  """

  num_classes: int
  width: int = 32
  normalization: str = 'group'
  dtype: DTypeLike = jnp.float32
  precision: lax.PrecisionLike = None
  conv: Callable[..., Array] = lax.conv_general_dilated
  batch_norm_momentum: float = 0.9
  frozen_norms: frozenset[str] = frozenset()

  @nn.compact
  def __call__(
    self, x: Float[Array, 'batch height width channel'], train: bool
  ) -> Float32[Array, 'batch class']:
    layer = {
      'use_bias': self.normalization == 'none',
      'dtype': self.dtype,
      'precision': self.precision,
      'promote_dtype': keep_bias,
      'kernel_init': he_normal,
    }
    norm = normalization.of(self, train)
    for channels in (self.width, 2 * self.width):
      x = nn.Conv(channels, (3, 3), conv_general_dilated=self.conv, **layer)(x)
      x = max_pool(nn.relu(norm(x)), (2, 2), (2, 2))
    x = nn.relu(norm(nn.Dense(4 * self.width, **layer)(x.reshape(len(x), -1))))
    return classifier(self.num_classes, self.dtype, self.precision)(x)
