"""Evaluations on a subset of the examples, beside those of whole splits and in a file of their own.

They change nothing of lanes or of what is measured while training, so that records.jsonl is the
same with and without them.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bsjax.engine import processes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.device_lanes import Lanes
from bsjax.storage import records
from bsjax.train.halving import Halving
from bsjax.train.rows import subset_records


class SubsetEvaluations:
  """Those of a study; there are none where `asked` is false."""

  def __init__(self, workdir: Path, asked: bool, halving: Halving):
    self._path, self.asked, self._halving = workdir / records.SUBSET, asked, halving

  def begin(
    self,
    groups: Sequence[Lanes],
    data: DeviceData,
    position: dict[str, Any],
    guessing: float | None = None,
  ) -> Callable[[], list[dict[str, Any]]]:
    """Has all lanes evaluated; what it returns waits for the results, records and returns them."""
    taken = [
      (group.group.lanes, group.evaluate_subset(data), group.rates(), dict(group.diverged))
      for group in groups
    ]
    return functools.partial(self._record, taken, position, guessing)

  def _record(
    self, taken: Sequence[tuple], position: dict[str, Any], guessing: float | None
  ) -> list[dict[str, Any]]:
    rows = [
      row
      for lanes, snapshot, rates, diverged in taken
      for row in subset_records(lanes, *snapshot(), position, rates, diverged, guessing)
    ]
    rows = self._halving.living(rows)
    if processes.is_first():
      records.append(self._path, rows)
    return rows
