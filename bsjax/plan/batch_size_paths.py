"""How batch sizes go through the stages of a study: branches of rules, and all they can lead to."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError, Problem
from bsjax.plan import batch_size_rules, hyperparameters, scaling_rules
from bsjax.plan.stages import Stage
from bsjax.storage.position import BatchSizeState

MOST_LANES = 100_000  # planned in seconds
LAST_EXAMPLE = 2**31 - 1  # the clock is a 32-bit integer


def begin(stage: Stage, branch: str, before: BatchSizeState, train_examples: int) -> BatchSizeState:
  """Returns what a lane of a branch begins a stage with; `before`: what it ended the last with."""
  bounds = stage.bounds(before.batch_size, train_examples)
  size, factor = batch_size_rules.begin(rule(stage, branch), before.batch_size, bounds)
  return BatchSizeState(size, before.rate_factor * factor)


def begin_all(
  stage: Stage, lanes: Sequence[Any], before: Mapping[int, BatchSizeState], train_examples: int
) -> dict[int, BatchSizeState]:
  """Returns `begin` of every lane (of `lanes.Lane`), by its number."""
  return {x.lane: begin(stage, x.branch, before[x.lane], train_examples) for x in lanes}


def rule(stage: Stage, branch: str) -> str:
  """Returns the rule of batch sizes that lanes of a branch follow in a stage.

  Raises ValueError where the branch chooses none of the rules of a stage that has several.
  """
  if len(stage.batch_size) == 1:
    return stage.batch_size[0]
  chosen = hyperparameters.words_of(branch).get(stage.name)
  if chosen not in stage.batch_size:
    raise ValueError(f'branch {branch!r} chooses none of {stage.batch_size} in {stage.name!r}')
  return chosen


def branches(stages: Sequence[Stage]) -> list[str]:
  """Returns the names of the branches: one for each choice of rules; '' where there is none."""
  several = [stage for stage in stages if len(stage.batch_size) > 1]
  choices = itertools.product(*(stage.batch_size for stage in several))
  return [
    ' '.join(f'{stage.name}={rule}' for stage, rule in zip(several, rules, strict=True))
    for rules in choices
  ]


def refuse_too_many_lanes(config: ConfigDict, stages: Sequence[Stage]) -> None:
  """Raises ConfigError where a study has more lanes than can be planned."""
  factors = {
    'batch sizes': len(config.batch_sizes),
    'learning rates': len(config.learning_rates) * len(scaling_rules.names(config.scaling.rule)),
    'trials': config.trials,
    'branches': math.prod(len(stage.batch_size) for stage in stages)
    * len(hyperparameters.branches(config)),
  }
  if (lanes := math.prod(factors.values())) > MOST_LANES:
    counted = ' x '.join(f'{count} {name}' for name, count in factors.items())
    raise ConfigError(
      f'{counted} are {lanes:,} lanes, and a study may have {MOST_LANES:,}; use fewer of them',
      *('trials', 'batch_sizes', 'learning_rates'),
    )


def possible_sizes(
  batch_sizes: Sequence[int], stages: Sequence[Stage], train_examples: int
) -> frozenset[int]:
  """Returns every batch size that some lane may have in some stage.

  Raises ConfigError where a rule leads to none.
  """
  possible: set[int] = set()
  for branch in branches(stages):
    sizes = set(batch_sizes)
    for stage in stages:
      try:
        reached = [
          batch_size_rules.reachable(rule(stage, branch), size, stage.bounds(size, train_examples))
          for size in sizes
        ]
      except ValueError as error:
        where = f'stages.{stage.name}.batch_size'
        raise ConfigError(f'{where}: {error}', where) from None
      sizes = set().union(*reached)
      possible |= sizes
  return frozenset(possible)


def stage_ends(stages: Sequence[Stage], block: int, train_examples: int) -> list[int]:
  """Returns where each stage ends, in examples: whole blocks from where it begins."""
  ends: list[int] = []
  for stage in stages:
    length = _length(stage, train_examples)
    ends.append((ends[-1] if ends else 0) + round(length / block) * block)
  return ends


def check(
  config: ConfigDict, stages: Sequence[Stage], sizes: frozenset[int], train_examples: int
) -> None:
  """Raises ConfigError where stages are too short for their batches, of all possible sizes."""
  problems: list[Problem] = []
  for stage in stages:
    problems += _length_problems(stage, sizes, train_examples)
  total = sum(_length(stage, train_examples) for stage in stages)
  if total > LAST_EXAMPLE - math.lcm(*sizes):
    sentence = (
      f'epochs={config.epochs} of {train_examples} examples are {total:.0f}, but the clock ends '
      f'at {LAST_EXAMPLE}; use fewer epochs'
    )
    problems.append(Problem(sentence, *(key for stage in stages for key in _lengths(stage))))
  if not problems:
    end = stage_ends(stages, math.lcm(*sizes), train_examples)[-1]
    warmup = round(config.schedule.warmup_epochs * stages[0].share(train_examples))
    if warmup >= end:
      sentence = (
        f'schedule.warmup_epochs={config.schedule.warmup_epochs} is {warmup} examples, but '
        f'training, rounded to whole batches of every size, has {end}; shorten the warm-up or add '
        'epochs'
      )
      problems.append(Problem(sentence, 'schedule.warmup_epochs', 'epochs'))
  if problems:
    raise ConfigError.of(problems)


def _length(stage: Stage, train_examples: int) -> int | float:
  return stage.examples or stage.epochs * stage.share(train_examples)


def _length_problems(stage: Stage, sizes: frozenset[int], train_examples: int) -> list[Problem]:
  wanted, block = _length(stage, train_examples), math.lcm(*sizes)
  what = f'stage {stage.name!r}' if stage.name else 'the whole training'
  if max(sizes) > wanted:
    length = f'{stage.epochs} epochs of {stage.share(train_examples)}'
    sentence = (
      f'batch size {max(sizes)} is larger than the {wanted:.0f} examples of {what} '
      f'({"as configured" if stage.examples else length}); use more epochs or smaller batch sizes'
    )
    return [Problem(sentence, 'batch_sizes', *_lengths(stage))]
  if block > wanted:
    sentence = (
      f'batch_sizes={tuple(sorted(sizes))} coincide only every {block} examples, but {what} '
      f'has {wanted:.0f}; choose sizes that divide one another, such as powers of two, or more '
      'epochs'
    )
    return [Problem(sentence, 'batch_sizes', *_lengths(stage))]
  return []


def _lengths(stage: Stage) -> tuple[str, ...]:
  """The keys that say how long a stage is."""
  names = ('examples',) if stage.examples else ('epochs', 'data_share')
  return tuple(f'stages.{stage.name}.{name}' for name in names) if stage.name else ('epochs',)
