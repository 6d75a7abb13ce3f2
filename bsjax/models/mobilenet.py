"""Network of Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from bsjax.models.base import ImageClassifier, classifier, conv_layer, norm_layer
from bsjax.models.initializers import lecun_normal
from bsjax.models.small_images import is_small, late_strides

USUAL_WIDTH = 32  # channels of the first layer at width multiplier 1
# Expansion, channels, blocks and stride of each stage: table 2 (arXiv:1801.04381).
STAGES = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
LAST = 1280  # channels of the last convolution


class InvertedResidual(nn.Module):
  """Widens by a 1x1 convolution, convolves each channel by itself, narrows without a ReLU.

  With the shape of its input it is added to it. `squeeze` channels, if any, of the mean over
  pixels gate the wide ones (Hu et al. 2018, "Squeeze-and-Excitation Networks"). Without
  normalization (`zero_conv`) an added branch starts at zero, which keeps deep networks trainable.
  """

  channels: int
  expansion: int
  stride: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., Array]
  zero_conv: bool
  activation: Callable[[Array], Array]
  kernel: int = 3
  squeeze: int = 0

  @nn.compact
  def __call__(
    self, x: Float[Array, 'batch height width channel']
  ) -> Float[Array, 'batch out_height out_width out_channel']:
    channels = x.shape[-1]
    wide = channels * self.expansion
    adds = self.stride == 1 and channels == self.channels
    out = x
    if self.expansion > 1:
      out = self.activation(self.norm(self.conv(wide, (1, 1))(out)))
    depthwise = self.conv(
      wide,
      (self.kernel, self.kernel),
      (self.stride, self.stride),
      padding=self.kernel // 2,
      feature_group_count=wide,
    )
    out = self.activation(self.norm(depthwise(out)))
    if self.squeeze:
      out = out * self._gate(out)
    init = nn.initializers.zeros if self.zero_conv and adds else lecun_normal
    out = self.norm(self.conv(self.channels, (1, 1), kernel_init=init)(out))
    return x + out if adds else out

  def _gate(
    self, x: Float[Array, 'batch height width channel']
  ) -> Float[Array, 'batch 1 1 channel']:
    conv = partial(self.conv, kernel_size=(1, 1), use_bias=True)
    mean = x.astype(jnp.float32).mean((1, 2), keepdims=True)
    hidden = self.activation(conv(self.squeeze)(mean))
    return nn.sigmoid(conv(x.shape[-1], kernel_init=lecun_normal)(hidden)).astype(x.dtype)


def rounded(channels: float) -> int:
  """The multiple of 8 nearest to a scaled number of channels, but never below nine tenths of it."""
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest + 8 if nearest < 0.9 * channels else nearest


class MobileNetV2(ImageClassifier, kw_only=True):
  """Stages of inverted residuals with ReLU6.

  `width` is the number of channels of the first layer: over 32 it is the published width
  multiplier, which scales all layers (to multiples of 8) but, below 1, the last convolution.
  Images larger than 64 pixels are shrunk by 32, smaller ones by `small_stride`: the first strides
  of 2 become 1, so 32 is as published, and half as much costs up to 4 times. Dropout is left
  out, because its randomness is not the batch's.
  """

  width: int = USUAL_WIDTH
  stages: tuple[tuple[int, int, int, int], ...] = STAGES
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
      activation=nn.relu6,
    )
    multiplier = self.width / USUAL_WIDTH
    first, *strides = late_strides(
      (2, *(stride for *_, stride in self.stages)), self.small_stride if is_small(x) else 32
    )
    x = nn.relu6(norm(conv(self.width, (3, 3), (first, first), padding=1)(x)))
    for (expansion, channels, blocks, _), stride in zip(self.stages, strides, strict=True):
      for index in range(blocks):
        x = block(rounded(channels * multiplier), expansion, stride if index == 0 else 1)(x)
    x = nn.relu6(norm(conv(rounded(LAST * max(1.0, multiplier)), (1, 1))(x)))
    x = x.astype(jnp.float32).mean((1, 2))
    return classifier(self, name='head')(x)
