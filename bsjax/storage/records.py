"""What a study leaves on disk: append-only records, the plan, and files replaced at one stroke."""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

Row = dict[str, Any]

PLAN_COLUMNS: dict[str, type] = {
  'lane': int,
  'group': int,
  'batch_size': int,
  'learning_rate': float,
  'trial': int,
  'branch': str,  # '' where a study has none
  'micro_batch': int,
  'accumulation': int,
  'updates': int,
  'examples': int,
  'epochs': float,
}
HYPERPARAMETER = 'optimizer.'  # what more columns begin with, of what lanes differ in: numbers
SUBSET = 'subset_records.jsonl'  # evaluations on some examples of each split (evaluation.subset)
# What every file of a workdir but its records is for: what is left to do where one is damaged.
REMEDY = 'restore the file, or choose another --workdir'
_ADDED = {'branch': ''}  # columns that plans of earlier versions lack, as these then read


class Damaged(ValueError):
  """A file of a workdir that does not hold what it should; the message names it and the remedy."""


def append(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
  """Adds one line per row and returns once the disk has them; a half-written last line goes."""
  lines = b''.join(map(_line, rows))
  with open(path, 'ab+') as file:
    if file.tell():
      file.seek(-1, os.SEEK_END)
      if file.read() != b'\n':
        file.seek(0)
        file.truncate(_complete(file.read()))
    file.write(lines)
    file.flush()
    os.fsync(file.fileno())


def read(path: str | os.PathLike[str]) -> list[Row]:
  """All complete rows; a last line without its line end was cut by a kill and is left out.

  Raises:
    Damaged: a line elsewhere is not a JSON object (names the file and the line).
  """
  rows, error = readable(path)
  if error:
    raise error
  return rows


def readable(path: str | os.PathLike[str]) -> tuple[list[Row], Damaged | None]:
  """The complete rows up to the first that is damaged, and what is wrong with that."""
  content, rows = Path(path).read_bytes(), []
  with _uncollected():
    for number, line in enumerate(content[: _complete(content)].splitlines(), start=1):
      try:
        rows.append(_parse(line, path, number))
      except Damaged as error:
        return rows, error
  return rows, None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
  """Rows hold no circles; looking for them takes as long as reading the rows."""
  was = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if was:
      gc.enable()


def write(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes rows in place of all there were, whole or not at all."""
  _write(path, b''.join(map(_line, rows)))


def read_all(workdir: Path) -> list[Row]:
  """The rows of a study: of whole splits, then any of a subset, which say 'val_examples'."""
  subset = workdir / SUBSET
  return read(workdir / 'records.jsonl') + (read(subset) if subset.is_file() else [])


def dropped(rows: Iterable[Row]) -> dict[int, int]:
  """Returns the lanes that were dropped (plan/halving.py), with the examples that they had seen."""
  return {row['lane']: row['examples'] for row in rows if row.get('dropped')}


def write_text(path: str | os.PathLike[str], text: str) -> None:
  """Writes a file whole or not at all: a temporary file beside it, then a move over it."""
  _write(path, text.encode())


def _write(path: str | os.PathLike[str], content: bytes) -> None:
  temporary = Path(f'{os.fspath(path)}.tmp')
  with open(temporary, 'wb') as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
  """Writes a JSON file whole or not at all; NaN and infinity become null."""
  write_text(path, _dumps(obj) + '\n')


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
  """Reads a JSON file of a workdir back; raises Damaged where it holds no JSON object."""
  try:
    value = json.loads(Path(path).read_bytes())
  except ValueError as error:
    raise Damaged(f'{path} is damaged ({error}); {REMEDY}') from None
  if not isinstance(value, dict):
    raise Damaged(f'{path} is damaged (not a JSON object); {REMEDY}')
  return value


def write_plan(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes plan.csv, one row per lane; a missing or unknown column is an error."""
  rows = list(rows)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  columns = _columns(rows[0] if rows else ())
  writer.writerow(columns)
  for row in rows:
    if set(row) != set(columns):
      raise ValueError(f'a plan row has the columns {list(row)}, not {list(columns)}.')
    # repr of a float is the shortest text that reads back as the same float.
    shown: dict[type, Callable[[Any], str]] = {str: str, int: repr, float: repr}
    writer.writerow([shown[kind](kind(row[name])) for name, kind in columns.items()])
  write_text(path, text.getvalue())


def read_plan(path: str | os.PathLike[str]) -> list[Row]:
  """Reads plan.csv back, numbers as numbers; raises Damaged where it cannot be."""
  with open(path, newline='', encoding='utf-8', errors='replace') as file:
    reader = csv.DictReader(file)
    missing = [name for name in PLAN_COLUMNS if name not in {*(reader.fieldnames or ()), *_ADDED}]
    if missing:
      raise Damaged(f'{path} lacks the columns {missing}; it has {reader.fieldnames}; {REMEDY}')
    columns, rows = _columns(reader.fieldnames or ()), []
    for row in reader:
      try:
        values = {**_ADDED, **row}
        rows.append({name: kind(values[name]) for name, kind in columns.items()})
      except (TypeError, ValueError) as error:
        raise Damaged(f'{path}, line {reader.line_num} is damaged ({error}); {REMEDY}') from None
  if not rows:
    raise Damaged(f'{path} has no lanes; {REMEDY}')
  return rows


def _columns(names: Iterable[str]) -> dict[str, type]:
  """The columns of a plan that has these names, with their types."""
  return PLAN_COLUMNS | {name: float for name in names if name.startswith(HYPERPARAMETER)}


def _complete(content: bytes) -> int:
  """Bytes up to and with the last line end."""
  return content.rfind(b'\n') + 1


def _parse(line: bytes, path: str | os.PathLike[str], number: int) -> Row:
  try:
    row = orjson.loads(line)
  except ValueError as error:
    raise Damaged(f'{path}, line {number} is damaged ({error}): {line[:80]!r}') from error
  if not isinstance(row, dict):
    raise Damaged(f'{path}, line {number} is damaged (not a JSON object): {line[:80]!r}')
  return row


def _line(row: Mapping[str, Any]) -> bytes:
  """A row of records: NaN and infinity are null, floats the shortest that read back as such."""
  return orjson.dumps(row, _of_numpy, orjson.OPT_APPEND_NEWLINE)


def _of_numpy(value: Any) -> Any:
  """What orjson cannot write; its own way with numpy would cut a float32 to fewer digits."""
  if isinstance(value, np.generic | np.ndarray):
    return value.tolist()
  raise TypeError(f'{type(value).__name__} is no value of a row')


def _dumps(obj: Any) -> str:
  return json.dumps(_plain(obj), indent=2, allow_nan=False)


def _plain(obj: Any) -> Any:
  """Numpy values to Python's, NaN and infinity to None, at any depth."""
  if isinstance(obj, Mapping):
    return {str(key): _plain(value) for key, value in obj.items()}
  if isinstance(obj, (list, tuple)):
    return [_plain(value) for value in obj]
  if isinstance(obj, np.generic | np.ndarray):
    return _plain(obj.tolist())
  if isinstance(obj, float) and not math.isfinite(obj):
    return None
  return obj
