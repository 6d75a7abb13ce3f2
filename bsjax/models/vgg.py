"""Networks of Simonyan and Zisserman 2015, "Very Deep Convolutional Networks" (arXiv:1409.1556)."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

from bsjax.models import base
from bsjax.models.base import ImageClassifier, Images, Logits
from bsjax.models.pooling import max_pool
from bsjax.models.small_images import is_small

POOLED = 7  # pixels a side that the dense layers see of large images
MOST = 8  # times the first stage's channels that a stage has


class VGG(ImageClassifier, kw_only=True):
  """Stages of 3x3 convolutions, each ended by a maximum that halves the image, then dense layers.

  Channels double from stage to stage, up to 8 times `width`. Images larger than 64 pixels are
  averaged to 7x7 pixels before the two dense layers of 64 times `width` units of table 1. Small
  images have the mean over pixels and the classifier alone, as is usual for CIFAR-10, and are not
  halved beyond one pixel. Convolutions in front of a normalization have a bias on large images
  only, as published: in front of a BatchNorm its gradient is nothing but rounding. Dropout is left
  out, because its randomness is not the batch's.
  """

  stages: tuple[int, ...]
  width: int = 64

  @nn.compact
  def __call__(self, x: Images, train: bool) -> Logits:
    small = is_small(x)
    conv = base.conv_layer(self, use_bias=self.normalization == 'none' or not small)
    norm = base.norm_layer(self, train)
    for stage, layers in enumerate(self.stages):
      for _ in range(layers):
        x = nn.relu(norm(conv(self.width * min(2**stage, MOST), (3, 3), padding=1)(x)))
      if min(x.shape[1:3]) > 1:
        x = max_pool(x, (2, 2), (2, 2))
    if small:
      x = x.astype(jnp.float32).mean((1, 2))
    else:
      x = _pool(x).astype(self.dtype).reshape(len(x), -1)
      for _ in range(2):
        x = nn.relu(nn.Dense(64 * self.width, **base.layer_fields(self))(x))
    return base.classifier(self, name='head')(x)


def _pool(x: Images) -> Float32[Array, 'batch rows columns channel']:
  """Means over `POOLED` x `POOLED` parts of the image, which overlap where pixels do not add up."""
  rows, columns = (_parts(size) for size in x.shape[1:3])
  highest = lax.Precision.HIGHEST
  return jnp.einsum('nhwc,rh,sw->nrsc', x.astype(jnp.float32), rows, columns, precision=highest)


def _parts(size: int) -> Float[np.ndarray, 'part pixel']:
  """The weight of each of `size` pixels in each of `POOLED` means."""
  part, pixel = np.arange(POOLED)[:, None], np.arange(size)
  first, end = part * size // POOLED, -(-(part + 1) * size // POOLED)
  inside = (first <= pixel) & (pixel < end)
  return np.asarray(inside / inside.sum(1, keepdims=True), np.float32)
