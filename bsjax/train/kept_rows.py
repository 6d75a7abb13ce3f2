"""The rows of a training that are on record: which are sound, cut to a checkpoint, checked."""

import math
from pathlib import Path
from typing import NamedTuple

from bsjax.plan.lanes import StudyPlan
from bsjax.storage import records, sound


class Damage(NamedTuple):
  """Where the rows of a training end that are sound."""

  found: str  # says which row is damaged, doubled or not planned; '': none is
  before: float  # the first evaluation that is not whole before it, in examples; inf: all are
  why: str  # says what that lacks; '': nothing


class KeptRows:
  """Those on whole splits, and those on a subset where there are any."""

  def __init__(self, workdir: Path, study_plan: StudyPlan, of_subset: bool):
    self._workdir, self._lanes = workdir, [lane.lane for lane in study_plan.lanes]
    whole = [mark for part in study_plan.stages for mark in part.evaluations]
    self._marks = {workdir / 'records.jsonl': whole}
    if of_subset:
      further = [mark for part in study_plan.stages for mark in part.further]
      self._marks[workdir / records.SUBSET] = sorted({*whole, *further})
    self._sound: dict[Path, sound.Sound] = {}  # as `damage` finds them

  def damage(self) -> Damage:
    """Reads the rows; evaluations that are yet to come are not whole either."""
    (whole, marks), *of_subset = self._marks.items()
    self._sound = {whole: sound.sound(whole, self._lanes, marks)}
    ended = records.dropped(self._sound[whole].rows)
    self._sound |= {path: sound.sound(path, self._lanes, at, ended) for path, at in of_subset}
    sound_parts = self._sound.values()
    first = min(sound_parts, key=lambda one: one.before)
    damaged = next((one.damage for one in sound_parts if one.damage), '')
    return Damage(damaged, first.before, damaged or first.missing)

  def cut(self, end: int) -> list[records.Row]:
    """Leaves rows that `damage` found sound, up to a position; returns those of whole splits."""
    kept = [sound.cut(path, found.rows, end) for path, found in self._sound.items()]
    self._sound = {}
    return kept[0]

  def check(self, end: int) -> None:
    """Raises records.Damaged unless every evaluation up to a position is on record."""
    plan = [{'lane': lane} for lane in self._lanes]
    rows = {path: records.read(path) if path.exists() else [] for path in self._marks}
    ended = records.dropped(next(iter(rows.values())))  # as those on whole splits say
    for path, marks in self._marks.items():
      sound.check(rows[path], plan, path, [mark for mark in marks if mark <= end], ended)

  def at_the_end(self) -> str:
    """Says what is wrong with the rows of a training that has ended; '' where nothing is.

    Raises Damaged where that cannot be computed again, as there are no checkpoints any more.
    """
    damage, (rows, *_) = self.damage(), next(iter(self._sound.values()))
    # After which training ends where all of them have diverged.
    last = [row for row in rows if row['examples'] == rows[-1]['examples']]
    lost = bool(last) and all(row.get('diverged') for row in last)
    end = last[-1]['examples'] if lost else math.inf
    wrong = damage.why if damage.found or damage.before <= end else ''
    if wrong and not any((self._workdir / 'checkpoints').glob('*')):
      raise records.Damaged(
        f'{wrong}, and there is no checkpoint to go on from; restore that file, or remove '
        f'{self._workdir / "summary.json"} to train from the beginning'
      )
    return wrong
