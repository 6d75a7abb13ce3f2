"""Every configuration key, once, with its default, meaning, unit, bounds and words."""

import re

from ml_collections import ConfigDict, config_dict

from bsjax.config.decide_keys import DECIDE
from bsjax.config.grid_keys import GRID
from bsjax.config.halving_keys import HALVING
from bsjax.config.key import Key
from bsjax.config.running_keys import RUNNING
from bsjax.config.training_keys import TRAINING

KEYS: tuple[Key, ...] = (*GRID, *TRAINING, *RUNNING, *DECIDE, *HALVING)
BY_NAME = {key.name: key for key in KEYS}


def base_config() -> ConfigDict:
  """Returns the configuration every study starts from; unknown keys are refused."""
  config = ConfigDict()
  for key in KEYS:
    section, _, name = key.name.rpartition('.')
    if section and section not in config:
      config[section] = ConfigDict()
    any_type = key.kind is object
    default = ConfigDict() if key.default == {} else key.default
    node = config[section] if section else config
    node[name] = config_dict.FieldReference(default, field_type=object) if any_type else default
  config.lock()
  return config


def section(name: str) -> tuple[Key, ...]:
  """Returns the keys of one section, such as 'data'."""
  return tuple(key for key in KEYS if key.name.startswith(f'{name}.'))


def computes(name: str) -> bool:
  """Whether a key changes what is computed, and not only how, or what is saved or shown.

  `name` may be that of a key of an arm, of the pretraining study or of a stage. A key that another
  version had is as those of its section.
  """
  name = re.sub(r'^(arms\.[^.]+|pretrain)\.', '', name)
  if name in BY_NAME:
    return BY_NAME[name].computes
  beside = section(name.partition('.')[0])
  return not beside or any(key.computes for key in beside)
