"""Vision transformers of Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from bsjax.models.base import ImageClassifier, Images, Logits, classifier, layer_fields, norm_layer
from bsjax.models.initializers import small_normal
from bsjax.models.small_images import is_small

PATCH = 16  # pixels a side
HEAD_CHANNELS = 64  # of an attention head


class Tokens(nn.Module):
  """A token for each patch of an image, each with what its place adds, behind one for the class."""

  width: int
  patch: int
  dense: Callable[..., Array]

  @nn.compact
  def __call__(self, x: Images) -> Float[Array, 'batch token token_channel']:
    x = self.dense(_patches(x, self.patch), self.width)
    x = (x + self._positions(*x.shape[1:3]).astype(x.dtype)).reshape(len(x), -1, self.width)
    params = [self.param(name, small_normal, (self.width,)) for name in ('class', 'class_position')]
    first = jnp.broadcast_to(sum(params).astype(x.dtype), (len(x), 1, self.width))
    return jnp.concatenate([first, x], axis=1)

  def _positions(self, rows: int, columns: int) -> Float32[Array, 'rows columns channel']:
    """What each patch's place adds to it."""
    shape = (rows, columns, self.width)
    known = self.has_variable('params', 'positions')
    table_shape = self.get_variable('params', 'positions').shape if known else shape
    table = self.param('positions', small_normal, table_shape)
    return table if table_shape == shape else jax.image.resize(table, shape, 'linear')


class Block(nn.Module):
  """Attention between tokens, then two dense layers for each of them, both added to the input.

  Without normalization (`zero_last`) both branches start at zero. `dense(x, features)` is a layer.
  """

  heads: int
  dense: Callable[..., Array]
  norm: Callable[..., Array]
  zero_last: bool
  precision: lax.PrecisionLike

  @nn.compact
  def __call__(self, x: Float[Array, 'batch token channel']) -> Float[Array, 'batch token channel']:
    width = x.shape[-1]
    last = {'kernel_init': nn.initializers.zeros} if self.zero_last else {}
    mixed = self._attend(self.dense(self.norm(x), 3 * width))
    x = x + self.dense(mixed, width, **last)
    hidden = nn.gelu(self.dense(self.norm(x), 4 * width), approximate=False)
    return x + self.dense(hidden, width, **last)

  def _attend(
    self, qkv: Float[Array, 'batch token three_channels']
  ) -> Float[Array, 'batch token channel']:
    """Softmax attention; its weights are float32 whatever the tokens are."""
    batch, tokens, _ = qkv.shape
    split = qkv.reshape(batch, tokens, 3, self.heads, -1)
    queries, keys, values = (split[:, :, i].swapaxes(1, 2) for i in range(3))
    product = partial(jnp.einsum, precision=self.precision)
    scores = product('nhqc,nhkc->nhqk', queries, keys).astype(jnp.float32)
    weights = nn.softmax(scores * queries.shape[-1] ** -0.5).astype(qkv.dtype)
    mixed = product('nhqk,nhkc->nhqc', weights, values)
    return mixed.swapaxes(1, 2).reshape(batch, tokens, -1)


class ViT(ImageClassifier, kw_only=True):
  """Patches of images as tokens of `width` channels.

  Patches have 16 pixels a side, and `small_stride` on images of up to 64 pixels. Tiny has 192
  channels, small 384 (Touvron et al. 2021, "Training data-efficient image transformers", table 1);
  a head has 64 of them, or a few more where that does not divide `width`.

  `normalization` 'group' is the published LayerNorm, a single group; 'batch' puts BatchNorm over
  examples and tokens in its place, as in Yao et al. 2021, "Leveraging Batch Normalization for
  Vision Transformers"; 'none' has nothing there, and branches that start at zero. On images of
  another size than that of the parameters, positions are interpolated (section 3.2). Dropout and
  stochastic depth are left out, because their randomness is not the batch's.
  """

  width: int
  depth: int = 12
  small_stride: int = 4

  @nn.compact
  def __call__(self, x: Images, train: bool) -> Logits:
    patch = self.small_stride if is_small(x) else PATCH
    dense = partial(_dense, **layer_fields(self) | {'kernel_init': small_normal})
    norm = norm_layer(self, train)
    if self.normalization == 'group':
      norm = partial(_layer_norm, dtype=self.dtype)
    x = Tokens(self.width, patch, dense, name='embedding')(x)
    zero_last = self.normalization == 'none'
    for _ in range(self.depth):
      x = Block(_heads(self.width), dense, norm, zero_last, self.precision)(x)
    x = norm(x[:, 0]).astype(jnp.float32)
    return classifier(self, kernel_init=small_normal, name='head')(x)


def _dense(
  x: Float[Array, '*batch input'], features: int, **fields: Any
) -> Float[Array, '*batch output']:
  """Adds a dense layer to the module being built and applies it."""
  return nn.Dense(features, **fields)(x).astype(fields['dtype'])


def _layer_norm(
  x: Float[Array, '*batch channel'], dtype: DTypeLike
) -> Float[Array, '*batch channel']:
  """Adds a layer normalization to the module being built and applies it."""
  return nn.LayerNorm(dtype=dtype)(x)


def _heads(width: int) -> int:
  most = max(1, width // HEAD_CHANNELS)
  return max(heads for heads in range(1, most + 1) if width % heads == 0)


def _patches(x: Images, size: int) -> Float[Array, 'batch rows columns input']:
  """Cuts images, filled up with zeros to whole patches, into patches: rows first, then columns."""
  fill = [(0, 0), *((0, -side % size) for side in x.shape[1:3]), (0, 0)]
  x = jnp.pad(x, fill)
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // size, size, width // size, size, channels)
  return x.swapaxes(2, 3).reshape(batch, height // size, width // size, -1)
