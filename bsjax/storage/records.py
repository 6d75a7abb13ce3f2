"""What a study leaves on disk: append-only records, the plan, and files replaced at one stroke."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

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
_ADDED = {'branch': ''}  # columns that plans of earlier versions lack, as these then read


def append(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
  """Adds one line per row and returns once the disk has them; a half-written last line goes."""
  lines = ''.join(_dumps(row) + '\n' for row in rows).encode()
  with open(path, 'ab+') as file:
    if file.tell():
      file.seek(-1, os.SEEK_END)
      if file.read() != b'\n':
        file.seek(0)
        file.truncate(_complete(file.read()))
    file.write(lines)
    file.flush()
    os.fsync(file.fileno())


def read(path: str | os.PathLike) -> list[Row]:
  """All complete rows; a last line without its line end was cut by a kill and is left out.

  Raises:
    ValueError: a line elsewhere is not a JSON object (names the file and the line).
  """
  content = Path(path).read_bytes()
  lines = content[: _complete(content)].splitlines()
  return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def truncate_after(path: str | os.PathLike, examples: int) -> None:
  """Drops, at one stroke, the rows beyond a checkpoint, so that a resumed run repeats none.

  `examples` is the last position to keep, -1 for none; a missing file stays missing.
  """
  if os.path.exists(path):
    kept = [row for row in read(path) if row['examples'] <= examples]
    write_text(path, ''.join(_dumps(row) + '\n' for row in kept))


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a file whole or not at all: a temporary file beside it, then a move over it."""
  temporary = Path(f'{os.fspath(path)}.tmp')
  with open(temporary, 'w', encoding='utf-8') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def write_json(path: str | os.PathLike, obj: Any) -> None:
  """Writes a JSON file whole or not at all; NaN and infinity become null."""
  write_text(path, _dumps(obj, indent=2) + '\n')


def write_plan(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes plan.csv, one row per lane; a missing or unknown column is an error."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(PLAN_COLUMNS)
  for row in rows:
    if set(row) != set(PLAN_COLUMNS):
      raise ValueError(f'a plan row has the columns {list(row)}, not {list(PLAN_COLUMNS)}.')
    # repr of a float is the shortest text that reads back as the same float.
    shown = {str: str, int: repr, float: repr}
    writer.writerow([shown[kind](kind(row[name])) for name, kind in PLAN_COLUMNS.items()])
  write_text(path, text.getvalue())


def read_plan(path: str | os.PathLike) -> list[Row]:
  """Reads plan.csv back, numbers as numbers."""
  with open(path, newline='') as file:
    reader = csv.DictReader(file)
    missing = [name for name in PLAN_COLUMNS if name not in {*(reader.fieldnames or ()), *_ADDED}]
    if missing:
      raise ValueError(f'{path} lacks the columns {missing}; it has {reader.fieldnames}.')
    rows = ({**_ADDED, **row} for row in reader)
    return [{name: kind(row[name]) for name, kind in PLAN_COLUMNS.items()} for row in rows]


def _complete(content: bytes) -> int:
  """Bytes up to and with the last line end."""
  return content.rfind(b'\n') + 1


def _parse(line: bytes, path: str | os.PathLike, number: int) -> Row:
  try:
    row = json.loads(line)
  except ValueError as error:
    raise ValueError(f'{path}, line {number} is damaged ({error}): {line[:80]!r}') from error
  if not isinstance(row, dict):
    raise ValueError(f'{path}, line {number} is damaged (not a JSON object): {line[:80]!r}')
  return row


def _dumps(obj: Any, indent: int | None = None) -> str:
  return json.dumps(_plain(obj), indent=indent, allow_nan=False)


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
