"""Which settings a study has where it is no full grid: boxes, added one after another.

A box is batch sizes, learning rates and a number of trials; a study has the runs that are in any of
its boxes. `batch_sizes`, `learning_rates` and `trials` of the config are what all of them span.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

from ml_collections import ConfigDict

from bsjax.config.bounds import shown_value
from bsjax.config.errors import ConfigError, Problem
from bsjax.plan import scaling_rules

Config: TypeAlias = Mapping[str, Any] | ConfigDict


class Box(NamedTuple):
  """Every batch size with every learning rate, in so many trials, counted from the first.

  Learning rates are as in `config.learning_rates`, from which rules make those of batch sizes.
  """

  batch_sizes: tuple[int, ...]
  learning_rates: tuple[float, ...]
  trials: int

  @classmethod
  def of(cls, value: Any) -> Box:
    """Reads what a config holds; raises TypeError or ValueError where that is no box."""
    sizes, rates, trials = value
    return cls(tuple(sizes), tuple(rates), trials)

  @classmethod
  def if_sound(cls, value: Any) -> Box | None:
    """The box of numbers that could be a study's, nothing twice and nothing empty; else None."""
    try:
      box = cls.of(value)
    except (TypeError, ValueError):
      return None
    whole = (*box.batch_sizes, box.trials)
    sound = (
      all(isinstance(x, Integral) and not isinstance(x, bool) and x > 0 for x in whole)
      and all(isinstance(x, Real) and not isinstance(x, bool) and x > 0 for x in box.learning_rates)
      and all(items and len(set(items)) == len(items) for items in box[:2])
    )
    return box if sound else None


def of(config: Config) -> tuple[Box, ...]:
  """Returns the boxes of a valid config, the whole grid where it names none."""
  return tuple(map(Box.of, config.get('rounds') or ())) or (_grid(config),)


def _grid(config: Config) -> Box:
  return Box(tuple(config['batch_sizes']), tuple(config['learning_rates']), config['trials'])


def trials_of(config: Config, batch_size: int) -> dict[float, int]:
  """Returns the learning rates of a batch size, ascending, and how many trials each has."""
  scaling, boxes = config['scaling'], [box for box in of(config) if batch_size in box.batch_sizes]
  given = scaling['rule'], config['learning_rates'], batch_size, scaling['base_batch_size']
  counts = dict.fromkeys(scaling_rules.rates(*given), 0)
  for box in boxes:
    of_box = scaling_rules.rates(given[0], box.learning_rates, *given[2:])
    for rate in counts:
      if any(scaling_rules.same(rate, other) for other in of_box):
        counts[rate] = max(counts[rate], box.trials)
  return {rate: count for rate, count in counts.items() if count}


def conflicts(config: ConfigDict) -> list[Problem]:
  """Lists what is wrong with the boxes of a config, each with its value and remedy."""
  rounds, boxes = config.rounds, []
  if not isinstance(rounds, tuple | list):
    rounds = [rounds]
  for value in rounds:
    if (box := Box.if_sound(value)) is None:
      sentence = (
        f'rounds: {shown_value(value)} is no box; give each as (batch sizes, learning rates, '
        'number of trials), such as ((8, 16), (0.1,), 3), nothing twice'
      )
      return [Problem(sentence, 'rounds')]
    boxes.append(box)
  if not boxes:
    return []
  grid = _grid(config)
  spans = zip(Box._fields, grid, _span([grid]), _span(boxes), strict=True)
  return [
    Problem(
      f'rounds have the {key.replace("_", " ")} {shown_value(all_boxes)}, but {key}='
      f'{shown_value(given)}; give there what all rounds have, or make them with '
      'plan.rounds.extended(config, boxes)',
      'rounds',
      key,
    )
    for key, given, ascending, all_boxes in spans
    if ascending != all_boxes
  ]


def extended(config: ConfigDict, boxes: Iterable[Sequence[Any]]) -> ConfigDict:
  """Returns the config of the study that has the runs of these boxes too.

  Where all boxes make a full grid it is that of the grid, without rounds, and boxes that add
  nothing leave it as it is. Raises ConfigError for what is no box.
  """
  changed, together = copy.deepcopy(config), list(of(config))
  for value in boxes:
    if (box := Box.if_sound(value)) is None:
      raise ConfigError(
        f'{value!r} is no box: give (batch sizes, learning rates, number of trials)'
      )
    if _runs([*together, box]) != _runs(together):
      together.append(box)
  span = _span(together)
  full = _runs(together) == _runs([span])
  with changed.ignore_type():
    for key in ('batch_sizes', 'learning_rates'):
      known = tuple(config[key])
      changed[key] = (*known, *(x for x in getattr(span, key) if x not in known))
    changed.trials = span.trials
    changed.rounds = () if full else tuple(tuple(box) for box in together)
  return changed


def budget_seconds(decide: Config) -> float:
  """Returns how long all rounds of a question may take; infinite where no budget bounds it."""
  if not decide['budget'] or decide['budget_unit'] == 'lane_examples':
    return math.inf
  per_hour = decide['price_per_hour'] if decide['budget_unit'] == 'price' else 60
  return 3600 * decide['budget'] / per_hour


def _span(boxes: Sequence[Box]) -> Box:
  """The smallest full grid that has all boxes, ascending."""
  sizes = {size for box in boxes for size in box.batch_sizes}
  rates = {rate for box in boxes for rate in box.learning_rates}
  return Box(tuple(sorted(sizes)), tuple(sorted(rates)), max(box.trials for box in boxes))


def _runs(boxes: Iterable[Box]) -> dict[tuple[int, float], int]:
  """The number of trials by batch size and learning rate as given."""
  counts: dict[tuple[int, float], int] = {}
  for box in boxes:
    for setting in itertools.product(box.batch_sizes, box.learning_rates):
      counts[setting] = max(counts.get(setting, 0), box.trials)
  return counts
