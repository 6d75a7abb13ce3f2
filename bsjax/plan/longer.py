"""Studies that get more epochs or evaluations: what these change, and who is trained again for it.

Such a study is the one that has them from the beginning. Records of other positions, or of a
learning rate that falls with the length of training, cannot be made from those there, so that all
lanes are trained again, beside what is there. They go on where both are the same up to its end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from bsjax.config import bounds
from bsjax.config.bounds import shown_value
from bsjax.config.errors import ConfigError
from bsjax.config.grid_keys import LENGTHS, SETTINGS, STAGE_LENGTHS
from bsjax.plan import plan
from bsjax.plan.extension import ELSE, with_keys

*OF_STUDY, AT = LENGTHS


class Longer(NamedTuple):
  """`keys` are those with other values than there; `again` why all lanes are trained again.

  `again`: 'settings' (there are new ones, too), 'subset' (its records are not taken over),
  'schedule' (which goes by the length of training), 'positions' (of evaluations, or ends of
  stages); '': lanes go on from their last checkpoint.
  """

  keys: tuple[str, ...]
  again: str


def longer(old: ConfigDict, new: ConfigDict, train_examples: int) -> Longer | None:
  """Returns what more epochs or evaluations of a config change; None where it has none.

  Raises ConfigError where it has fewer, or where they change nothing.
  """
  asked, at, was = _asked(old, new), tuple(new.evaluation.at), tuple(old.evaluation.at)
  if not asked and at in ((), was):
    return None
  only = with_keys(old, {key: now for key, (_, now) in asked.items()} | {AT: at})
  before, after = (_Marks.of(config, train_examples) for config in (old, only))
  if not asked and not {*before.evaluations} < {*after.evaluations}:
    return None
  _refuse_less(asked, before, after)
  if before == after:
    key, (_, now) = next(iter(asked.items()))
    raise ConfigError(
      f'{key}={shown_value(now)} changes neither where the study there ends nor where it is '
      f'evaluated; give what is there, {ELSE}',
      key,
    )
  return Longer((*asked, *((AT,) if at != was else ())), _why_again(old, new, before, after))


def _asked(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
  """The lengths of which a config has other values than a study: (there, now)."""
  order = tuple(new.stages.order)
  if tuple(old.stages.order) != order:
    return {}  # which is another study
  keys = [*OF_STUDY, *(f'stages.{name}.{key}' for name in order for key in STAGE_LENGTHS)]
  values = {key: (bounds.at(old, key), bounds.at(new, key)) for key in keys}
  return {key: both for key, both in values.items() if both[0] != both[1]}


class _Marks(NamedTuple):
  """Where stages end, and where lanes are evaluated."""

  ends: tuple[int, ...]
  evaluations: tuple[int, ...]

  @classmethod
  def of(cls, config: ConfigDict, train_examples: int) -> _Marks:
    stages = plan.make_plan(config, train_examples).stages
    marks = (mark for part in stages for mark in part.evaluations)
    return cls(tuple(part.end for part in stages), tuple(marks))


def _refuse_less(asked: dict[str, tuple[Any, Any]], before: _Marks, after: _Marks) -> None:
  """Raises ConfigError where a stage would be shorter, or evaluations fewer."""
  lengths = [np.diff([0, *marks.ends]) for marks in (before, after)]
  fewer = len(after.evaluations) < len(before.evaluations)
  for key, (there, now) in asked.items():
    of_length, less = key != 'evaluations', now < there
    if less and (not of_length or (lengths[1] < lengths[0]).any()):
      raise ConfigError(
        f'{key}={shown_value(now)}, and the study there has {shown_value(there)}: nothing is taken '
        f'away from a study; give that or more, {ELSE}',
        key,
      )
  if fewer or (lengths[1] < lengths[0]).any():
    raise ConfigError(
      f'the study there is evaluated {len(before.evaluations)} times up to {before.ends[-1]:,} '
      f'examples, and this one would be {len(after.evaluations)} times up to {after.ends[-1]:,}: '
      f'nothing is taken away from a study; give more, {ELSE}',
      *asked,
    )


def _why_again(old: ConfigDict, new: ConfigDict, before: _Marks, after: _Marks) -> str:
  if any(_plain(old[key]) != _plain(new[key]) for key in SETTINGS):
    return 'settings'
  if new.evaluation.subset:
    return 'subset'
  end = before.ends[-1]
  up_to_it = tuple(mark for mark in after.evaluations if mark <= end)
  if before.ends[:-1] != after.ends[:-1] or up_to_it != before.evaluations:
    return 'positions'
  return '' if new.schedule.name == 'constant' else 'schedule'


def _plain(value: Any) -> Any:
  """Lists of JSON as tuples of a config."""
  return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value
