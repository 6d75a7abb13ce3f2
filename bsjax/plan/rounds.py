"""Which settings a study has where it is no full grid: boxes, added one after another.

A box is batch sizes, learning rates and a number of trials; a study has the runs that are in any of
its boxes. `batch_sizes`, `learning_rates` and `trials` of the config are what all of them span.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

from ml_collections import ConfigDict

from bsjax.config.bounds import shown_value
from bsjax.config.errors import ConfigError
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

  @property
  def sound(self) -> bool:
    """Whether its numbers could be those of a study, names nothing twice and is not empty."""
    whole = (*self.batch_sizes, self.trials)
    return (
      all(isinstance(x, Integral) and not isinstance(x, bool) and x > 0 for x in whole)
      and all(isinstance(x, Real) and not isinstance(x, bool) and x > 0 for x in self[1])
      and all(items and len(set(items)) == len(items) for items in self[:2])
    )


def of(config: Config) -> tuple[Box, ...]:
  """Returns the boxes of a valid config, the whole grid where it names none."""
  given = tuple(map(Box.of, config.get('rounds') or ()))
  grid = Box(tuple(config['batch_sizes']), tuple(config['learning_rates']), config['trials'])
  return given or (grid,)


SPANNED = ('batch_sizes', 'learning_rates')  # by all boxes, as trials are


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


def conflicts(config: ConfigDict) -> list[str]:
  """Lists what is wrong with the boxes of a config, each with its value and remedy."""
  rounds, boxes = config.rounds, []
  if not isinstance(rounds, tuple | list):
    rounds = [rounds]
  for value in rounds:
    try:
      boxes.append(Box.of(value))
    except (TypeError, ValueError):
      boxes.append(Box((), (), 0))
    if not boxes[-1].sound:
      return [
        f'rounds: {shown_value(value)} is no box; give each as (batch sizes, learning rates, '
        'number of trials), such as ((8, 16), (0.1,), 3), nothing twice'
      ]
  if not boxes:
    return []
  spanned = _span(boxes)
  return [
    f'rounds have the {key.replace("_", " ")} {shown_value(spans)}, but {key}='
    f'{shown_value(config[key] if key == "trials" else tuple(config[key]))}; give there what all '
    'rounds have, or make them with plan.rounds.extended(config, boxes)'
    for key, spans in spanned.items()
    if (spans != config[key] if key == 'trials' else {*spans} != {*config[key]})
  ]


def extended(config: ConfigDict, boxes: Iterable[Sequence[Any]]) -> ConfigDict:
  """Returns the config of the study that has the runs of these boxes too.

  Where all boxes make a full grid it is that of the grid, without rounds, and boxes that add
  nothing leave it as it is. Raises ConfigError for what is no box.
  """
  changed, together = copy.deepcopy(config), list(of(config))
  for value in boxes:
    try:
      box = Box.of(value)
    except (TypeError, ValueError):
      box = Box((), (), 0)
    if not box.sound:
      raise ConfigError(
        f'{value!r} is no box: give (batch sizes, learning rates, number of trials)'
      )
    if _runs([*together, box]) != _runs(together):
      together.append(box)
  spanned = _span(together)
  grid = Box(spanned['batch_sizes'], spanned['learning_rates'], spanned['trials'])
  full = _runs(together) == _runs([grid])
  with changed.ignore_type():
    for key in SPANNED:
      known = tuple(config[key])
      changed[key] = (*known, *sorted(x for x in spanned[key] if x not in known))
    changed.trials = spanned['trials']
    changed.rounds = () if full else tuple(tuple(box) for box in together)
  return changed


def _span(boxes: Sequence[Box]) -> dict[str, Any]:
  """What boxes span together, by key of the config."""
  return {
    **{key: tuple(sorted({x for box in boxes for x in getattr(box, key)})) for key in SPANNED},
    'trials': max(box.trials for box in boxes),
  }


def _runs(boxes: Iterable[Box]) -> dict[tuple[int, float], int]:
  """The number of trials by batch size and learning rate as given."""
  counts: dict[tuple[int, float], int] = {}
  for box in boxes:
    for setting in itertools.product(box.batch_sizes, box.learning_rates):
      counts[setting] = max(counts.get(setting, 0), box.trials)
  return counts
