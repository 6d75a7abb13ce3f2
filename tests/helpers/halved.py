"""A made-up study of which learning rates were dropped: of the runs as they are, all that follows.

With and without halving the runs are the same, so that what differs is what it does.
"""

from __future__ import annotations

from typing import Any

from bsjax.plan import halving, plan
from helpers.world_files import Made
from helpers.worlds import TRAIN_EXAMPLES


def halved(
  made: Made,
  rungs: tuple[float, ...],
  keep: float = 0.5,
  train_examples: int = TRAIN_EXAMPLES,
) -> Made:
  """The study that drops learning rates after these shares of training."""
  config = made.config.copy_and_resolve_references()
  config.halving.rungs, config.halving.keep = rungs, keep
  marks = halving.rungs(config, plan.make_plan(config, train_examples))
  ended: dict[int, int] = {}
  rows: list[dict[str, Any]] = [{**row, 'dropped': False} for row in made.rows]
  for mark in marks:
    here = [row for row in rows if row['examples'] == mark and row['lane'] not in ended]
    now = halving.dropped(keep, made.lanes, here)
    ended |= dict.fromkeys(now, mark)
    for row in here:
      row['dropped'] = row['lane'] in now
  left = [row for row in rows if row['examples'] <= ended.get(row['lane'], row['examples'])]
  return Made(config, made.lanes, left, made.facts)
