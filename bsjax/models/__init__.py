"""Image classifiers in flax: one file for each family, one entry of MODELS for each name.

JAX is loaded when a model is built, and not by who asks how it is called.
"""

import dataclasses
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

HEAD = 'head'  # the last layer of models that name it; others count their dense layers


@dataclasses.dataclass(frozen=True)
class Model:
  """What anybody asks of a model: how it is made, and how it is called."""

  source: str  # module:class, of base.ImageClassifier
  title: str  # what the paragraph on method says it is
  fields: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the class, if not its usual
  keys: tuple[str, ...] = ()  # of config.model that are fields of the class, beside those of all
  convolves: bool = True
  stride: str = ''  # what `small_stride` is, on images of up to 64 pixels


_RESNET, _VGG, _VIT = 'bsjax.models.resnet:ResNet', 'bsjax.models.vgg:VGG', 'bsjax.models.vit:ViT'
_STRIDED = {'keys': ('small_stride',), 'stride': 'a total stride of {}'}
_PATCHED = {'keys': ('small_stride',), 'convolves': False, 'stride': 'patches of {} pixels'}
_CIFAR = {'projection': False, 'width': 16}
_IMAGENET = {'projection': True, 'width': 64}

MODELS = {
  'mlp': Model('bsjax.models.mlp:MLP', 'a multilayer perceptron', keys=('depth',), convolves=False),
  'cnn': Model('bsjax.models.cnn:CNN', 'a small convolutional network'),
  'resnet8': Model(_RESNET, 'ResNet-8', {'stages': (1, 1, 1), **_CIFAR}),
  'resnet20': Model(_RESNET, 'ResNet-20', {'stages': (3, 3, 3), **_CIFAR}),
  'resnet18': Model(_RESNET, 'ResNet-18', {'stages': (2, 2, 2, 2), **_IMAGENET}),
  'resnet34': Model(_RESNET, 'ResNet-34', {'stages': (3, 4, 6, 3), **_IMAGENET}),
  'vgg11': Model(_VGG, 'VGG-11', {'stages': (1, 1, 2, 2, 2)}),
  'vgg16': Model(_VGG, 'VGG-16', {'stages': (2, 2, 3, 3, 3)}),
  'mobilenet_v2': Model('bsjax.models.mobilenet:MobileNetV2', 'MobileNetV2', **_STRIDED),
  'efficientnet_b0': Model(
    'bsjax.models.efficientnet:EfficientNetB0', 'EfficientNet-B0', **_STRIDED
  ),
  'vit_tiny': Model(_VIT, 'ViT-Tiny', {'width': 192}, **_PATCHED),
  'vit_small': Model(_VIT, 'ViT-Small', {'width': 384}, **_PATCHED),
}
_USUAL_AT_ZERO = ('width', 'small_stride')  # keys that leave the model's own choice at 0


def create(
  config: ConfigDict,
  num_classes: int,
  conv: Callable[..., Any],
  frozen_norms: frozenset[str] = frozenset(),
) -> Any:
  """The flax module of `config.model`; `model.apply(variables, images, train)` gives its logits.

  `conv` computes the convolutions (`convolution.conv`). Fields (`base.ImageClassifier`), such as
  `batch_norm_momentum`, can be changed by `model.clone`.
  """
  from bsjax.models.arithmetic import ARITHMETIC

  entry, arithmetic = MODELS[config.name], ARITHMETIC[config.dtype]
  keys = {key: config[key] for key in ('width', *entry.keys)}
  given = {key: x for key, x in keys.items() if x or key not in _USUAL_AT_ZERO}
  return pkgutil.resolve_name(entry.source)(
    num_classes=num_classes,
    normalization=config.normalization,
    dtype=arithmetic.dtype,
    precision=arithmetic.precision,
    conv=conv,
    frozen_norms=frozen_norms,
    **entry.fields | given,
  )


def head(params: Mapping[str, Any]) -> str:
  """Returns the module path of the final classifier in a model's parameters.

  That is 'head', or in models without one the last of 'Dense_0', 'Dense_1' and so on. Raises
  ValueError where there is neither.
  """
  if HEAD in params:
    return HEAD
  dense = [name for name in params if re.fullmatch(r'Dense_\d+', name)]
  if not dense:
    raise ValueError(
      f'no classifier among the layers {", ".join(sorted(params))}: '
      f'a model calls its last dense layer {HEAD!r}, or Dense_N'
    )
  return max(dense, key=lambda name: int(name.removeprefix('Dense_')))
