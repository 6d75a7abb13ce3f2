"""Evaluations on whole splits: their rows in records.jsonl, and what these say of lanes."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bsjax.engine import processes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.device_lanes import Lanes
from bsjax.models.task import CLASSIFICATION, Task
from bsjax.storage import records
from bsjax.storage.writers import Mirrors
from bsjax.train.halving import Halving
from bsjax.train.rows import lane_records


class WholeEvaluations:
  """Those of a training, which writers hear of, too."""

  def __init__(self, workdir: Path, task: Task, mirrors: Mirrors, halving: Halving):
    self._path, self._mirrors, self._halving = workdir / 'records.jsonl', mirrors, halving
    self._task, self._began = task, 0.0  # the largest loss with which a lane began

  @property
  def guessing(self) -> float | None:
    """The loss of a model that knows nothing; None where the records know it."""
    return None if self._task is CLASSIFICATION else self._task.guessing or self._began

  def begin(
    self, groups: Sequence[Lanes], data: DeviceData, train_examples: int, position: dict[str, Any]
  ) -> Callable[[], list[records.Row]]:
    """Has all lanes evaluated; what it returns waits for the results, records and returns them."""
    taken = [
      (g.group.lanes, g.evaluate(data), g.rates(), (g.programs.probed, train_examples),
       dict(g.diverged))
      for g in groups
    ]  # fmt: skip
    return functools.partial(self._record, taken, position)

  def _record(self, taken: Sequence[tuple], position: dict[str, Any]) -> list[records.Row]:
    rows = [
      row
      for lanes, snapshot, rates, probe, diverged in taken
      for row in lane_records(lanes, snapshot(), position, rates, probe, diverged, self.guessing)
    ]
    rows = self._halving.noted(rows)
    self._look_at(rows)
    if processes.is_first():
      records.append(self._path, rows)
      self._mirrors.rows(rows)
    return rows

  def remember(self, rows: Sequence[records.Row]) -> None:
    """Goes on from the rows on record."""
    self._look_at(rows)
    self._halving.remember(rows, self._path)

  def _look_at(self, rows: Sequence[records.Row]) -> None:
    """Keeps the largest finite loss before training, beside which a lane may have diverged."""
    losses = [row['train_loss'] for row in rows if not row['examples']]
    self._began = max([self._began, *(x for x in losses if x is not None and math.isfinite(x))])
