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
from bsjax.plan.lanes import StudyPlan
from bsjax.storage import records
from bsjax.train.halving import Halving
from bsjax.train.rows import subset_records


class SubsetEvaluations:
  """Those of a study; there are none where `asked` is false."""

  def __init__(self, workdir: Path, study_plan: StudyPlan, asked: bool, halving: Halving):
    self._path, self._plan, self.asked = workdir / records.SUBSET, study_plan, asked
    self._halving = halving

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

  def truncate(self, end: int) -> None:
    """Drops rows beyond a position."""
    if self.asked:
      records.truncate_after(self._path, end)

  def check(self, lanes: Sequence[records.Row], end: int) -> None:
    """Raises records.Damaged unless every evaluation up to a position is on record."""
    if not self.asked:
      return
    stages = self._plan.stages
    marks = [mark for part in stages for mark in (*part.evaluations, *part.further) if mark <= end]
    rows = records.read(self._path) if self._path.exists() else []
    records.check(rows, lanes, self._path, marks, self._halving.ended)
