"""The maximum over windows of images, with a gradient that no rounding can lose."""

from collections.abc import Sequence
from functools import reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def larger(x: Float[Array, '*shape'], y: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """The larger of two, elementwise; where they are equal, `x` gets the gradient.

  `jnp.maximum` and `jnp.max` ask which operand equals the maximum. XLA may compute the operands
  anew beside the gradient and round them otherwise; then none equals the maximum that was stored,
  and the gradient is lost. Here the operands are compared with one another.
  """
  return jnp.maximum(x, y)


@larger.defjvp
def _of_the_larger(operands: tuple, tangents: tuple) -> tuple[Array, Array]:
  x, y = operands
  return larger(x, y), jnp.where(x >= y, *tangents)


def max_pool(
  images: Float[Array, 'batch height width channel'],
  window: tuple[int, int],
  strides: tuple[int, int],
  padding: str | Sequence[tuple[int, int]] = 'VALID',
) -> Float[Array, 'batch out_height out_width channel']:
  """Maximum over windows; faster on CPU where the windows tile the image exactly.

  A step of the small CNN would take 1.3 to 1.4 times as long there with Flax's (`native` aside).
  The first of equal maxima gets the gradient; in a tile the first of a row, then of the rows.
  """
  batch, height, width, channels = images.shape
  tiles = window == strides and height % window[0] == 0 and width % window[1] == 0
  if tiles and padding in ('VALID', 'SAME'):
    rows, columns = height // window[0], width // window[1]
    tiled = images.reshape(batch, rows, window[0], columns, window[1], channels)
    across = reduce(larger, [tiled[:, :, :, :, i] for i in range(window[1])])
    return reduce(larger, [across[:, :, i] for i in range(window[0])])
  return nn.max_pool(images, window, strides, padding)
