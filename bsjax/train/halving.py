"""Lanes that end at a rung, as the host loop and what it writes keep track of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from bsjax.plan import halving, plan
from bsjax.plan.lanes import StudyPlan
from bsjax.storage import records
from bsjax.storage.records import Row


class Halving:
  """Which lanes of a training were dropped so far; of a study that drops none nothing is said.

  `goes_on`: the lanes of an extension are trained to their end, as those there have decided which
  learning rates are.
  """

  def __init__(self, config: ConfigDict, study_plan: StudyPlan, goes_on: bool = False):
    self._asked, self._keep = bool(config.halving.rungs), config.halving.keep
    self.rungs = () if goes_on else halving.rungs(config, study_plan)
    self._lanes = plan.lane_rows(study_plan) if self.rungs else []
    self.ended: dict[int, int] = {}  # by lane, the examples that it had seen

  def living(self, rows: Sequence[Row]) -> list[Row]:
    """The rows of an evaluation but for those of lanes that had ended before it."""
    return [row for row in rows if row['lane'] not in self.ended]

  def noted(self, rows: Sequence[Row]) -> list[Row]:
    """The living rows of an evaluation on whole splits, which say of each whether it ends here."""
    rows = self.living(rows)
    if not self._asked:
      return rows
    at_rung = bool(rows) and rows[0]['examples'] in self.rungs
    now = halving.dropped(self._keep, self._lanes, rows) if at_rung else frozenset()
    self.ended |= {row['lane']: row['examples'] for row in rows if row['lane'] in now}
    return [{**row, 'dropped': row['lane'] in now} for row in rows]

  def remember(self, rows: Sequence[Row], path: Path) -> None:
    """Goes on from rows on record; raises records.Damaged where other lanes would have ended."""
    self.ended = records.dropped(rows)
    halving.refuse_otherwise(self._keep, self.rungs, self._lanes, rows, path)
