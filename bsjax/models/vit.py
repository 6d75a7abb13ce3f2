"""Vision transformers of Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from bsjax.models import normalization
from bsjax.models.arithmetic import classifier, keep_bias
from bsjax.models.initializers import small_normal
from bsjax.models.small_images import is_small

PATCH, SMALL_PATCH = 16, 4  # pixels a side
HEAD_CHANNELS = 64  # of an attention head


class Block(nn.Module):
  """Attention between tokens, then two dense layers for each of them, both added to the input.

  Without normalization (`zero_last`) both branches start at zero.
  """

  heads: int
  dense: Callable[..., nn.Module]
  norm: Callable[..., Array]
  zero_last: bool
  precision: lax.PrecisionLike

  @nn.compact
  def __call__(self, x: Float[Array, 'batch token channel']) -> Float[Array, 'batch token channel']:
    width = x.shape[-1]
    last = {'kernel_init': nn.initializers.zeros} if self.zero_last else {}
    mixed = self._attend(self.dense(3 * width)(self.norm(x)))
    x = x + self.dense(width, **last)(mixed)
    # The exact GELU, which has a kink less than ReLU and no approximation by tanh.
    hidden = nn.gelu(self.dense(4 * width)(self.norm(x)), approximate=False)
    return x + self.dense(width, **last)(hidden)

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


class ViT(nn.Module):
  """Patches as tokens of `width` channels: of 4x4 pixels, or of 16x16 on images larger than 64.

  Tiny has 192 channels, small 384 (Touvron et al. 2021, "Training data-efficient image
  transformers", table 1); a head has 64 of them where that divides `width`, and otherwise there are
  as many heads as do, at most. `normalization` 'group' is the published LayerNorm, a single group;
  'batch' puts BatchNorm over examples and tokens in its place, as in Yao et al. 2021, "Leveraging
  Batch Normalization for Vision Transformers"; 'none' has nothing there, and branches that start at
  zero. On images of another size than that of the parameters, positions are interpolated (section
  3.2). Dropout and stochastic depth are left out, because their randomness is not the batch's.
  """

  num_classes: int
  width: int
  depth: int = 12
  normalization: str = 'group'
  dtype: DTypeLike = jnp.float32
  precision: lax.PrecisionLike = None
  batch_norm_momentum: float = 0.9
  frozen_norms: frozenset[str] = frozenset()

  @nn.compact
  def __call__(
    self, x: Float[Array, 'batch height width channel'], train: bool
  ) -> Float32[Array, 'batch class']:
    dense = partial(
      nn.Dense,
      dtype=self.dtype,
      precision=self.precision,
      promote_dtype=keep_bias,
      kernel_init=small_normal,
    )
    norm = normalization.of(self, train)
    if self.normalization == 'group':
      norm = lambda x: nn.LayerNorm(dtype=self.dtype)(x)
    x = dense(self.width, name='embedding')(_patches(x, SMALL_PATCH if is_small(x) else PATCH))
    x = (x + self._positions(*x.shape[1:3]).astype(x.dtype)).reshape(len(x), -1, self.width)
    first = sum(
      self.param(name, small_normal, (self.width,)) for name in ('class', 'class_position')
    )
    first = jnp.broadcast_to(first.astype(x.dtype), (len(x), 1, self.width))
    x = jnp.concatenate([first, x], axis=1)
    zero_last = self.normalization == 'none'
    for _ in range(self.depth):
      x = Block(_heads(self.width), dense, norm, zero_last, self.precision)(x)
    x = norm(x[:, 0]).astype(jnp.float32)
    more = {'kernel_init': small_normal, 'name': 'head'}
    return classifier(self.num_classes, self.dtype, self.precision, **more)(x)

  def _positions(self, rows: int, columns: int) -> Float32[Array, 'rows columns channel']:
    """What each patch's place adds to it."""
    shape = (rows, columns, self.width)
    own = self.get_variable('params', 'positions').shape if self._is_there() else shape
    table = self.param('positions', small_normal, own)
    return table if own == shape else jax.image.resize(table, shape, 'linear')

  def _is_there(self) -> bool:
    return self.has_variable('params', 'positions')


def _heads(width: int) -> int:
  most = max(1, width // HEAD_CHANNELS)
  return max(heads for heads in range(1, most + 1) if width % heads == 0)


def _patches(
  x: Float[Array, 'batch height width channel'], size: int
) -> Float[Array, 'batch rows columns input']:
  """Cuts images, filled up with zeros to whole patches, into patches: rows first, then columns."""
  fill = [(0, 0), *((0, -side % size) for side in x.shape[1:3]), (0, 0)]
  x = jnp.pad(x, fill)
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // size, size, width // size, size, channels)
  return x.swapaxes(2, 3).reshape(batch, height // size, width // size, -1)


vit_tiny = partial(ViT, width=192)
vit_small = partial(ViT, width=384)
