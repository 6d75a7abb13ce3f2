"""Stages of a study: what each changes, as configured, and the checks of it.

`config.stages.order` names them in order; a study that names none has one stage, which changes
nothing. Where each begins and ends, and with which batch sizes, is plan.py's.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.errors import unknown
from bsjax.plan import batch_size_rules
from bsjax.plan.batch_size_rules import Bounds

RUNNING, BATCH = 'running', 'batch'  # what frozen BatchNorm layers do
SHARE_OF_DATA = 10  # batch sizes that grow stop at this part of the data (Smith et al. 2018)
DEFAULTS: dict[str, Any] = {
  'epochs': 1.0,  # passes over the stage's share of the training set
  'examples': 0,  # the stage's length; 0: by epochs
  'trainable': (),  # patterns such as '*/kernel' over parameter paths; none: all parameters
  # Whether BatchNorm layers whose parameters are all frozen use their running statistics
  # ('running'), or go on normalizing by batches and updating them ('batch').
  'frozen_batch_norm': RUNNING,
  'batch_size': ('keep',),  # rules of batch_size_rules.py; several make a branch of lanes each
  'smallest_batch_size': 0,  # bounds of rules, in examples; 0: the size a lane begins with
  'largest_batch_size': 0,  # 0: a tenth of the stage's examples
  'learning_rate_factor': 1.0,  # on each lane's learning rate, while the stage lasts
  'reset_optimizer': False,  # begin with a fresh optimizer state
  'image_size': 0,  # pixels a side that images are resized to; 0: as they are
  'data_share': 1.0,  # of the training set, stratified; smaller shares lie within larger ones
  'crop': -1,  # pixels, as data.crop; -1: that of data.crop
  'flip': -1,  # 1: random flips, 0: none, -1: as data.flip
}


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stretch of training; the fields are the keys of `DEFAULTS`."""

  index: int
  name: str
  epochs: float
  examples: int
  trainable: tuple[str, ...]
  frozen_batch_norm: str
  batch_size: tuple[str, ...]
  smallest_batch_size: int
  largest_batch_size: int
  learning_rate_factor: float
  reset_optimizer: bool
  image_size: int
  data_share: float
  crop: int
  flip: bool

  def share(self, train_examples: int) -> int:
    """Returns how many of so many training examples the stage trains on."""
    return max(1, round(self.data_share * train_examples))

  def bounds(self, batch_size: int, train_examples: int) -> Bounds:
    """Returns the bounds of rules for a lane that begins the stage at a batch size."""
    largest = self.largest_batch_size or self.share(train_examples) // SHARE_OF_DATA
    return Bounds(self.smallest_batch_size or batch_size, largest)

  def same_program(self, other: 'Stage') -> bool:
    """Whether both stages run the same compiled program, so that only settings differ."""
    keys = 'trainable', 'frozen_batch_norm', 'image_size', 'data_share', 'crop', 'flip'
    return all(getattr(self, key) == getattr(other, key) for key in keys)


def stage_dict(**changes: Any) -> ConfigDict:
  """Returns the keys of one stage, to be put at `config.stages.NAME`.

  Raises KeyError for a key that is none of `DEFAULTS`.
  """
  if odd := sorted(changes.keys() - DEFAULTS.keys()):
    raise KeyError(unknown('the stage key', odd[0], DEFAULTS))
  return ConfigDict(DEFAULTS | changes)


def add(config: ConfigDict, name: str, **changes: Any) -> None:
  """Appends a stage to a config; `changes` are keys of `DEFAULTS`."""
  with config.unlocked():
    config.stages[name] = stage_dict(**changes)
    config.stages.order = (*config.stages.order, name)


def of(config: ConfigDict) -> list[Stage]:
  """Returns the stages of a valid config in order; one without a name where none is configured."""
  names = tuple(config.stages.order)
  if not names:
    only = DEFAULTS | {'epochs': config.epochs}
    return [_stage(config, 0, '', only)]
  return [_stage(config, i, name, config.stages[name]) for i, name in enumerate(names)]


def _stage(config: ConfigDict, index: int, name: str, keys: Any) -> Stage:
  values = {key: keys[key] for key in DEFAULTS}
  values['trainable'] = tuple(values['trainable'])
  values['batch_size'] = tuple(values['batch_size'])
  values['crop'] = config.data.crop if values['crop'] < 0 else values['crop']
  values['flip'] = config.data.flip if values['flip'] < 0 else bool(values['flip'])
  return Stage(index=index, name=name, **values)


def problems(config: ConfigDict) -> list[str]:
  """Lists what is wrong with the stages, each with its value, bound and remedy."""
  names = tuple(config.stages.order)
  there = sorted(key for key in config.stages if key != 'order')
  found = [unknown('stages.order', name, there) for name in names if name not in there]
  if len(set(names)) < len(names):
    found.append(f'stages.order={names} names a stage twice; give the second a name of its own')
  if found:
    return found
  for rule in config.stages[names[0]].batch_size if names else ():
    if rule.partition(':')[0] in ('multiply', 'grow', 'set'):
      found.append(
        f'stages.{names[0]}.batch_size: {rule!r} changes the batch size where training begins; '
        "give batch_sizes instead, and 'keep' or a rule that follows a measurement here"
      )
  for name in names:
    found += [f'stages.{name}.{text}' for text in _stage_problems(config.stages[name])]
  if not found and names and config.noise_scale.exact_examples:
    freezing = [stage.name for stage in of(config) if stage.trainable]
    if freezing:
      found.append(
        f'noise_scale.exact_examples={config.noise_scale.exact_examples} measures gradients of all '
        f'parameters, but stages {freezing} freeze some; set it to 0'
      )
  return found


def _stage_problems(keys: ConfigDict) -> Sequence[str]:
  found = []
  if missing := sorted(DEFAULTS.keys() - set(keys)):
    return [f'{missing[0]} is missing; make stages with stages.add(config, name, ...)']
  for key, low, inclusive in (
    ('epochs', 0, False),
    ('examples', 0, True),
    ('smallest_batch_size', 0, True),
    ('largest_batch_size', 0, True),
    ('learning_rate_factor', 0, True),
    ('image_size', 0, True),
    ('crop', -1, True),
  ):
    value = keys[key]
    if not (value >= low if inclusive else value > low) or not math.isfinite(value):
      found.append(f'{key}={value} must be finite and {"at least" if inclusive else "above"} {low}')
  if not 0 < keys.data_share <= 1:
    found.append(f'data_share={keys.data_share} must be above 0 and at most 1')
  if keys.flip not in (-1, 0, 1):
    found.append(f'flip={keys.flip} must be 1, 0, or -1 for what data.flip says')
  if keys.frozen_batch_norm not in (RUNNING, BATCH):
    found.append(unknown('frozen_batch_norm', keys.frozen_batch_norm, (RUNNING, BATCH)))
  rules = tuple(keys.batch_size)
  if not rules or len(set(rules)) < len(rules):
    found.append(f"batch_size={rules}: give one or more different rules, such as 'keep'")
  for rule in rules:
    try:
      batch_size_rules.parse(rule)
    except ValueError as error:
      found.append(f'batch_size: {error}')
  return found
