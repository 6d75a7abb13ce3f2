"""Whether the rows of a file are those that a plan asks for, and which of damaged ones can be kept.

Rows are written one evaluation after the other: what stands before the first damage is sound, and
what stands behind it is not trusted and computed again.
"""

import math
import os
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from bsjax.storage import records
from bsjax.storage.records import REMEDY, Damaged, Row


class Sound(NamedTuple):
  """What can be kept of a file, and why no more."""

  rows: list[Row]  # those before the first damage
  damage: str  # says which it is: a row damaged, doubled or not planned; '': there is none
  before: float  # the first evaluation, in examples, that is not whole among them; inf: all are
  missing: str  # says which rows it lacks; '': none


def sound(
  path: str | os.PathLike[str],
  lanes: Collection[int],
  marks: Iterable[int],
  ended: Mapping[int, int] | None = None,
) -> Sound:
  """Returns what can be kept of a file that should have rows of all lanes at all marks.

  A missing file has nothing. Where two rows of a lane differ, neither is sound. A lane has no rows
  after the evaluation at which it was dropped: `ended`, or as the rows say.
  """
  rows, error = records.readable(path) if os.path.exists(path) else ([], None)
  seen: dict[int, dict[int, Row]] = {}
  ends = dict(ended or {})
  for number, row in enumerate(rows, start=1):
    try:
      _note(row, lanes, seen, path, number, ends)
    except Damaged as wrong:
      rows, error = rows[: number - 1], wrong
      break
  damage = str(error or '')
  for mark in sorted(marks):
    if missing := sorted({*lanes} - seen.get(mark, {}).keys() - _over(ends, mark)):
      return Sound(rows, damage, mark, _missing(missing, mark, path))
  return Sound(rows, damage, math.inf, '')


def cut(path: str | os.PathLike[str], rows: Iterable[Row], examples: int) -> list[Row]:
  """Leaves, at one stroke, those of the sound rows of a file up to a position; -1: none of them.

  What is beyond a checkpoint is computed again and must not stand there twice. Returns what is
  left; a missing file stays missing.
  """
  if not os.path.exists(path):
    return []
  kept = [row for row in rows if row['examples'] <= examples]
  records.write(path, kept)
  return kept


def check(
  rows: Iterable[Row],
  plan: Iterable[Row],
  path: str | os.PathLike[str],
  marks: Iterable[int] | None = None,
  ended: Mapping[int, int] | None = None,
) -> None:
  """Raises Damaged where a lane of the plan has two rows of an evaluation, or none of one.

  `marks` are the evaluations that must be on record. Without them every lane may have come to one
  of its own, and has rows of all that others have up to there. A lane has none after the evaluation
  at which it was dropped: `ended`, or as the rows say.
  """
  lanes, rows = {row['lane'] for row in plan}, list(rows)
  seen: dict[int, dict[int, Row]] = {}
  ends = dict(records.dropped(rows) if ended is None else ended)
  for number, row in enumerate(rows, start=1):
    _note(row, lanes, seen, path, number, ends)
  wanted = lanes if marks is not None else set()
  for examples in sorted({*seen, *(marks or ())}, reverse=True):
    at_mark = seen.get(examples, {}).keys()
    wanted = wanted | at_mark  # from here back, as it has come this far
    if missing := sorted(wanted - at_mark - _over(ends, examples)):
      raise Damaged(f'{_missing(missing, examples, path)}; {REMEDY}')


def _note(
  row: Row,
  lanes: Collection[int],
  seen: dict[int, dict[int, Row]],
  path: str | os.PathLike[str],
  number: int,
  ends: dict[int, int],
) -> None:
  """Adds a row to those seen, by examples and lane; raises Damaged where it has no place there.

  `ends` are the lanes that were dropped, by the examples that they had seen.
  """
  lane, examples = row.get('lane'), row.get('examples')
  if type(lane) is not int or lane not in lanes or type(examples) is not int:
    raise Damaged(f'{path}, row {number}: lane {lane!r} at {examples!r} examples is not planned')
  if ends.get(lane, examples) < examples:
    raise Damaged(
      f'{path}, row {number}: lane {lane} was dropped at {ends[lane]} examples and has a row at '
      f'{examples}'
    )
  at_mark = seen.setdefault(examples, {})
  if lane in at_mark:
    if at_mark[lane] != row:
      del at_mark[lane]  # which of them is right cannot be told
    raise Damaged(f'{path}, row {number}: lane {lane} at {examples} examples is there twice')
  at_mark[lane] = row
  if row.get('dropped'):
    ends[lane] = examples


def _over(ends: Mapping[int, int], examples: int) -> set[int]:
  """The lanes that were dropped before an evaluation."""
  return {lane for lane, end in ends.items() if end < examples}


def _missing(lanes: list[int], examples: int, path: str | os.PathLike[str]) -> str:
  some = f'{lanes[:5]}{" and more" if len(lanes) > 5 else ""}'
  return f'{path}: the rows of lanes {some} at {examples} examples are missing'
