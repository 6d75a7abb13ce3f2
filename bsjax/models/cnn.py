"""Small convolutional network."""

from functools import partial

import flax.linen as nn

from bsjax.models import base
from bsjax.models.base import ImageClassifier, Images, Logits
from bsjax.models.pooling import max_pool


class CNN(ImageClassifier, kw_only=True):
  """Two 3x3 convolutions, each halving the image by a maximum, and a dense layer.

  Channels: `width`, then twice as many; the dense layer has four times as many units. Images
  have at least 4 pixels a side.
  """

  width: int = 32

  @nn.compact
  def __call__(self, x: Images, train: bool) -> Logits:
    conv = base.conv_layer(self)
    dense = partial(nn.Dense, use_bias=self.normalization == 'none', **base.layer_fields(self))
    norm = base.norm_layer(self, train)
    for channels in (self.width, 2 * self.width):
      x = conv(channels, (3, 3))(x)
      x = max_pool(nn.relu(norm(x)), (2, 2), (2, 2))
    x = nn.relu(norm(dense(4 * self.width)(x.reshape(len(x), -1))))
    return base.classifier(self)(x)
