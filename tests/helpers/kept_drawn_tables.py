"""What is said of tables drawn at random; `tests/report/test_kept.py` keeps it.

Sentences of audit.json stand on the page again: there they are named by their place.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bsjax.audit import audit
from bsjax.audit.problem import Problem
from helpers import drawn_tables, kept_figures
from helpers.kept import Kept, leaves, text, visible
from helpers.kept_wrong_tables import wrong

COUNT, EACH = 40, 10  # tables, and of one file
DRAWN, WHOLE = 3, 10  # of so many tables one has its figures, and one what is printed and its CSVs


def of_tables(first: int) -> Kept:
  """Ten tables."""
  numbers: dict[str, Any] = {}
  words: dict[str, str] = {}
  for number in range(first, first + EACH):
    numbers[str(number)], said = _told(number)
    words |= {f'{number} {topic}': content for topic, content in said.items()}
  return Kept(numbers, words)


def _told(number: int) -> tuple[Any, dict[str, str]]:
  """audit.json and the page of a table, or why it was refused."""
  table = drawn_tables.drawn(number)
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for file, content in table.files.items():
      (folder / file).write_bytes(content)
    paths = [folder / file for file in table.files]
    try:
      found = audit(paths if table.frame is None else table.frame, **table.said)
    except Problem as problem:
      return None, {'refused': str(problem)}
    drawn = number % DRAWN == 0 or table.knobs['sizes'] > 7
    with kept_figures.noted(drawn) as views:
      page = visible(found.write(folder / 'out').read_text())
    result = {key: value for key, value in found.result.items() if key != 'versions'}
    words, numbers = {'page': _short(page, result)}, {'audit': result, 'views': views}
    if number % WHOLE == 0:
      words['printed'] = text(found.table())
      for csv in ('claims', 'confounds', 'batch_sizes'):
        rows = pd.read_csv(folder / 'out' / f'{csv}.csv').astype(object)
        numbers[csv] = rows.where(rows.notna(), None).to_numpy().tolist()
        words[csv] = ' '.join(rows.columns)
  return numbers, words


def _short(page: str, result: Mapping[str, Any]) -> str:
  """The lines of a page; of those that audit.json holds too, which of its texts."""
  known: dict[str, int] = {}
  for said in (value for value in leaves(result) if isinstance(value, str)):
    known.setdefault(' '.join(said.split()), len(known))
  return '\n'.join(f'={known[line]}' if line in known else line for line in page.splitlines())


DRAWN_TABLES: dict[str, Callable[[], Kept]] = {
  'audit_wrong': wrong,
  **{
    f'audit_drawn_{first}': functools.partial(of_tables, first) for first in range(0, COUNT, EACH)
  },
}
