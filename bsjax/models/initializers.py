"""Initial weights."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key


def he_normal(
  key: Key[Array, ''], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Float[Array, '*shape']:
  """Truncated normal of variance 2 / fan-in (He et al. 2015), for layers before a ReLU.

  The numbers are those of flax, drawn as a matrix: XLA:CPU takes seconds to compile each random
  array of four axes, and an eighth of that for two.
  """
  matrix = (math.prod(shape[:-1]), shape[-1])
  return nn.initializers.he_normal()(key, matrix, dtype).reshape(shape)
