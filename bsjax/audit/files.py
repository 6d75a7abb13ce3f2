"""Files to frames of plain columns: whatever the encoding, the separator and the decimal mark."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from bsjax.audit.problem import Problem
from bsjax.stats.estimate import Reason

SEPARATORS = ',;\t|'
MISSING = ('', 'NA', 'N/A', 'n/a', 'null', 'None', '-', '--', '#N/A')
_BYTE_ORDER = {b'\xff\xfe': 'utf-16', b'\xfe\xff': 'utf-16', b'\xef\xbb\xbf': 'utf-8-sig'}
_LINE = re.compile(r'line (\d+)|row (\d+)')


@dataclass(frozen=True)
class Raw:
  """The columns of a file as they stand; the index holds the line of each row.

  `kind` says who wrote it: 'table', 'keras', 'tensorboard' or 'wandb'. `percent` and `smoothed` are
  what the writer's format says of all of its columns.
  """

  name: str
  frame: pd.DataFrame
  kind: str = 'table'
  notes: tuple[Reason, ...] = ()


def read_table(path: Path) -> Raw:
  """A CSV of any separator and encoding, also compressed with gzip.

  Raises Problem where it is no table.
  """
  text, notes = _text(path)
  lines = text.split('\n')
  begin = next((i for i, line in enumerate(lines) if line.strip(' \t,;|"')), None)
  if begin is None:
    raise Problem(path.name, 1, '', 'the file is empty', 'Give a table with a header')
  separator = max(SEPARATORS, key=lines[begin].count)
  header = _header(path.name, lines[begin], separator, begin + 1)
  body = io.StringIO('\n'.join(lines[begin:]))
  frame = _frame(path.name, body, separator, begin, len(header))
  frame.columns = pd.Index(header[: len(frame.columns)], dtype=object)
  frame.index = pd.RangeIndex(begin + 2, begin + 2 + len(frame))
  frame = frame.dropna(how='all')
  filled = frame.notna().any().to_numpy()  # by place: several columns may have no name
  if (unnamed := (frame.columns == '') & filled).any():
    row = frame.index[frame.loc[:, unnamed].notna().any(axis=1)][0]
    raise Problem(path.name, row, '', 'a column has values and no name', 'Name it in the header')
  frame = frame.loc[:, frame.columns != '']
  if frame.empty:
    raise Problem(path.name, begin + 2, header[0], 'no row follows the header', 'Add the rows')
  frame, decimal = _decimal_commas(frame, separator)
  if decimal:
    notes.append(Reason('decimal_commas', file=path.name, columns=decimal))
  return Raw(path.name, frame, notes=tuple(notes))


def _text(path: Path) -> tuple[str, list[Reason]]:
  try:
    content = path.read_bytes()
  except OSError as error:
    what, remedy = f'it cannot be read ({error.strerror})', 'Give the path of a table'
    raise Problem(str(path), 1, '', what, remedy) from error
  if content[:2] == b'\x1f\x8b':
    try:
      content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
      what, remedy = 'it is no whole gzip file', 'Compress or copy it anew'
      raise Problem(path.name, 1, '', what, remedy) from error
  encoding = next((e for mark, e in _BYTE_ORDER.items() if content.startswith(mark)), 'utf-8')
  notes = []
  try:
    text = content.decode(encoding)
  except UnicodeDecodeError:
    text = content.decode('latin-1')
    notes.append(Reason('latin_1', file=path.name))
  if '\0' in text:
    row = text[: text.index('\0')].count('\n') + 1
    raise Problem(path.name, row, '', 'it holds zero bytes and is no text', 'Export it as CSV')
  return text.replace('\r\n', '\n').replace('\r', '\n').lstrip('\ufeff'), notes


def _header(file: str, line: str, separator: str, row: int) -> list[str]:
  try:
    fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
  except csv.Error as error:
    raise Problem(file, row, line[:40], f'the header: {error}', 'Give plain names') from error
  header = [name.strip() for name in fields]
  for name in header:
    if name and header.count(name) > 1:
      raise Problem(file, row, name, 'two columns have this name', 'Rename or drop one of them')
  if all(re.fullmatch(r'[-+.\deE]+', name) for name in header):
    what, remedy = 'the first row holds numbers', 'Put a row with the names of columns above'
    raise Problem(file, row, header[0], what, remedy)
  return header


def _frame(file: str, body: io.StringIO, separator: str, begin: int, columns: int) -> pd.DataFrame:
  """The rows below the header, numbered columns; lines that do not fit are a problem."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error', pd.errors.ParserWarning)
      return pd.read_csv(
        body,
        sep=separator,
        header=None,
        names=range(columns),
        skiprows=1,
        index_col=False,
        skip_blank_lines=False,
        skipinitialspace=True,
        keep_default_na=False,
        na_values=list(MISSING),
        low_memory=False,
      )
  except pd.errors.EmptyDataError:
    return pd.DataFrame(columns=range(columns))
  except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError, OverflowError) as error:
    where = _LINE.search(str(error))
    number = next(int(digits) for digits in where.groups() if digits) if where else 2
    what = f'it does not have the {columns} fields of the header, or a quote does not end'
    raise Problem(file, begin + number, '', what, 'Mend this row, or quote its fields') from error


def _decimal_commas(frame: pd.DataFrame, separator: str) -> tuple[pd.DataFrame, list[str]]:
  """Columns of numbers with decimal commas, where commas part no fields."""
  changed = []
  for name in [] if separator == ',' else _texts(frame):
    texts = frame[name].dropna().astype(str).str.strip()
    commas = texts.str.fullmatch(r'[-+]?\d*,\d+([eE][-+]?\d+)?%?')
    plain = texts.str.fullmatch(r'[-+]?\d+(\.\d+)?([eE][-+]?\d+)?%?|[-+]?(nan|inf)', case=False)
    if commas.any() and (commas | plain).all():
      frame = frame.assign(**{name: frame[name].astype(object).map(_with_point)})
      changed.append(str(name))
  return frame, changed


def _texts(frame: pd.DataFrame) -> list[Hashable]:
  return [name for name in frame.columns if not is_numeric_dtype(frame[name])]


def _with_point(value: object) -> object:
  return value.strip().replace(',', '.') if isinstance(value, str) else value


def as_numbers(values: pd.Series, file: str, column: str, remedy: str) -> pd.Series:
  """Floats; what is said to be no number ('nan', 'inf') becomes infinite, what is missing NaN.

  Raises Problem for any other text.
  """
  if is_numeric_dtype(values):
    return values.astype('float64')
  texts = values.astype(object).map(lambda x: x.strip() if isinstance(x, str) else x)
  numbers = pd.to_numeric(texts, errors='coerce').astype('float64')
  unclear = numbers.isna() & texts.notna()
  if unclear.any():
    said = texts[unclear].astype(str).str.lower().isin(['nan', '+nan', '-nan'])
    numbers[said[said].index] = float('inf')
    if not said.all():
      row = said.index[~said][0]
      raise Problem(file, row, column, f'{str(texts[row])[:40]!r} is no number', remedy)
  return numbers


def names_of(files: Sequence[Raw]) -> str:
  """The names of files, for messages about all of them."""
  return ', '.join(dict.fromkeys(raw.name for raw in files))
