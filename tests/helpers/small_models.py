"""Models with all their kinds of layers, but few of them, and digits as color images."""

import dataclasses

import numpy as np

from bsjax import data
from helpers.built_models import build

SHORT = ('resnet18', 'vgg11', 'mobilenet_v2', 'efficientnet_b0', 'vit_tiny')


def short(name, **changes):
  """A model with all its kinds of layers, but few of them."""
  model = build(name, width=changes.pop('width', 16 if 'vit' in name else 4), **changes)
  cut = {
    'resnet18': {'stages': (1, 1)},
    'mobilenet_v2': {'stages': ((1, 8, 1, 1, 3), (6, 8, 2, 2, 3))},
    'efficientnet_b0': {'stages': ((1, 8, 1, 1, 3), (6, 8, 2, 2, 5))},
    'vit_tiny': {'depth': 2},
  }
  return model.clone(**cut.get(name, {}))


def color_digits(config, size=16):
  """The digits of a data config, `size` pixels a side and in three colors."""
  dataset = data.load(config, seed=0)

  def split(own):
    wide = own.images.repeat(size // 8, 1).repeat(size // 8, 2)
    channels = np.concatenate([wide, 16 - wide, wide // 2], axis=-1)
    return dataclasses.replace(own, images=channels)

  train, validation = split(dataset.train), split(dataset.validation)
  mean, std = data.mean_and_std(train.images)
  return dataclasses.replace(dataset, train=train, validation=validation, mean=mean, std=std)
