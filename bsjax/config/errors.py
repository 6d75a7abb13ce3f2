"""What a wrong configuration raises, and the sentence for a name that is not among the known."""

import difflib
from collections.abc import Collection


def unknown(key: str, value: object, known: Collection[str]) -> str:
  """Returns "KEY='VALUE' is unknown; ..." with the nearest known name and the whole list."""
  close = difflib.get_close_matches(str(value), known, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  return f'{key}={value!r} is unknown; {hint}known: {", ".join(sorted(known))}'


class ConfigError(ValueError):
  """A study that cannot run as configured; the message lists every problem found."""
