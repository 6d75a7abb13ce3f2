"""What the paragraph on method says of single keys, from their entries in the tables of keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bsjax.config.key import Key
from bsjax.format import joined

Config = Mapping[str, Any]


def phrases(section: Config, keys: Iterable[Key]) -> list[str]:
  """The phrases of those keys of a section whose values are not the default, in order."""
  said = []
  for key in keys:
    name = key.name.rpartition('.')[2]
    if name in section and _plain(section[name]) != _plain(key.default):
      said.append(phrase(key, section[name]))
  return [text for text in said if text]


def phrase(key: Key, value: Any) -> str:
  """What is said of a key with a value; nothing where its entry says nothing."""
  if isinstance(key.method, str):
    return key.method.format(shown(key, value))
  return key.method.get(value, '')


def shown(key: Key, value: Any) -> str:
  """A value as people read it: numbers with commas, shares in percent, lists joined."""
  if isinstance(value, list | tuple):
    return joined(shown(key, item) for item in value)
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  if key.unit == 'share':
    return f'{100 * value:.12g}%'
  return f'{value:,}' if isinstance(value, int) else f'{value:.12g}'


def _plain(value: Any) -> Any:
  """Lists of a stored config are tuples of the table."""
  return tuple(value) if isinstance(value, list) else value
