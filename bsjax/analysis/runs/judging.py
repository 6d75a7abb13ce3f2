"""By what the runs of a study are judged: what its config says of its task, and a usual value."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import Judged, judged_of
from bsjax.storage import records


def judged_by(config: Mapping[str, Any], record_rows: Sequence[Row]) -> Judged:
  """The metric and the loss of a config, with a margin of the size that the runs' values have.

  The margin is that of the metric, or else a share of the middle of the last values of all runs.
  """
  plain = judged_of(config)
  if plain.metric.margin is not None:
    return plain
  last: dict[int, float] = {}
  ended = records.dropped(record_rows)
  for row in sorted(record_rows, key=lambda row: row['examples']):
    value = row.get(plain.val)
    sound = value is not None and math.isfinite(value) and not row['diverged']
    if row['examples'] and sound and row['lane'] not in ended:
      last[row['lane']] = value
  return judged_of(config, statistics.median(last.values()) if last else math.nan)
