"""Up to which size images are small, and what models of large images change for them."""

import math
from collections.abc import Sequence

from jaxtyping import Array, Float

LARGEST_SMALL_IMAGE = 64  # pixels a side; models are built as published for larger ones
STRIDES = (1, 2, 4, 8, 16, 32)  # total strides that small images can have


def is_small(x: Float[Array, 'batch height width channel']) -> bool:
  """Whether images get the first layers, and the strides, of a network for small images."""
  return max(x.shape[1:3]) <= LARGEST_SMALL_IMAGE


def late_strides(published: Sequence[int], total: int) -> tuple[int, ...]:
  """The published strides of a network, all 1 but the last whose product is `total`.

  Halving late keeps the detail that an image of 32 pixels has little of; it is what
  implementations for CIFAR-10 do with networks for ImageNet.
  """
  strides = list(published)
  for layer in range(len(strides)):
    if math.prod(strides) > total:
      strides[layer] = 1
  return tuple(strides)
