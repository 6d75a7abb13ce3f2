"""What layers compute in; parameters, gradients and logits are float32 whatever that is."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, Float32


class Arithmetic(NamedTuple):
  """The type of activations and kernels, and how exactly they are multiplied, forth and back."""

  dtype: DTypeLike
  precision: lax.Precision


# Always said, because what JAX takes for no answer differs between accelerators.
ARITHMETIC = {
  'float32': Arithmetic(jnp.float32, lax.Precision.HIGHEST),
  'tf32': Arithmetic(jnp.float32, lax.Precision.HIGH),
  # A product of two bfloat16 numbers is exact in float32: a higher precision gains nothing.
  'bfloat16': Arithmetic(jnp.bfloat16, lax.Precision.DEFAULT),
}


def keep_bias(
  inputs: Float[Array, '*shape'],
  kernel: Float[ArrayLike, '*kernel'],
  bias: Float32[ArrayLike, ' channel'] | None,
  dtype: DTypeLike,
) -> tuple[Float[Array, '*shape'], Float[Array, '*kernel'], Float32[Array, ' channel'] | None]:
  """Casts all of a layer but its bias, as the layer's `promote_dtype`; with one, it gives float32.

  The gradient of a bias is a sum over examples and places, which in bfloat16 stops growing after
  a few hundred of them.
  """
  bias = None if bias is None else jnp.asarray(bias)
  return inputs.astype(dtype), jnp.asarray(kernel, dtype), bias
