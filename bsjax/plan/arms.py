"""Studies made of studies: arms, which are compared, and a study that lends its weights.

An arm is the whole study with some keys changed, such as another model, for what cannot share a
compiled program. It has a workdir of its own, WORKDIR/arms/NAME; the seed is that of all, so
trials are paired across arms.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from bsjax.config import bounds
from bsjax.config.errors import ConfigError, Problem, misnamed, of_config, unknown
from bsjax.config.keys import KEYS

FOLDER, PRETRAIN = 'arms', 'pretrain'  # in a workdir


def add(config: ConfigDict, name: str, changes: dict[str, Any]) -> None:
  """Appends an arm to a config; `changes` are values of its keys, in nested dicts."""
  with config.unlocked():
    config.arms[name] = ConfigDict(changes)
    config.arms.order = (*config.arms.order, name)


def configs(config: ConfigDict) -> dict[str, ConfigDict]:
  """Returns the config of each arm in order; none where the config has no arms.

  Raises ConfigError for an unknown arm, or a key that is none of the config's.
  """
  names = tuple(config.arms.order)
  defined = sorted(key for key in config.arms if key != 'order')
  if missing := [name for name in names if name not in defined]:
    raise ConfigError(unknown('arms.order', missing[0], defined))
  if wrong := misnamed('arms.order', names):
    raise ConfigError(wrong[0])
  if len(set(names)) < len(names):
    raise ConfigError(f'arms.order={names} names an arm twice', 'arms.order')
  return {name: _changed(config, config.arms[name], f'arms.{name}') for name in names}


def pretraining(config: ConfigDict) -> ConfigDict | None:
  """Returns the config of the study that lends its weights, or None where there is none.

  It has one stage, and neither arms nor a study that lends to it.
  """
  return _changed(config, config.pretrain, PRETRAIN, stages=True) if config.pretrain else None


def _changed(config: ConfigDict, changes: Any, where: str, stages: bool = False) -> ConfigDict:
  if not isinstance(changes, ConfigDict):
    raise ConfigError(
      f'{where}={bounds.shown_value(changes)} must be a section with the keys that it changes',
      where,
    )
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    _allow_any_type(changed)
    changed.arms = ConfigDict({'order': ()})
    if stages:
      changed.stages = ConfigDict({'order': ()})
      changed.rounds = changed.evaluation.at = ()  # which it need not have in common
      changed.decide.question, changed.decide.rounds = '', ()  # nothing is asked of it
      changed.pretrain = ConfigDict()
      changed.transfer.workdir = ''
  if not stages:
    changed.pretrain.unlock()  # it has no keys but those that are changed
  try:
    changed.update(changes)
  except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
    raise ConfigError(f'{where} changes a key that it cannot: {of_config(error)}', where) from None
  return changed


def _allow_any_type(config: ConfigDict) -> None:
  """Gives keys that take values of several types back what references had said of them."""
  for key in KEYS:
    if key.kind is object and '.' not in key.name:
      value = config[key.name]
      del config[key.name]
      config[key.name] = config_dict.FieldReference(value, field_type=object)


def refused(config: ConfigDict, problems: Callable[[ConfigDict], list[Problem]]) -> list[Problem]:
  """Lists the `problems` of the arms and of the lending study, each with its name."""
  try:
    studies = {f'{FOLDER}.{name}': arm for name, arm in configs(config).items()}
    lender = pretraining(config)
  except ConfigError as error:
    return list(error.problems)
  if lender and not studies:
    studies[PRETRAIN] = lender
  return [
    wrong.within(f'{where}: ', where)
    for where, study in studies.items()
    for wrong in problems(study)
  ]


def workdir(whole: Path, name: str) -> Path:
  """Returns where an arm of a study is written."""
  return whole / FOLDER / name
