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


def _drawn_as_matrix(initializer: Callable[..., Array]) -> Callable[..., Array]:
  def initialize(
    key: Key[Array, ''], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
  ) -> Float[Array, '*shape']:
    return initializer(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)

  return initialize


# Truncated normal of variance 2 / fan-in (He et al. 2015), for layers before a ReLU, with the
# numbers of flax; of variance 1 / fan-in, for layers with no ReLU behind them; and of standard
# deviation 0.02 whatever the fan-in, as transformers have it.
he_normal = _drawn_as_matrix(nn.initializers.he_normal())
lecun_normal = _drawn_as_matrix(nn.initializers.lecun_normal())
small_normal = _drawn_as_matrix(nn.initializers.truncated_normal(0.02))
