"""What a study takes over from the one in its workdir that it extends, and what it may not change.

An extended study is the study that has all its settings from the beginning: the runs there are some
of its lanes, which keep their positions, their micro-batches and what lent them weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from bsjax.config.bounds import shown_value
from bsjax.config.errors import ConfigError
from bsjax.config.grid_keys import LENGTHS, SETTINGS
from bsjax.format import joined
from bsjax.plan import plan, rounds
from bsjax.plan.lanes import StudyPlan
from bsjax.storage.records import Row

ELSE = 'or choose another --workdir'
# What `taken_over` may give other values than a config has.
LENT = (*SETTINGS[:-1], *LENGTHS[:-1])  # that a lending study has in common, unless it says so
KEPT = ('evaluation.at', *(f'pretrain.{key}' for key in LENT))


class Extension(NamedTuple):
  """The whole study, and which of its lanes is which there: number there -> number in the whole."""

  plan: StudyPlan
  numbers: dict[int, int]

  @property
  def missing(self) -> frozenset[int]:
    """The lanes that are to be trained."""
    return frozenset(lane.lane for lane in self.plan.lanes) - {*self.numbers.values()}


def taken_over(old: ConfigDict, new: ConfigDict, train_examples: int) -> dict[str, Any]:
  """Returns the keys, with values, that an extended study needs to be what was begun.

  Positions of evaluations are those that lanes had, where others would follow from more batch
  sizes, and the study that lends its weights is not extended. Raises ConfigError where more batch
  sizes move the ends of stages, or update together more rarely than lanes were evaluated.
  """
  keys = lent(old, new)
  if {*old.batch_sizes} == {*new.batch_sizes} and old.evaluation.at == new.evaluation.at:
    return keys
  before = plan.make_plan(old, train_examples)
  marks = [mark for part in before.stages for mark in part.evaluations if mark]
  after = plan.make_plan(new, train_examples)
  _refuse_other_ends(before, after, new)
  if [mark for part in after.stages for mark in part.evaluations if mark] != marks:
    if new.evaluation.at:
      raise ConfigError(
        f'evaluation.at={shown_value(tuple(new.evaluation.at))}, and the runs there were evaluated '
        f'at {shown_value(tuple(marks))}; give these or none, {ELSE}',
        'evaluation.at',
      )
    keys['evaluation.at'] = tuple(marks)
    block = after.first.block_examples
    if odd := [mark for mark in marks if mark % block]:
      raise ConfigError(
        f'batch_sizes={tuple(new.batch_sizes)} update together every {block:,} examples, and the '
        f'runs there were evaluated at {odd[0]:,}; add batch sizes that divide '
        f'{before.first.block_examples:,}, {ELSE}',
        'batch_sizes',
      )
  return keys


def lent(old: ConfigDict, new: ConfigDict) -> dict[str, Any]:
  """Returns the keys, with values, by which the study that lends its weights stays what it was."""
  if not new.pretrain:
    return {}
  return {
    f'pretrain.{key}': old.pretrain.get(key, old[key])
    for key in LENT
    if key not in new.pretrain and (key in old.pretrain or old[key] != new[key])
  }


def _refuse_other_ends(before: StudyPlan, after: StudyPlan, new: ConfigDict) -> None:
  ends, moved = ([part.end for part in study.stages] for study in (before, after))
  if ends != moved:
    was, now = next(pair for pair in zip(ends, moved, strict=True) if pair[0] != pair[1])
    raise ConfigError(
      f'batch_sizes={tuple(new.batch_sizes)} update together every '
      f'{after.first.block_examples:,} examples, so a stage would end at {now:,} examples, and the '
      f'runs there ended it at {was:,}; add batch sizes that divide '
      f'{before.first.block_examples:,}, {ELSE}',
      'batch_sizes',
    )


def with_keys(config: ConfigDict, keys: Mapping[str, Any], arm: str = '') -> ConfigDict:
  """Returns a config with other values of keys, such as 'evaluation.at', or those of an arm."""
  changed = copy.deepcopy(config)
  with changed.unlocked(), changed.ignore_type():
    for name, value in keys.items():
      *path, last = (f'arms.{arm}.{name}' if arm else name).split('.')
      node = changed
      for part in path:
        if part not in node:
          node[part] = ConfigDict()
        node = node[part]
      node[last] = value
  return changed


def extension(
  config: ConfigDict,
  rows: Sequence[Row],
  train_examples: int,
  differing: Mapping[str, Any],
  lengths: Sequence[str] = (),
) -> Extension:
  """Returns the whole study of a config that has the lanes of plan.csv, its `rows`.

  `differing` are the keys of which it has other values, as (there, now). With other `lengths`
  (`longer.Longer.keys`) none of its lanes is one of those there. Raises ConfigError where something
  else differs, settings are taken away, or lanes would not be the same.
  """
  if other := [name for name in differing if name not in (*SETTINGS, *KEPT, *lengths)]:
    was, now = differing[other[0]]
    raise ConfigError(
      f'{other[0]}={shown_value(now)}, and the study there has {shown_value(was)}: a study gets '
      f'more {joined([*(name.replace("_", " ") for name in SETTINGS[:-1]), *LENGTHS[:-1]])}, and '
      f'nothing else; give what is there, {ELSE}',
      other[0],
    )
  _refuse_fewer(config, rows)
  held = plan.micro_batches(list(rows))
  whole = plan.make_plan(config, train_examples)
  whole = plan.regroup(config, whole, micro_batches(config, held, whole.first.possible_sizes))
  return Extension(whole, {} if lengths else _numbers(whole, rows))


def _refuse_fewer(config: ConfigDict, rows: Sequence[Row]) -> None:
  """Raises ConfigError where a setting of plan.csv is none of the config."""
  sizes = {row['batch_size'] for row in rows} - {*config.batch_sizes}
  trials_there = max(row['trial'] for row in rows) + 1
  for key, lacking, given, there in (
    ('batch_sizes', sizes, tuple(config.batch_sizes), min(sizes, default=0)),
    ('trials', trials_there > config.trials, config.trials, trials_there),
  ):
    if lacking:
      raise ConfigError(
        f'{key}={given}, and the study there has {there}: nothing is taken away from a study; give '
        f'all that is there, {ELSE}',
        key,
      )
  planned = {size: rounds.trials_of(config, size) for size in config.batch_sizes}
  for row in rows:
    trials = planned[row['batch_size']].get(row['learning_rate'], 0)
    if row['trial'] >= trials:
      raise ConfigError(
        f'learning_rates={tuple(config.learning_rates)} and rounds give batch size '
        f'{row["batch_size"]} {trials} trials at learning rate {row["learning_rate"]:g}, and the '
        f'study there has more: nothing is taken away from a study; give all that is there, {ELSE}',
        'learning_rates',
        'rounds',
      )


def micro_batches(
  config: ConfigDict, held: Mapping[int, int], sizes: frozenset[int]
) -> dict[int, int]:
  """Returns the micro-batch of each batch size: those `held` stay, others are as near ones.

  `sizes` are all that lanes may come to have. Raises ConfigError where the lanes that hold them
  would have others in the whole study.
  """
  default = plan.default_micro_batches(config, sizes)
  fixed = config.micro_batch != 'auto' or config.model.normalization == 'batch'
  if fixed or sizes != {*config.batch_sizes}:
    if odd := [size for size, micro in held.items() if default[size] != micro]:
      _refuse_micro_batch(config, held, odd[0], default[odd[0]])
    return default
  chosen = {}
  for size in config.batch_sizes:
    # As the next smaller size, or where there is none, by the smallest micro-batch.
    below = [held[other] for other in sorted(held) if other <= size]
    chosen[size] = below[-1] if below else min(held.values())
    if size % chosen[size]:
      _refuse_micro_batch(config, held, size, default[size])
  return chosen


def _refuse_micro_batch(
  config: ConfigDict, held: Mapping[int, int], size: int, needed: int
) -> None:
  micro_batches = joined(sorted({*held.values()}))
  raise ConfigError(
    f'batch_sizes={tuple(config.batch_sizes)}: {size} needs a micro-batch of {needed}, and the '
    f'runs there have {micro_batches} (plan.csv); add batch sizes that are multiples of '
    f'{micro_batches}, or begin a study with micro_batch={needed} in another --workdir',
    'batch_sizes',
  )


def _numbers(whole: StudyPlan, rows: Sequence[Row]) -> dict[int, int]:
  """Which lane of the whole study each lane of plan.csv is; raises ConfigError where one is none.

  Lanes come in the same order in both, also within groups, as checkpoints have them.
  """
  setting = 'batch_size', 'learning_rate', 'branch', 'trial'
  planned = {tuple(row[key] for key in setting): row for row in plan.lane_rows(whole)}
  numbers = {}
  for row in rows:
    as_planned = planned.get(tuple(row[key] for key in setting), {})
    odd = [key for key in row if key not in ('lane', 'group') and row[key] != as_planned.get(key)]
    if odd:
      raise ConfigError(
        f'lane {row["lane"]} of the study there is none of the whole study, whose {odd[0]} is '
        f'{as_planned.get(odd[0])} and not {row[odd[0]]}; {ELSE[3:]}'
      )
    numbers[row['lane']] = as_planned['lane']
  if sorted(numbers.values()) != [numbers[lane] for lane in sorted(numbers)]:
    raise ConfigError(f'batch sizes would be grouped in another order; {ELSE[3:]}')
  return numbers
