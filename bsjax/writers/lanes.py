"""What writers make of lanes and rows: names that sort, settings, scalars by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.keys import BY_NAME
from bsjax.storage.records import Row

_SETTING = ('batch_size', 'learning_rate', 'trial', 'branch')
_GRID = ('batch_sizes', 'learning_rates', 'trials', 'rounds', 'writers')  # of all lanes, or of none
_ENDS = ('low', 'high')  # of an interval


def names(plan: Sequence[Row]) -> dict[int, str]:
  """Returns by lane a name that sorts as the plan does, such as '07-batch_size=16-...-trial=1'."""
  width = len(str(max(row['lane'] for row in plan)))
  named = {}
  for row in plan:
    parts = [f'{row["lane"]:0{width}d}', *(f'{key}={value}' for key, value in setting(row).items())]
    named[row['lane']] = re.sub(r'[^\w=.+-]', '_', '-'.join(parts))  # it is a folder, too
  return named


def setting(lane: Row) -> Row:
  """Returns what tells a lane from others: batch size, learning rate, trial, and branch if any."""
  return {key: lane[key] for key in _SETTING if lane[key] != ''}


def changed(config: ConfigDict) -> Row:
  """Returns the keys of a study that are not at their defaults, but for those of the grid."""
  return {
    name: value if isinstance(value, int | float | str) else str(value)
    for name, value in _flat(config.to_dict(), '.')
    if name not in _GRID and (name not in BY_NAME or value != BY_NAME[name].default)
  }


def scalars(row: Row) -> dict[str, float]:
  """Returns the numbers of a row by name, nested ones as 'noise/trace'.

  Ends of an interval are 'b_simple_ci95/low' and 'b_simple_ci95/high'. What is null, a text or a
  list by class is left out, and so are the lane and `examples`, which is the step.
  """
  numbers: dict[str, float] = {}
  for name, value in _flat({k: v for k, v in row.items() if k not in ('lane', 'examples')}, '/'):
    if isinstance(value, list) and name.endswith('ci95'):
      ends = zip(_ENDS, value, strict=True)
      numbers |= {f'{name}/{end}': float(item) for end, item in ends if item is not None}
    elif isinstance(value, int | float):
      numbers[name] = float(value)
  return numbers


def _flat(tree: Mapping[str, Any], between: str, prefix: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flat(value, between, f'{prefix}{key}{between}')
    else:
      yield f'{prefix}{key}', value
