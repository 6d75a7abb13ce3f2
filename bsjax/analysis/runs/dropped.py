"""The learning rates that were dropped within training, and what that leaves unknown.

A rate that was dropped was tried, and worse than others at its rung. What it would have come to is
not known: no number of it is one of the end, and a best rate next to it may not be the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row, Setting
from bsjax.storage import records


def beside(tried: Sequence[Setting], learning_rate: float) -> tuple[float, ...]:
  """The dropped neighbours of one of ascending rates, where none beyond them ended well either."""
  at = [setting.learning_rate for setting in tried].index(learning_rate)
  sides = tried[:at][::-1], tried[at + 1 :]
  open_sides = (side for side in sides if side and unknown(side[0]))
  nearest = (side[0] for side in open_sides if all(one.problem for one in side))
  return tuple(sorted(one.learning_rate for one in nearest))


def unknown(setting: Setting) -> bool:
  """Whether it was dropped, and may be the best: not where a trial diverged."""
  return bool(setting.dropped) and not any(lane.diverged for lane in setting.lanes)


def trained(lanes: Sequence[Row], record_rows: Sequence[Row]) -> int:
  """The examples that lanes of a plan train on in all; of a dropped one those up to its rung."""
  ended = records.dropped(record_rows)
  return sum(min(ended.get(row['lane'], row['examples']), row['examples']) for row in lanes)


def dropped(
  config: Mapping[str, Any], plan_rows: Sequence[Row], record_rows: Sequence[Row]
) -> dict[str, Any] | None:
  """What was dropped and when, and what was trained; None of a study that drops nothing.

  'rates' has one row for each setting with dropped lanes, in order of lanes; 'examples' are those
  that each of these had seen.
  """
  if not config.get('halving', {}).get('rungs'):
    return None
  ended = records.dropped(record_rows)
  lanes = sorted((row for row in plan_rows if row['lane'] in ended), key=lambda row: row['lane'])
  columns = 'batch_size', 'learning_rate', 'branch'
  rates = []
  for setting, members in itertools.groupby(lanes, key=lambda row: [row[name] for name in columns]):
    mine = [row['lane'] for row in members]
    rates.append(dict(zip(columns, setting, strict=True)))
    rates[-1] |= {'examples': ended[mine[0]], 'lanes': mine}
  return {
    'rungs': sorted(set(ended.values())),
    'rates': rates,
    'lane_examples': trained(plan_rows, record_rows),
    'of': sum(row['examples'] for row in plan_rows),
  }
