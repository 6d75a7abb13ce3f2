"""The normalization layer of every model: one choice, one function."""

from collections.abc import Callable

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

KINDS = ('group', 'batch', 'none')
GROUP_SIZE = 16


def group_size(channels: int) -> int:
  """Channels that are normalized together: the largest divisor of `channels` up to 16.

  A fixed number of channels a group, 16, is the second form in Wu and He 2018, "Group
  Normalization"; unlike 32 groups it does not turn a layer of 16 or 32 channels into
  instance normalization.
  """
  return max(size for size in range(1, GROUP_SIZE + 1) if channels % size == 0)


def normalize(
  x: Float[Array, 'batch *spatial channel'],
  kind: str,
  train: bool,
  dtype: DTypeLike,
  momentum: float,
  scale_init: Callable[..., Array] = nn.initializers.ones,
  frozen: frozenset[str] = frozenset(),
) -> Float[Array, 'batch *spatial channel']:
  """Adds a normalization layer to the module being built and applies it.

  - 'group': over groups of channels of one example (`group_size`). Without spatial axes the
    whole layer is one group, which is layer normalization.
  - 'batch': over the examples of this call, never across lanes or devices. `momentum` is the
    weight of the past in the running statistics, the collection 'batch_stats'. Layers whose
    module path, such as 'Block_0/BatchNorm_1', is in `frozen` use the running statistics in
    training too, and leave them as they are.
  - 'none': `x` itself, in `dtype`.
  """
  if kind == 'none':
    return x.astype(dtype)
  if kind == 'batch':
    layer = nn.BatchNorm(momentum=momentum, dtype=dtype, scale_init=scale_init)
    return layer(x, use_running_average=not train or '/'.join(layer.path) in frozen)
  size = x.shape[-1] if x.ndim == 2 else group_size(x.shape[-1])
  return nn.GroupNorm(num_groups=None, group_size=size, dtype=dtype, scale_init=scale_init)(x)
