"""What a study says of its parts from outside: names, and what was minimized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.config.metrics import judged
from bsjax.config.own import OWN

Config = Mapping[str, Any]


def model_name(config: Config) -> str:
  """The model by its key, or one from outside as it calls itself."""
  return own_part(config, 'model').get('name') or config['model']['name']


def optimizer_name(config: Config) -> str:
  """The same of the optimizer."""
  return own_part(config, 'optimizer').get('name') or config['optimizer']['name']


def own_part(config: Config, part: str) -> Config:
  """What is said of a part from outside; nothing of one of the config's."""
  return (config.get(OWN) or {}).get(part, {})


def task(config: Config) -> str:
  """What was minimized, and by what runs are judged, where that came from outside."""
  if not own_part(config, 'task'):
    return ''
  text = f'We minimized the mean {judged().loss.title}'
  if judged().val == 'val_loss':
    return f'{text}, by which runs are also judged.'
  return f'{text}; runs are judged by the mean {judged().metric.title}.'
