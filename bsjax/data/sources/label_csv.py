"""A CSV of file names and labels: what it lists, or every line of it that cannot be meant."""

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from ml_collections import ConfigDict

from bsjax.data.dataset import DataError, check_labels, quoted, shown

IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
SEPARATORS = ',;\t'


class Listed(NamedTuple):
  """What a CSV lists, row by row: paths inside the folder, and integers or texts."""

  names: list[str]
  labels: Shaped[np.ndarray, ' example']


class _Row(NamedTuple):
  line: int  # of the file, from 1
  cells: list[str]


def read(config: ConfigDict) -> Listed:
  """Returns names and labels: the column `data.label_column`, or the second of two.

  Spaces around names and labels do not count; columns are separated by commas, semicolons or tabs.

  Raises DataError with the lines that are wrong and what to do about them.
  """
  path = Path(config.path).expanduser() / config.label_csv
  where = f'data.label_csv={config.label_csv!r} ({path})'
  header, *rows = _rows(path, where)
  column = _column(config, header.cells, where)
  names = [os.path.normpath(row.cells[0]) for row in rows]
  _check_names(names, rows, header, path.parent, where)
  texts = [row.cells[column] for row in rows]
  if empty := [row.line for row, text in zip(rows, texts, strict=True) if not text]:
    raise DataError(
      f'{where} has {len(empty)} rows without a label: line {quoted(empty)}; give them one, or drop'
      ' the rows'
    )
  return Listed(names, check_labels(_numbers(texts, rows, where), where))


def _rows(path: Path, where: str) -> list[_Row]:
  """The header and the rows below it, all as long as the header."""
  try:
    with path.open(newline='', encoding='utf-8-sig') as file:
      first = file.readline()
      file.seek(0)
      separator = next((mark for mark in SEPARATORS if mark in first), ',')
      reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
      lines = [_Row(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
  except csv.Error as error:
    raise DataError(
      f'{where} cannot be read from line {reader.line_num} on ({error}); close the quote there, or'
      ' drop it'
    ) from error
  except (OSError, ValueError) as error:
    raise DataError(
      f'{where} cannot be read: {shown(error)}; name a CSV in the folder, in UTF-8'
    ) from error
  if odd := [row.line for row in lines if any('\0' in cell for cell in row.cells)]:
    raise DataError(f'{where} cannot be read: NUL bytes in line {quoted(odd)}; write it in UTF-8')
  rows = [row for row in lines if any(row.cells)]
  if quote := [row.line for row in rows if any(set(cell) & set('"\r\n') for cell in row.cells)]:
    raise DataError(
      f'{where} has a quote or a line end inside a cell, up to line {quoted(quote)}; drop the quote'
    )
  short = [row.line for row in rows if len(row.cells) < 2]
  if short or len(rows) < 2:
    raise DataError(
      f'{where} needs a header and rows below it, of 2 columns or more, file name and label; of its'
      f' {len(rows)} lines {len(short)} are shorter'
      + (f': line {quoted(short)}; complete them' if short else '; add the rows')
    )
  columns = len(rows[0].cells)
  if ragged := [row.line for row in rows if len(row.cells) != columns]:
    raise DataError(
      f'{where} has {columns} columns in its header and another number in {len(ragged)} rows: line'
      f' {quoted(ragged)}; complete them, or put quotes around names that hold a {separator!r}'
    )
  return rows


def _column(config: ConfigDict, header: Sequence[str], where: str) -> int:
  """Which column holds the labels."""
  wanted, columns = config.label_column, list(header[1:])
  if len(set(header)) < len(header):
    raise DataError(f'{where} has two columns of one name: {quoted(header, 9)}; rename one')
  if wanted:
    if wanted not in columns:
      raise DataError(
        f'data.label_column={wanted!r} is none of the columns {quoted(columns, 9)} of {where} that'
        ' follow the file names',
        'data.label_column',
      )
    return header.index(wanted)
  if len(columns) > 1:
    raise DataError(
      f'{where} has {len(columns)} columns beside that of file names: {quoted(columns, 9)}; name'
      ' the one with the labels by data.label_column, and make one of labels spread over several'
    )
  return 1


def _check_names(
  names: Sequence[str], rows: Sequence[_Row], header: _Row, folder: Path, where: str
) -> None:
  """Whether each row names a file of its own inside the folder, and the header none."""
  outside = [
    row.line
    for name, row in zip(names, rows, strict=True)
    if name in ('.', '..') or os.path.isabs(name) or name.startswith(f'..{os.sep}')
  ]
  if outside:
    raise DataError(
      f'{where} names files outside the folder: line {quoted(outside)}; give paths inside it'
    )
  values, counts = np.unique(names, return_counts=True)
  if repeated := values[counts > 1].tolist():
    raise DataError(
      f'{where} lists {len(repeated)} files more than once: {quoted(repeated)}; keep one row each,'
      ' or training and validation examples overlap'
    )
  first = header.cells[0]
  named = any(os.path.isfile(root / first) for root in (folder, folder / 'train'))
  if named or os.path.splitext(first)[1].lower() in IMAGE_SUFFIXES:
    raise DataError(
      f'{where} has no header: its first line names the file {first!r}; put the names of'
      ' the columns above it'
    )


def _numbers(
  texts: Sequence[str], rows: Sequence[_Row], where: str
) -> Shaped[np.ndarray, ' example']:
  """Labels as integers if all are (1.0 is 1), so that they sort as numbers; else as they are."""
  try:
    numbers = [float(text.replace('_', ' _ ')) for text in texts]  # 1_0 is no number
  except ValueError:
    return np.asarray(texts)
  if missing := [row.line for row, x in zip(rows, numbers, strict=True) if not math.isfinite(x)]:
    raise DataError(
      f'{where} has labels that stand for none, among numbers: line {quoted(missing)}; give the'
      ' rows one, or drop them'
    )
  if all(number.is_integer() and abs(number) < 2**53 for number in numbers):
    return np.asarray(numbers).astype(np.int64)
  fractions = [row.line for row, x in zip(rows, numbers, strict=True) if not x.is_integer()]
  if fractions:
    raise DataError(
      f'{where} has fractions for labels: line {quoted(fractions)}; classes are whole numbers or'
      ' texts'
    )
  return np.asarray(texts)
