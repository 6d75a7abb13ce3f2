"""What a wrong configuration raises, and the sentence for a name that is not among the known."""

import difflib
import re
from collections.abc import Collection, Sequence

LONGEST_NAME = 64


def unknown(key: str, value: object, known: Collection[str]) -> str:
  """Returns "KEY='VALUE' is unknown; ..." with the nearest known name and the whole list."""
  close = difflib.get_close_matches(str(value), known, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  return f'{key}={value!r} is unknown; {hint}known: {", ".join(sorted(known))}'


def misnamed(key: str, names: Sequence[str]) -> list[str]:
  """Returns a sentence for each name that could not be a folder, or a word of a longer name."""
  return [
    f'{key}: {name!r} is no name; use up to {LONGEST_NAME} letters, digits, "_" and "-", '
    'beginning with a letter or digit'
    for name in names
    if not re.fullmatch(rf'[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}', str(name))
  ]


class ConfigError(ValueError):
  """A study that cannot run as configured; the message lists every problem found.

  `problems` are its sentences one by one, where they are those of `validate`.
  """

  def __init__(self, message: str, problems: Sequence[str] = ()):
    super().__init__(message)
    self.problems = tuple(problems)
