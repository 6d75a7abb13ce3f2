"""What is wrong with somebody's table, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Hashable


class Problem(ValueError):
  """A table that cannot be read as it stands; the message names file, row, column and remedy.

  Rows are lines of the file, of which the header is the first; of a DataFrame they are its index.
  """

  def __init__(self, file: str, row: Hashable, column: Hashable, what: str, remedy: str):
    super().__init__(f'{file}, row {row}, column {str(column)!r}: {what}. {remedy}.')
