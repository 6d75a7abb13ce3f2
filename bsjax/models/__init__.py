"""Image classifiers in flax: one file a family, and one entry in MODELS for each name."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array
from ml_collections import ConfigDict

from bsjax.choices import unknown
from bsjax.models import normalization
from bsjax.models.arithmetic import ARITHMETIC
from bsjax.models.cnn import CNN
from bsjax.models.mlp import MLP
from bsjax.models.resnet import cifar_resnet, imagenet_resnet

# Each takes the model's config, the convolution and the fields that all models share.
MODELS: dict[str, Callable[..., nn.Module]] = {
  'mlp': lambda config, conv, **shared: MLP(depth=config.depth, **shared),
  'cnn': lambda config, conv, **shared: CNN(conv=conv, **shared),
  'resnet8': lambda config, conv, **shared: cifar_resnet(stages=(1, 1, 1), conv=conv, **shared),
  'resnet20': lambda config, conv, **shared: cifar_resnet(stages=(3, 3, 3), conv=conv, **shared),
  'resnet18': lambda config, conv, **shared: imagenet_resnet(
    stages=(2, 2, 2, 2), conv=conv, **shared
  ),
}


def create(config: ConfigDict, num_classes: int, conv: Callable[..., Array]) -> nn.Module:
  """The model of `config.model`; `model.apply(variables, images, train)` gives float32 logits.

  Arithmetic is that of `config.dtype`, parameters and logits are float32. `conv` computes the
  convolutions (`ops.conv`). With batch normalization there is a collection 'batch_stats', and the
  field `batch_norm_momentum` can be changed by `model.clone`.
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
    **width,
  )


def problems(config: ConfigDict) -> list[str]:
  """What is wrong with `config.model`: each a sentence with the value, the bound and the remedy."""
  choices = (
    ('model.name', config.name, MODELS),
    ('model.normalization', config.normalization, normalization.KINDS),
    ('model.dtype', config.dtype, ARITHMETIC),
  )
  found = [unknown(*choice) for choice in choices if choice[1] not in choice[2]]
  if config.width < 0:
    found.append(f"model.width={config.width} must be at least 0; 0 is the model's usual width")
  if config.depth < 0:
    found.append(f'model.depth={config.depth} must be at least 0; 0 is a linear classifier')
  return found
