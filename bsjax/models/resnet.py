"""Residual networks of He et al. 2016, "Deep Residual Learning for Image Recognition"."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bsjax.models.base import ImageClassifier, Images, Logits, classifier, conv_layer, norm_layer
from bsjax.models.pooling import max_pool
from bsjax.models.small_images import is_small


class Block(nn.Module):
  """Two 3x3 convolutions beside a shortcut.

  The branch starts at zero: by the scale of its last normalization (Goyal et al. 2017, "Accurate,
  Large Minibatch SGD"), or without normalization by its last convolution (as in Zhang et al. 2019,
  "Fixup Initialization"), which keeps deep networks trainable.
  """

  channels: int
  stride: int
  projection: bool
  conv: Callable[..., nn.Module]
  norm: Callable[..., Array]
  zero_conv: bool

  @nn.compact
  def __call__(self, x: Images) -> Float[Array, 'batch out_height out_width out_channel']:
    zeros = nn.initializers.zeros
    branch = self.conv(self.channels, (3, 3), (self.stride, self.stride), padding=1)(x)
    branch = nn.relu(self.norm(branch))
    last = {'kernel_init': zeros} if self.zero_conv else {}
    branch = self.conv(self.channels, (3, 3), padding=1, **last)(branch)
    branch = self.norm(branch, scale_init=zeros)
    return nn.relu(branch + self._shortcut(x))

  def _shortcut(self, x):
    """Identity; where the shape changes a 1x1 projection, or subsampling and zero channels."""
    if self.stride == 1 and x.shape[-1] == self.channels:
      return x
    if self.projection:
      return self.norm(self.conv(self.channels, (1, 1), (self.stride, self.stride))(x))
    x = x[:, :: self.stride, :: self.stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.channels - x.shape[-1])))


class ResNet(ImageClassifier, kw_only=True):
  """Stages of residual blocks; each stage but the first halves the image and doubles the channels.

  With `projection=False`, three stages and width 16 it is the network of section 4.2 (CIFAR-10,
  shortcuts of option A); with projections (option B), four stages and width 64 that of table 1.
  The stem is a 3x3 convolution, and on images larger than 64 pixels the 7x7 convolution and the
  pooling of table 1.
  """

  stages: tuple[int, ...]
  projection: bool
  width: int

  @nn.compact
  def __call__(self, x: Images, train: bool) -> Logits:
    conv, norm = conv_layer(self), norm_layer(self, train)
    zero_conv = self.normalization == 'none'
    if is_small(x):
      x = nn.relu(norm(conv(self.width, (3, 3), padding=1)(x)))
    else:
      x = nn.relu(norm(conv(self.width, (7, 7), (2, 2), padding=3)(x)))
      x = max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for stage, blocks in enumerate(self.stages):
      for block in range(blocks):
        stride = 2 if stage > 0 and block == 0 else 1
        channels = self.width * 2**stage
        x = Block(channels, stride, self.projection, conv, norm, zero_conv)(x)
    x = x.astype(jnp.float32).mean((1, 2))
    return classifier(self)(x)
