"""Values against the bounds and types of their keys: all that is wrong, in one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.key import Key

Config = Mapping[str, Any] | ConfigDict
_NOUNS = {int: 'whole number', float: 'number', str: 'text'}


def wrong(config: Config, keys: Iterable[Key], where: str = '') -> dict[str, str]:
  """Returns the keys whose values are of a wrong type or out of bounds, each with its sentence.

  A sentence holds the value, the bound and the remedy. `where` is put before the names of keys,
  such as 'stages.head.'.
  """
  sentences = {where + key.name: _sentence(key, at(config, key.name), where) for key in keys}
  return {name: sentence for name, sentence in sentences.items() if sentence}


def repeated(config: Config, keys: Iterable[Key], where: str = '') -> list[str]:
  """Returns a sentence for each key that has an item twice and should not."""
  sentences = []
  for key in keys:
    items = tuple(at(config, key.name)) if key.twice else ()
    if len(set(items)) < len(items):
      sentences.append(f'{where}{key.name}={items} {key.twice}')
  return sentences


def at(config: Config, name: str) -> Any:
  """Returns the value of a key such as 'data.crop'."""
  value = config
  for part in name.split('.'):
    value = value[part]
  return value


def _sentence(key: Key, value: Any, where: str) -> str:
  """Says what is wrong with a value, or nothing."""
  if key.kind is object or isinstance(key.default, dict):
    return ''
  name = where + key.name
  if isinstance(key.default, tuple):
    several = isinstance(value, tuple | list)
    if several and len(value) >= key.fewest and all(_fits(key, item) for item in value):
      return ''
    shown = tuple(value) if several else value
    return f'{name}={shown!r}: give {_several(key)}{_remedy(key)}'
  if _fits(key, value):
    return ''
  return f'{name}={value!r} must be {_one(key, _is_kind(key.kind, value))}{_remedy(key)}'


def _fits(key: Key, value: Any) -> bool:
  if not _is_kind(key.kind, value) or (key.choices and value not in key.choices):
    return False
  if key.kind not in (int, float):
    return True
  above = key.low is None or (value > key.low if key.low_open else value >= key.low)
  below = key.high is None or (value < key.high if key.high_open else value <= key.high)
  return above and below and (isinstance(value, Integral) or math.isfinite(value))


def _is_kind(kind: type, value: Any) -> bool:
  """Whether a value is of a type; a whole number is a number, True and False are neither."""
  if kind in (int, float):
    number = Integral if kind is int else Real
    return isinstance(value, number) and not isinstance(value, bool)
  return isinstance(value, kind)


def _one(key: Key, right_kind: bool) -> str:
  if key.choices:
    return f'one of {", ".join(map(str, key.choices))}'
  if key.kind is bool:
    return 'True or False'
  if right_kind:
    return _range(key)
  return ', '.join(filter(None, [f'a {_NOUNS[key.kind]}', _range(key)]))


def _several(key: Key) -> str:
  fewest = 'one or more ' if key.fewest else ''
  bounds = _range(key)
  return f'{fewest}{_NOUNS[key.kind]}s' + (f', each {bounds}' if bounds else '')


def _range(key: Key) -> str:
  """The bounds in words; a number between two of them is finite anyway."""
  if key.low is not None and key.high is not None and key.low_open and key.high_open:
    return f'between {key.low:g} and {key.high:g}, both excluded'
  words = ['finite'] if key.kind is float and (key.low is None or key.high is None) else []
  if key.low is not None:
    words.append(f'{"above" if key.low_open else "at least"} {key.low:g}')
  if key.high is not None:
    words.append(f'{"below" if key.high_open else "at most"} {key.high:g}')
  return ' and '.join(words)


def _remedy(key: Key) -> str:
  if key.remedy:
    return f'; {key.remedy}'
  usual = key.default != () and key.default != ''
  return f'; the usual is {key.default!r}' if usual else ''
