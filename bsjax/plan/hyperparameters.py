"""Hyperparameters of the optimizer that lanes differ in: axes of values, and rules on batch size.

A choice of values and of a rule is a branch of lanes, written as words such as 'b2=0.95'. Values
are those at `scaling.base_batch_size`, from which a rule makes those of other batch sizes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError, Problem, unknown
from bsjax.config.keys import BY_NAME, section
from bsjax.optim.entries import OPTIMIZERS
from bsjax.plan import scaling_rules

Config: TypeAlias = Mapping[str, Any] | ConfigDict
HYPERPARAMETERS = 'scaling.hyperparameters'
WORD = 'hyperparameters'  # of a branch: the rules that it follows
# (value, batch size / base, learning rate / that at the base) -> the value there.
Change = Callable[[float, float, float], float]
DECAYS = 'momentum', 'b1', 'b2', 'rmsprop_decay', 'rmsprop_momentum'  # of averages, per update


@dataclass(frozen=True)
class Rule:
  """How hyperparameters follow the batch size; those without a change are kept."""

  changes: Mapping[str, Change]  # by key of `config.optimizer`
  method: str  # what the paragraph on method says was done to them


def _half_life(value: float, sizes: float, rates: float) -> float:
  return value**sizes


def _decay_time(value: float, sizes: float, rates: float) -> float:
  return value * sizes / rates


def _less_memory(value: float, sizes: float, rates: float) -> float:
  return 1 - sizes * (1 - value)


def _less_damping(value: float, sizes: float, rates: float) -> float:
  return value / math.sqrt(sizes)


# half_life: Marek et al. 2025, "Small batch size training for language models" (b2). decay_time:
# Bergsma et al. 2025, "Power lines". adam_sqrt: Malladi et al. 2022, "On the SDEs and scaling rules
# for adaptive gradient algorithms", whose learning rate is that of scaling.rule='sqrt'.
RULES = {
  'keep': Rule({}, 'all kept'),
  'half_life': Rule(
    dict.fromkeys(DECAYS, _half_life),
    'averages changed to forget equally many examples at all batch sizes',
  ),
  'decay_time': Rule(
    {'weight_decay': _decay_time},
    'weight decay changed to shrink weights over equally many examples at all batch sizes',
  ),
  'adam_sqrt': Rule(
    {'b1': _less_memory, 'b2': _less_memory, 'eps': _less_damping},
    '1 - β1 and 1 - β2 changed in proportion to the batch size, and ε by the inverse square root '
    'of it',
  ),
}


def axes(config: Config) -> dict[str, tuple[float, ...]]:
  """Key of `config.optimizer` -> the values that lanes differ in, of those keys that have some."""
  given = config.get('axes', {})
  names = [key.name.partition('.')[2] for key in section('axes')]
  return {name: tuple(map(float, given[name])) for name in names if given.get(name)}


def rules(config: Config) -> list[str]:
  """The rules of `scaling.hyperparameters` that are compared, such as 'half_life+decay_time'."""
  given = config.get('scaling', {}).get('hyperparameters', 'keep')
  return [name.strip() for name in given.split(',')]


def branches(config: Config) -> list[str]:
  """The words of all choices of values and rules; '' alone where there is no choice."""
  named = [[f'{name}={value!r}' for value in values] for name, values in axes(config).items()]
  if len(rules(config)) > 1:
    named.append([f'{WORD}={rule}' for rule in rules(config)])
  return [' '.join(words) for words in itertools.product(*named)]


def varied(config: Config) -> tuple[str, ...]:
  """The keys of `config.optimizer` that lanes may differ in, in the order of its keys."""
  changed = {key for rule in rules(config) for part in parts(rule) for key in RULES[part].changes}
  names = (changed | axes(config).keys()) & _taken(config)
  keys = [key.name.partition('.')[2] for key in section('optimizer')]
  return tuple(name for name in keys if name in names)


def of_branch(config: Config, branch: str) -> Config:
  """The config of the lanes of a branch alone: its values in place of axes, and its rule."""
  words, names = words_of(branch), axes(config)
  if not names and WORD not in words:
    return config
  optimizer = {**config['optimizer'], **{name: float(words[name]) for name in names}}
  scaling = {**config['scaling'], 'hyperparameters': words.get(WORD, rules(config)[0])}
  changed = {'optimizer': optimizer, 'scaling': scaling, 'axes': dict.fromkeys(names, ())}
  return {**config, **changed}


def of_lane(
  config: Config, branch: str, batch_size: int, rates: float | None = None
) -> dict[str, float]:
  """The values of the `varied` keys in a lane of a branch at a batch size.

  `rates` is its learning rate as a multiple of that which the base batch size would have; None: as
  the scaling rule has it where training begins.
  """
  if not (names := varied(config)):
    return {}
  words = words_of(branch)
  rates = scaling_rules.rate_factor(config, batch_size) if rates is None else rates
  ratio = batch_size / config['scaling']['base_batch_size']
  values = {}
  for name in names:
    value = float(words.get(name, config['optimizer'][name]))
    for part in parts(words.get(WORD, rules(config)[0])):
      change = RULES[part].changes.get(name)
      value = change(value, ratio, rates) if change else value
    values[name] = value
  return values


def refuse_out_of_bounds(config: ConfigDict, batch_sizes: Iterable[int]) -> None:
  """Raises ConfigError where a rule leads out of the bounds of a hyperparameter."""
  if problems := _out_of_bounds(config, batch_sizes):
    raise ConfigError.of(problems)


def conflicts(config: ConfigDict) -> list[Problem]:
  """Lists what is wrong with axes and rules, each with its value and remedy."""
  name, given, taken = config.optimizer.name, rules(config), _taken(config)
  sentences = [
    Problem(
      f'axes.{key}={values}: {name} takes no {key}; it takes {", ".join(sorted(taken)) or "none"}',
      f'axes.{key}',
      'optimizer.name',
    )
    for key, values in axes(config).items()
    if key not in taken
  ]
  named = list(dict.fromkeys(part for rule in given for part in parts(rule)))
  if odd := [part for part in named if part not in RULES]:
    return [*sentences, unknown(HYPERPARAMETERS, odd[0], RULES)]
  shown = f'scaling.hyperparameters={config.scaling.hyperparameters!r}'
  if len(set(given)) < len(given):
    sentences.append(Problem(f'{shown} names a rule twice; give each once', HYPERPARAMETERS))
  sentences += [
    Problem(
      f'{shown}: {part} changes {", ".join(RULES[part].changes)}, and {name} takes none of them; '
      'leave it out',
      HYPERPARAMETERS,
      'optimizer.name',
    )
    for part in named
    if part != 'keep' and not RULES[part].changes.keys() & taken
  ]
  if 'decay_time' in named and len(scaling_rules.names(config.scaling.rule)) > 1:
    sentence = (
      f'{shown}: decay_time follows the learning rate, and scaling.rule={config.scaling.rule!r} '
      'gives a batch size those of several rules; give one'
    )
    sentences.append(Problem(sentence, HYPERPARAMETERS, 'scaling.rule'))
  if names := sorted({*axes(config), WORD} & {*config.stages.order}):
    sentence = f'stages.order: the stage {names[0]!r} is called like an axis; give it another name'
    sentences.append(Problem(sentence, 'stages.order'))
  return sentences or _out_of_bounds(config, config.batch_sizes)


def _out_of_bounds(config: ConfigDict, batch_sizes: Iterable[int]) -> list[Problem]:
  """A sentence for each hyperparameter that a rule leads out of its bounds."""
  sentences: dict[str, Problem] = {}
  for branch, size in itertools.product(branches(config), sorted(batch_sizes)):
    for name, value in of_lane(config, branch, size).items():
      below = BY_NAME[f'optimizer.{name}'].below
      if value < 0 or (below is not None and value >= below):
        bound = 'at least 0' + (f' and below {below:g}' if below is not None else '')
        sentences[name] = Problem(
          f'scaling.hyperparameters={config.scaling.hyperparameters!r} makes {name} {value:.4g} at '
          f'batch size {size} (scaling.base_batch_size={config.scaling.base_batch_size}), and it '
          f'must be {bound}; leave that batch size out, or choose another rule',
          *(HYPERPARAMETERS, 'scaling.base_batch_size', 'batch_sizes', f'axes.{name}'),
          f'optimizer.{name}',
        )
  return list(sentences.values())


def words_of(branch: str) -> dict[str, str]:
  """What a branch chooses, by stage or hyperparameter."""
  return dict(word.split('=', 1) for word in branch.split(' ') if '=' in word)


def parts(rule: str) -> list[str]:
  """The names in RULES that a rule is put together of."""
  return [part.strip() for part in rule.split('+')]


def _taken(config: Config) -> set[str]:
  """What the optimizer takes; weight decay it need not, as it is added to the gradient then."""
  entry = OPTIMIZERS.get(config['optimizer']['name'])  # of one from outside nothing is known
  return {*entry.hyperparameters.values(), 'weight_decay'} if entry else set()
