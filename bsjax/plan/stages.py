"""Stages of a study: what each changes, as configured, and the checks of it.

`config.stages.order` names them in order; a study that names none has one stage, which changes
nothing. Where each begins and ends, and with which batch sizes, is plan.py's.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from bsjax.config import bounds
from bsjax.config.errors import Problem, misnamed, unknown
from bsjax.config.stage_keys import RUNNING as RUNNING
from bsjax.config.stage_keys import STAGE
from bsjax.plan import batch_size_rules
from bsjax.plan.batch_size_rules import Bounds

SHARE_OF_DATA = 10  # batch sizes that grow stop at this part of the data (Smith et al. 2018)
DEFAULTS: dict[str, Any] = {key.name: key.default for key in STAGE}


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stretch of training; the fields are the keys of `STAGE`."""

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

  Raises KeyError for a key that is none of `STAGE`.
  """
  if odd := sorted(changes.keys() - DEFAULTS.keys()):
    raise KeyError(unknown('the stage key', odd[0], DEFAULTS))
  return ConfigDict(DEFAULTS | changes)


def add(config: ConfigDict, name: str, **changes: Any) -> None:
  """Appends a stage to a config; `changes` are those of `STAGE`."""
  with config.unlocked():
    config.stages[name] = stage_dict(**changes)
    config.stages.order = (*config.stages.order, name)


def of(config: ConfigDict) -> list[Stage]:
  """Returns the stages of a valid config in order; one without a name where none is configured."""
  if not config.stages.order:
    return [_stage(config, 0, '', DEFAULTS | {'epochs': config.epochs})]
  return [
    _stage(config, i, name, config.stages[name]) for i, name in enumerate(config.stages.order)
  ]


def _stage(config: ConfigDict, index: int, name: str, keys: Any) -> Stage:
  values = {key: keys[key] for key in DEFAULTS}
  values['trainable'] = tuple(values['trainable'])
  values['batch_size'] = tuple(values['batch_size'])
  values['crop'] = config.data.crop if values['crop'] < 0 else values['crop']
  values['flip'] = config.data.flip if values['flip'] < 0 else bool(values['flip'])
  return Stage(index=index, name=name, **values)


def conflicts(config: ConfigDict) -> list[Problem]:
  """Lists what is wrong with the stages of a config, each with its value, bound and remedy."""
  names = tuple(config.stages.order)
  defined = sorted(key for key in config.stages if key != 'order')
  missing = [unknown('stages.order', name, defined) for name in names if name not in defined]
  missing += misnamed('stages.order', names)
  if missing or not names:
    return missing
  sentences = []
  for name in names:
    sentences += _stage_conflicts(config.stages[name], f'stages.{name}.', name == names[0])
  exact = config.noise_scale.exact_examples
  freezing = [] if sentences else [name for name in names if config.stages[name].trainable]
  if exact and freezing:
    sentence = (
      f'noise_scale.exact_examples={exact} measures gradients of all parameters, but stages '
      f'{freezing} freeze some; set it to 0'
    )
    trainable = [f'stages.{name}.trainable' for name in freezing]
    sentences.append(Problem(sentence, 'noise_scale.exact_examples', *trainable))
  return sentences


def _stage_conflicts(keys: ConfigDict, where: str, begins: bool) -> list[Problem]:
  """What is wrong with one stage: bounds of its keys, and the rules of its batch size."""
  if absent := sorted(DEFAULTS.keys() - set(keys)):
    sentence = f'{where}{absent[0]} is missing; make stages with stages.add(config, name, ...)'
    return [Problem(sentence, where + absent[0])]
  wrong = bounds.wrong(keys, STAGE, where)
  sound = [key for key in STAGE if where + key.name not in wrong]
  sentences = [*wrong.values(), *bounds.repeated(keys, sound, where)]
  for rule in keys.batch_size if f'{where}batch_size' not in wrong else ():
    try:
      kind, _ = batch_size_rules.parse(rule)
    except ValueError as error:
      sentences.append(Problem(f'{where}batch_size: {error}', f'{where}batch_size'))
      continue
    if begins and kind in batch_size_rules.STATIC and kind != 'keep':
      sentence = (
        f'{where}batch_size: {rule!r} changes the batch size where training begins; give '
        "batch_sizes instead, and 'keep' or a rule that follows a measurement here"
      )
      sentences.append(Problem(sentence, f'{where}batch_size'))
  return sentences
