"""What all image classifiers share: their fields, and the layers that follow from them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from bsjax.models import arithmetic, normalization
from bsjax.models.initializers import he_normal

Images = Float[Array, 'batch height width channel']
Logits = Float32[Array, 'batch class']


class ImageClassifier(nn.Module):
  """A model of `[batch, height, width, channel]` images, with float32 logits `[batch, class]`.

  Arithmetic is that of `dtype` and `precision`, `conv` computes the convolutions
  (models/convolution.py). With `normalization` 'batch' there is a collection 'batch_stats', and
  layers whose module paths are in `frozen_norms` use it in training too, and do not change it.
  """

  num_classes: int
  normalization: str = 'group'
  dtype: DTypeLike = jnp.float32
  precision: lax.PrecisionLike = None
  conv: Callable[..., Array] = lax.conv_general_dilated
  batch_norm_momentum: float = 0.9
  frozen_norms: frozenset[str] = frozenset()


def layer_fields(model: ImageClassifier) -> dict[str, Any]:
  """Returns the fields of a dense layer or convolution before a ReLU."""
  return {
    'dtype': model.dtype,
    'precision': model.precision,
    'promote_dtype': arithmetic.keep_bias,
    'kernel_init': he_normal,
  }


def conv_layer(model: ImageClassifier, use_bias: bool | None = None) -> Callable[..., nn.Conv]:
  """Returns what makes the model's convolutions, with a bias where there is no normalization."""
  use_bias = model.normalization == 'none' if use_bias is None else use_bias
  return partial(nn.Conv, use_bias=use_bias, conv_general_dilated=model.conv, **layer_fields(model))


def norm_layer(model: ImageClassifier, train: bool) -> Callable[..., Array]:
  """Returns what normalizes as the model does: for all its layers, and those inside them."""
  return partial(
    normalization.normalize,
    kind=model.normalization,
    train=train,
    dtype=model.dtype,
    momentum=model.batch_norm_momentum,
    frozen=model.frozen_norms,
  )


def classifier(model: ImageClassifier, **more: Any) -> nn.Dense:
  """Returns the last layer, whose logits are float32 whatever the arithmetic.

  `more` are further fields of the layer, such as its name, 'head' in models that give one.
  """
  exact = model.dtype != jnp.float32
  precision = lax.Precision.HIGHEST if exact else model.precision
  return nn.Dense(model.num_classes, dtype=jnp.float32, precision=precision, **more)
