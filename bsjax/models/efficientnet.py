"""Network of Tan and Le 2019, "EfficientNet: Rethinking Model Scaling" (arXiv:1905.11946)."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from bsjax.models.base import ImageClassifier, classifier, conv_layer, norm_layer
from bsjax.models.mobilenet import InvertedResidual, rounded
from bsjax.models.small_images import is_small, late_strides

USUAL_WIDTH = 32  # channels of the first layer of EfficientNet-B0
# Expansion, channels, blocks, stride and kernel size of each stage: table 1.
STAGES = (
  (1, 16, 1, 1, 3),
  (6, 24, 2, 2, 3),
  (6, 40, 2, 2, 5),
  (6, 80, 3, 2, 3),
  (6, 112, 3, 1, 5),
  (6, 192, 4, 2, 5),
  (6, 320, 1, 1, 3),
)
LAST = 1280  # channels of the last convolution
SQUEEZE = 4  # input channels of a block for each channel of its gate's hidden layer


class EfficientNetB0(ImageClassifier, kw_only=True):
  """Stages of gated inverted residuals with SiLU, of 3x3 or 5x5 pixels.

  `width` is the number of channels of the first layer; over 32 it is a factor on the channels of
  all others (to multiples of 8), as between the published sizes, whose depths are not scaled here.
  Images larger than 64 pixels are shrunk by 32, smaller ones by `small_stride`: the first strides
  of 2 become 1, so 32 is as published, and half as much costs up to 4 times. Dropout and
  stochastic depth are left out, because their randomness is not the batch's.
  """

  width: int = USUAL_WIDTH
  stages: tuple[tuple[int, int, int, int, int], ...] = STAGES
  small_stride: int = 8

  @nn.compact
  def __call__(
    self, x: Float[Array, 'batch height width channel'], train: bool
  ) -> Float32[Array, 'batch class']:
    conv, norm = conv_layer(self), norm_layer(self, train)
    block = partial(
      InvertedResidual,
      conv=conv,
      norm=norm,
      zero_conv=self.normalization == 'none',
      activation=nn.silu,
    )
    first, *strides = late_strides(
      (2, *(stride for *_, stride, _ in self.stages)), self.small_stride if is_small(x) else 32
    )
    x = nn.silu(norm(conv(self.width, (3, 3), (first, first), padding=1)(x)))
    for (expansion, channels, blocks, _, kernel), stride in zip(self.stages, strides, strict=True):
      for index in range(blocks):
        squeeze = max(1, x.shape[-1] // SQUEEZE)
        x = block(
          self._scaled(channels),
          expansion,
          stride if index == 0 else 1,
          kernel=kernel,
          squeeze=squeeze,
        )(x)
    x = nn.silu(norm(conv(self._scaled(LAST), (1, 1))(x)))
    x = x.astype(jnp.float32).mean((1, 2))
    return classifier(self, name='head')(x)

  def _scaled(self, channels: int) -> int:
    return rounded(channels * self.width / USUAL_WIDTH)
