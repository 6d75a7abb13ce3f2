"""Conditions compared: the branches of a study, the arms of a study of arms, or both.

Conditions with the same seed share, in each trial, the order of examples (and, where the model is
the same, the initialization), so that they are compared within trials like batch sizes are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bsjax.analysis.measures.gap import estimate
from bsjax.analysis.runs.budgets import quantities
from bsjax.analysis.runs.histories import Row, Setting, by_branch, settings
from bsjax.analysis.runs.selection import Chosen, best_setting, leave_one_trial_out
from bsjax.config.keys import computes

MOST_PAIRED = 6  # conditions; of more, each is compared with the baseline only


@dataclass(frozen=True)
class Condition:
  """One way to train, with the plan and the records of all its lanes."""

  name: str
  config: Mapping[str, Any]
  plan: Sequence[Row]
  rows: Sequence[Row]


class Held(NamedTuple):
  """What a condition has to compare, by batch size.

  `chosen` holds each trial at the learning rate that the other trials chose (where there is one
  trial or one rate, at that); `failed` says why a batch size has nothing.
  """

  tried: Mapping[int, Sequence[Setting]]
  chosen: Mapping[int, Setting]
  selection: Mapping[int, Chosen]
  failed: Mapping[int, str]

  @property
  def at_edge(self) -> list[int]:
    """Batch sizes whose learning rate is at the edge of the grid: a better one may lie outside."""
    return [
      size
      for size, setting in self.chosen.items()
      if len(rates := [each.learning_rate for each in self.tried[size]]) > 1
      and setting.learning_rate in (min(rates), max(rates))
    ]

  @property
  def untuned(self) -> list[int]:
    """Batch sizes at which one learning rate was tried."""
    return [size for size in self.chosen if len(self.tried[size]) == 1]


def of_study(
  config: Mapping[str, Any], plan_rows: Sequence[Row], record_rows: Sequence[Row], name: str = ''
) -> list[Condition]:
  """The branches of a study as conditions, the baseline first; without any, the study itself.

  `name` is that of the study, where it is an arm of a larger one.
  """
  return [
    Condition(' / '.join(filter(None, (name, branch))), config, *part)
    for branch, part in by_branch(plan_rows, record_rows).items()
  ]


def hold(condition: Condition) -> Held:
  """Chooses the learning rate of every batch size, or says why there is none."""
  tried = settings(condition.plan, condition.rows)
  selection = {size: leave_one_trial_out(each) for size, each in tried.items()}
  failed = {size: each.reason for size, each in selection.items() if each.reason}
  chosen = {
    size: Setting(size, best_setting(tried[size]).learning_rate, each.lanes)
    for size, each in selection.items()
    if size not in failed and best_setting(tried[size])
  }
  failed |= {
    size: 'no learning rate ended well in every trial'
    for size in tried
    if size not in chosen and size not in failed
  }
  return Held(tried, chosen, selection, _with_problems(failed, tried))


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
  """All pairs in order; of more than MOST_PAIRED conditions those with the first, the baseline."""
  if len(names) <= MOST_PAIRED:
    return list(itertools.combinations(names, 2))
  return [(names[0], name) for name in names[1:]]


def table(held: Mapping[str, Held]) -> list[dict[str, Any]]:
  """What each condition reached at its own end at each batch size, or the reason why nothing.

  [{'condition', 'batch_size', 'learning_rate', 'at_grid_edge', 'selection',
  'trial_learning_rates', 'examples', 'updates': [fewest, most], quantity: E, ...} or {'condition',
  'batch_size', 'reason'}], E as {'mean', 'ci95', 'n'}.
  """
  rows = []
  for name, each in held.items():
    for size in each.tried:
      row: dict[str, Any] = {'condition': name, 'batch_size': size}
      if size in each.failed:
        rows.append(row | {'reason': each.failed[size]})
        continue
      rows.append(row | _reached(each, size))
  return rows


def failures(held: Mapping[str, Held]) -> list[dict[str, Any]]:
  """The conditions that have no result at some batch size, and why."""
  return [
    {'condition': name, 'batch_size': size, 'reason': reason}
    for name, each in held.items()
    for size, reason in each.failed.items()
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


def _with_problems(
  failed: Mapping[int, str], tried: Mapping[int, Sequence[Setting]]
) -> dict[int, str]:
  """The same reasons, with what went wrong in the settings themselves."""
  result = {}
  for size, reason in failed.items():
    rates: dict[str, list[str]] = {}
    for setting in tried[size]:
      if setting.problem:
        rates.setdefault(setting.problem, []).append(f'{setting.learning_rate:.4g}')
    found = [f'{problem} at learning rate {", ".join(at)}' for problem, at in rates.items()]
    result[size] = f'{reason} ({"; ".join(found)})' if found else reason
  return result


def _reached(held: Held, size: int) -> dict[str, Any]:
  setting, selection = held.chosen[size], held.selection[size]
  finals = [lane.final for lane in setting.lanes]
  values = [quantities(row) for row in finals]
  updates = [row['updates'] for row in finals]
  names = [
    name for name in values[0] if name not in ('epoch', 'updates', 'learning_rate', 'loss_gap')
  ]
  one = 'one learning rate was tried: nothing was tuned at this batch size'
  return ({'note': one} if size in held.untuned else {}) | {
    'learning_rate': setting.learning_rate,
    'at_grid_edge': size in held.at_edge,
    'selection': selection.selection,
    'trial_learning_rates': selection.learning_rates,
    'examples': max(row['examples'] for row in finals),
    'updates': [min(updates), max(updates)],
    **{name: estimate([value.get(name) for value in values]) for name in names},
  }


def _flat(config: Mapping[str, Any], prefix: str = '') -> list[tuple[str, Any]]:
  found = []
  for key, value in config.items():
    if isinstance(value, Mapping):
      found += _flat(value, f'{prefix}{key}.')
    else:
      found.append((f'{prefix}{key}', value))
  return found
