"""Image classifiers in flax: one file a family, and one entry in MODELS for each name."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array
from ml_collections import ConfigDict

from bsjax.models.arithmetic import ARITHMETIC
from bsjax.models.cnn import CNN
from bsjax.models.efficientnet import EfficientNetB0
from bsjax.models.layers import batch_norm_paths, head
from bsjax.models.mlp import MLP
from bsjax.models.mobilenet import MobileNetV2
from bsjax.models.resnet import cifar_resnet, imagenet_resnet
from bsjax.models.vgg import vgg11, vgg16
from bsjax.models.vit import vit_small, vit_tiny

__all__ = ['MODELS', 'batch_norm_paths', 'create', 'head']

# Each takes the model's config, the convolution and the fields that all models share.
MODELS: dict[str, Callable[..., nn.Module]] = {
  'mlp': lambda config, conv, **shared: MLP(depth=config.depth, **shared),
  'cnn': lambda config, conv, **shared: CNN(conv=conv, **shared),
  'resnet8': lambda config, conv, **shared: cifar_resnet(stages=(1, 1, 1), conv=conv, **shared),
  'resnet20': lambda config, conv, **shared: cifar_resnet(stages=(3, 3, 3), conv=conv, **shared),
  'resnet18': lambda config, conv, **shared: imagenet_resnet(
    stages=(2, 2, 2, 2), conv=conv, **shared
  ),
  'resnet34': lambda config, conv, **shared: imagenet_resnet(
    stages=(3, 4, 6, 3), conv=conv, **shared
  ),
  'vgg11': lambda config, conv, **shared: vgg11(conv=conv, **shared),
  'vgg16': lambda config, conv, **shared: vgg16(conv=conv, **shared),
  'mobilenet_v2': lambda config, conv, **shared: MobileNetV2(conv=conv, **_strided(config, shared)),
  'efficientnet_b0': lambda config, conv, **shared: EfficientNetB0(
    conv=conv, **_strided(config, shared)
  ),
  'vit_tiny': lambda config, conv, **shared: vit_tiny(**_strided(config, shared)),
  'vit_small': lambda config, conv, **shared: vit_small(**_strided(config, shared)),
}


def _strided(config: ConfigDict, shared: dict[str, Any]) -> dict[str, Any]:
  """The fields of a model whose stride on small images can be chosen."""
  return {**shared, 'small_stride': config.small_stride} if config.small_stride else shared


def create(
  config: ConfigDict,
  num_classes: int,
  conv: Callable[..., Array],
  frozen_norms: frozenset[str] = frozenset(),
) -> nn.Module:
  """The model of `config.model`; `model.apply(variables, images, train)` gives float32 logits.

  Arithmetic is that of `config.dtype`, parameters and logits are float32. `conv` computes the
  convolutions (`ops.conv`). With batch normalization there is a collection 'batch_stats', and the
  field `batch_norm_momentum` can be changed by `model.clone`; layers whose module paths are in
  `frozen_norms` use their running statistics in training too, and do not change them.
  """
  width = {'width': config.width} if config.width else {}
  arithmetic = ARITHMETIC[config.dtype]
  return MODELS[config.name](
    config,
    conv,
    num_classes=num_classes,
    normalization=config.normalization,
    dtype=arithmetic.dtype,
    precision=arithmetic.precision,
    frozen_norms=frozen_norms,
    **width,
  )
