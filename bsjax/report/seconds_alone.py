"""How long a run of a condition takes by itself, from what its stages were measured to cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.analysis.claims.conditions import Condition

ENDS = ('median', 'low', 'high')


def seconds_alone(condition: Condition, cost: Mapping[str, Any]) -> dict[int, dict[str, float]]:
  """Seconds of training by the batch size that runs begin with, as {'median', 'low', 'high'}.

  `cost` is native_cost.json of the study. The sum over stages, each at the batch size that it was
  run with; the ends are sums of ends. Batch sizes that change while a stage lasts, or whose cost
  was not measured, are left out.
  """
  names = condition.config.get('stages', {}).get('order') or ('',)
  measured = {(row['stage'], row['batch_size']): row.get('seconds') for row in cost['rows']}
  lanes = {row['lane']: row['batch_size'] for row in condition.plan}
  sizes: dict[int, dict[int, set[int]]] = {size: {} for size in lanes.values()}
  for row in condition.rows:
    if row['examples'] and row['lane'] in lanes:
      begun = lanes[row['lane']]
      of_stage = sizes[begun].setdefault(row.get('stage', 0), set())
      of_stage.add(row.get('batch_size', begun))  # which older versions did not record
  seconds = {}
  for size, by_stage in sizes.items():
    single = {index: min(seen) for index, seen in by_stage.items() if len(seen) == 1}
    parts = [measured.get((name, single.get(index))) for index, name in enumerate(names)]
    if all(parts):
      seconds[size] = {end: sum(part[end] for part in parts) for end in ENDS}
  return seconds
