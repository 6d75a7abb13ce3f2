"""Network of Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bsjax.models.base import ImageClassifier, Images, Logits, classifier, conv_layer, norm_layer
from bsjax.models.initializers import lecun_normal
from bsjax.models.small_images import is_small, late_strides

USUAL_WIDTH = 32  # channels of the first layer at width multiplier 1
Stages = tuple[tuple[int, int, int, int, int], ...]
# Expansion, channels, blocks, stride and kernel size of each stage: table 2 (arXiv:1801.04381).
STAGES: Stages = (
  (1, 16, 1, 1, 3),
  (6, 24, 2, 2, 3),
  (6, 32, 3, 2, 3),
  (6, 64, 4, 2, 3),
  (6, 96, 3, 1, 3),
  (6, 160, 3, 2, 3),
  (6, 320, 1, 1, 3),
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
  kernel: int
  squeeze: int

  @nn.compact
  def __call__(self, x: Images) -> Float[Array, 'batch out_height out_width out_channel']:
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

  def _gate(self, x: Images) -> Float[Array, 'batch 1 1 channel']:
    conv = partial(self.conv, kernel_size=(1, 1), use_bias=True)
    mean = x.astype(jnp.float32).mean((1, 2), keepdims=True)
    hidden = self.activation(conv(self.squeeze)(mean))
    return nn.sigmoid(conv(x.shape[-1], kernel_init=lecun_normal)(hidden)).astype(x.dtype)


def rounded(channels: float) -> int:
  """The multiple of 8 nearest to a scaled number of channels, but never below nine tenths of it."""
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest + 8 if nearest < 0.9 * channels else nearest


def relu6(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """ReLU that ends at 6, by a comparison: `larger` of pooling.py tells why not by a minimum."""
  return jnp.where(x > 6, 6, nn.relu(x))


class MobileNetV2(ImageClassifier, kw_only=True):
  """Stages of inverted residuals with ReLU6.

  `width` is the number of channels of the first layer: over 32 it is the published width
  multiplier, which scales all layers (to multiples of 8) but, below 1, the last convolution.
  Images larger than 64 pixels are shrunk by 32, smaller ones by `small_stride`: the first strides
  of 2 become 1, so 32 is as published, and half as much costs up to 4 times. Dropout is left
  out, because its randomness is not the batch's.
  """

  width: int = USUAL_WIDTH
  stages: Stages = STAGES
  small_stride: int = 8
  activation: Callable[[Array], Array] = relu6
  gated: int = 0  # input channels of a block for each channel of its gate; 0: no gates
  least_last: float = 1.0  # factor on the channels of the last convolution

  @nn.compact
  def __call__(self, x: Images, train: bool) -> Logits:
    conv, norm = conv_layer(self), norm_layer(self, train)
    act, zero_conv = self.activation, self.normalization == 'none'
    block = partial(InvertedResidual, conv=conv, norm=norm, zero_conv=zero_conv, activation=act)
    multiplier = self.width / USUAL_WIDTH
    published = (2, *(stride for *_, stride, _ in self.stages))
    first, *strides = late_strides(published, self.small_stride if is_small(x) else 32)
    x = act(norm(conv(self.width, (3, 3), (first, first), padding=1)(x)))
    for (expansion, channels, blocks, _, kernel), stride in zip(self.stages, strides, strict=True):
      for index in range(blocks):
        squeeze = max(1, x.shape[-1] // self.gated) if self.gated else 0
        out, step = rounded(channels * multiplier), stride if index == 0 else 1
        x = block(out, expansion, step, kernel=kernel, squeeze=squeeze)(x)
    x = act(norm(conv(rounded(LAST * max(self.least_last, multiplier)), (1, 1))(x)))
    x = x.astype(jnp.float32).mean((1, 2))
    return classifier(self, name='head')(x)
