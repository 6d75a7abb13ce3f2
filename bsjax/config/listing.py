"""All keys of a configuration as text for a terminal."""

import itertools
import textwrap
from typing import Any

from bsjax.config.keys import KEYS

WIDTH = 100  # characters of a line


def listing() -> str:
  """Returns an entry per key, with its default as a flag takes it and its meaning, by section."""
  keys = sorted(KEYS, key=lambda key: key.name.rpartition('.')[0])  # otherwise in their order
  lines = []
  for section, members in itertools.groupby(keys, lambda key: key.name.rpartition('.')[0]):
    lines.append(f'\n{section or "The study"}:')
    for key in members:
      entry = f'--config.{key.name}={_value(key.default)}: {key.doc}'
      lines.append(textwrap.fill(entry, WIDTH, initial_indent='  ', subsequent_indent='      '))
  return '\n'.join(lines)


def _value(default: Any) -> str:
  """A default as it is given on a command line."""
  if isinstance(default, tuple | dict):
    return ','.join(map(str, default))
  return str(default)
