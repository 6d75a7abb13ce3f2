"""The runs that were lost: which, after how many examples, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.stats.estimate import Reason


def diverged(plan_rows: Sequence[Row], record_rows: Sequence[Row]) -> list[dict[str, Any]]:
  """One row for each lane that diverged, in order of lanes.

  `examples` are those it had seen at its last good update, or at the evaluation that found it.
  Records of earlier versions know of evaluations only, and no reasons.
  """
  first: dict[int, Row] = {}
  for row in sorted(record_rows, key=lambda row: row['examples']):
    if row['diverged']:
      first.setdefault(row['lane'], row)
  columns = 'lane', 'batch_size', 'learning_rate', 'trial', 'branch'
  return [
    {
      **{name: lane.get(name, '') for name in columns},
      'examples': first[lane['lane']].get('diverged_at', first[lane['lane']]['examples']),
      'because': Reason(first[lane['lane']].get('diverged_because', 'cause_not_recorded')),
      'code': first[lane['lane']].get('diverged_because'),
    }
    for lane in sorted(plan_rows, key=lambda row: row['lane'])
    if lane['lane'] in first
  ]
