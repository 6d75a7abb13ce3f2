"""Conditions compared: the branches of a study, the arms of a study of arms, or both.

Conditions with the same seed share, in each trial, the order of examples (and, where the model is
the same, the initialization), so that they are compared within trials like batch sizes are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bsjax.analysis.claims import confounds
from bsjax.analysis.measures.gap import estimate
from bsjax.analysis.runs.budgets import at_end
from bsjax.analysis.runs.histories import Row, Setting, Tried, by_branch, settings
from bsjax.analysis.runs.selection import Chosen, select
from bsjax.config.keys import computes
from bsjax.plan.hyperparameters import of_branch
from bsjax.stats.estimate import Reason

MOST_PAIRED = 6  # conditions; of more, each is compared with the baseline only


@dataclass(frozen=True)
class Condition:
  """One way to train, with the plan and the records of all its lanes."""

  name: str
  config: Mapping[str, Any]
  plan: Sequence[Row]
  rows: Sequence[Row]


class Held(NamedTuple):
  """What a condition has to compare, by batch size: each at its best learning rate.

  `failed` says why a batch size has nothing, `trained` holds what its config says of training but
  for how hyperparameters of lanes are made, which stand in the plan.
  """

  tried: Tried
  chosen: Chosen
  failed: Mapping[int, Reason]
  trained: Mapping[str, Any] = {}


def of_study(
  config: Mapping[str, Any], plan_rows: Sequence[Row], record_rows: Sequence[Row], name: str = ''
) -> list[Condition]:
  """The branches of a study as conditions, the baseline first; without any, the study itself.

  `name` is that of the study, where it is an arm of a larger one.
  """
  return [
    Condition(' / '.join(filter(None, (name, branch))), of_branch(config, branch), *part)
    for branch, part in by_branch(plan_rows, record_rows).items()
  ]


def hold(condition: Condition) -> Held:
  """Chooses the learning rate of every batch size, or says why there is none."""
  tried = settings(condition.plan, condition.rows)
  chosen, failed = select(tried)
  why = {
    size: Reason('no_result', why=reason, problems=problems_by_rate(tried[size]))
    for size, reason in failed.items()
  }
  trained = {
    key: value
    for key, value in _flat(condition.config)
    if computes(key) and key != 'scaling.hyperparameters' and not key.startswith('axes.')
  }
  return Held(tried, chosen, why, trained)


def problems_by_rate(tried: Sequence[Setting]) -> list[tuple[Any, list[float]]]:
  """What went wrong, with the learning rates at which it did: often the same at many."""
  rates: dict[Any, list[float]] = {}
  for setting in tried:
    if setting.problem:
      rates.setdefault(setting.problem, []).append(setting.learning_rate)
  return list(rates.items())


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
  """All pairs in order; of more than MOST_PAIRED conditions those with the first, the baseline."""
  if len(names) <= MOST_PAIRED:
    return list(itertools.combinations(names, 2))
  return [(names[0], name) for name in names[1:]]


def table(held: Mapping[str, Held]) -> list[dict[str, Any]]:
  """What each condition reached at its own end at each batch size, or the reason why nothing.

  [{'condition', 'batch_size', 'learning_rate', 'at_grid_edge', 'selection', 'best_rate',
  'examples', 'updates': [fewest, most], quantity: E, ...} or {'condition', 'batch_size',
  'reason'}], E as {'mean', 'ci95', 'n'}.
  """
  rows = []
  for name, one in held.items():
    for size in one.tried:
      row: dict[str, Any] = {'condition': name, 'batch_size': size}
      if size in one.failed:
        rows.append(row | {'reason': one.failed[size]})
        continue
      rows.append(row | _reached(one, size))
  return rows


def failures(held: Mapping[str, Held]) -> list[dict[str, Any]]:
  """The conditions that have no result at some batch size, and why."""
  return [
    {'condition': name, 'batch_size': size, 'reason': reason}
    for name, one in held.items()
    for size, reason in one.failed.items()
  ]


def differences(conditions: Sequence[Condition]) -> dict[str, dict[str, list[Any]]]:
  """condition -> key -> [value of the baseline, its own], for keys that change what is computed."""
  flat = {each.name: dict(_flat(each.config)) for each in conditions}
  if not flat:
    return {}
  first = flat[conditions[0].name]
  return {
    name: {
      key: [first.get(key), own.get(key)]
      for key in sorted(first.keys() | own.keys())
      if first.get(key) != own.get(key) and computes(key)
    }
    for name, own in flat.items()
    if name != conditions[0].name
  }


def _reached(held: Held, size: int) -> dict[str, Any]:
  setting = held.chosen[size]
  finals, reading = [lane.final for lane in setting.lanes], at_end(setting)
  updates = [row['updates'] for row in finals]
  left_out = 'epoch', 'updates', 'learning_rate', 'loss_gap'
  names = [name for name in reading.values if name not in left_out]
  return ({'note': Reason('untuned')} if len(held.tried[size]) == 1 else {}) | {
    'learning_rate': setting.learning_rate,
    'at_grid_edge': confounds.at_edge(held.tried[size], setting),
    'selection': setting.selection,
    'best_rate': setting.best_rate,
    'examples': max(row['examples'] for row in finals),
    'updates': [min(updates), max(updates)],
    **{name: estimate(reading.repeated(name), name) for name in names},
  }


def _flat(config: Mapping[str, Any], prefix: str = '') -> list[tuple[str, Any]]:
  keys = []
  for key, value in config.items():
    if isinstance(value, Mapping):
      keys += _flat(value, f'{prefix}{key}.')
    else:
      keys.append((f'{prefix}{key}', value))
  return keys
