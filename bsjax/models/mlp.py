"""Multilayer perceptron."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from bsjax.models import normalization
from bsjax.models.arithmetic import classifier, keep_bias
from bsjax.models.initializers import he_normal


class MLP(nn.Module):
  """Hidden layers of equal width with ReLU; of depth 0, softmax regression, which is convex."""

  num_classes: int
  width: int = 256
  depth: int = 2
  normalization: str = 'group'
  dtype: DTypeLike = jnp.float32
  precision: lax.PrecisionLike = None
  batch_norm_momentum: float = 0.9
  frozen_norms: frozenset[str] = frozenset()

  @nn.compact
  def __call__(
    self, x: Float[Array, 'batch height width channel'], train: bool
  ) -> Float32[Array, 'batch class']:
    dense = partial(
      nn.Dense,
      dtype=self.dtype,
      precision=self.precision,
      promote_dtype=keep_bias,
      kernel_init=he_normal,
    )
    norm = normalization.of(self, train)
    x = x.reshape(len(x), -1)
    for _ in range(self.depth):
      x = dense(self.width, use_bias=self.normalization == 'none')(x)
      x = nn.relu(norm(x))
    return classifier(self.num_classes, self.dtype, self.precision)(x)
