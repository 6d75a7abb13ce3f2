"""Initial weights.

All are drawn as matrices: XLA:CPU takes seconds to compile each random array of four axes, and an
eighth of that for two.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key


def he_normal(
  key: Key[Array, ''], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Float[Array, '*shape']:
  """Truncated normal of variance 2 / fan-in (He et al. 2015), for layers before a ReLU.

  The numbers are those of flax.
  """
  return _drawn_as_matrix(nn.initializers.he_normal(), key, shape, dtype)


def lecun_normal(
  key: Key[Array, ''], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Float[Array, '*shape']:
  """Truncated normal of variance 1 / fan-in, for layers with no ReLU behind them."""
  return _drawn_as_matrix(nn.initializers.lecun_normal(), key, shape, dtype)


def small_normal(
  key: Key[Array, ''], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Float[Array, '*shape']:
  """Truncated normal of standard deviation 0.02 whatever the fan-in, as transformers have it."""
  return _drawn_as_matrix(nn.initializers.truncated_normal(0.02), key, shape, dtype)


def _drawn_as_matrix(initializer: Callable[..., Array], key, shape, dtype) -> Array:
  matrix = (math.prod(shape[:-1]), shape[-1])
  return initializer(key, matrix, dtype).reshape(shape)
