"""Values against the bounds and types of their keys: all that is wrong, in one sentence each."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from operator import ge, gt, le, lt
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from bsjax.config.errors import Problem, unknown
from bsjax.config.key import Key

Config: TypeAlias = Mapping[str, Any] | ConfigDict
LONGEST_VALUE = 200  # characters
_NOUNS = {int: 'whole number', float: 'number', str: 'text'}


def wrong(config: Config, keys: Iterable[Key], where: str = '') -> dict[str, Problem]:
  """Returns the keys whose values are of a wrong type or out of bounds, each with its sentence.

  A sentence holds the value, the bound and the remedy. `where` is put before the names of keys,
  such as 'stages.head.'.
  """
  sentences = {where + key.name: _sentence(key, at(config, key.name), where) for key in keys}
  return {name: Problem(sentence, name) for name, sentence in sentences.items() if sentence}


def misshapen(config: Config, keys: Iterable[Key], free: Collection[str]) -> list[Problem]:
  """Returns a sentence for each section that is none, and each key that is missing or unknown.

  Sections named in `free` hold other names too; those of them that have no key need not be there.
  """
  keys_of: dict[str, list[str]] = {'': []}
  sentences = []
  for key in keys:
    if key.default == {} and not isinstance(config.get(key.name, {}), Mapping | ConfigDict):
      shown = shown_value(config[key.name])
      sentence = f'{key.name}={shown} must be a section with the keys that it changes'
      sentences.append(Problem(sentence, key.name))
    section, _, name = key.name.rpartition('.')
    if section not in keys_of:
      keys_of[''].append(section)
    keys_of.setdefault(section, []).append(name)
  for section, names in keys_of.items():
    tree = config.get(section) if section else config
    where = f'{section}.' if section else ''
    if not isinstance(tree, Mapping | ConfigDict):
      if section in config:
        listed = ', '.join(names)
        sentence = f'{section}={shown_value(tree)} must be a section; set its keys {listed} instead'
        sentences.append(Problem(sentence, section))
      continue
    missing = [where + name for name in names if name not in tree]
    sentences += [Problem(f'{key} is missing; begin with base_config()', key) for key in missing]
    known = {*names, *free} if not section else names
    odd = [] if section in free else sorted(set(tree) - set(known))
    known_keys = [where + name for name in names]
    odd = [where + name for name in odd]
    sentences += [Problem(unknown('the key', name, known_keys), name) for name in odd]
  return sentences


def repeated(config: Config, keys: Iterable[Key], where: str = '') -> list[Problem]:
  """Returns a sentence for each key that has an item twice and should not."""
  sentences = []
  for key in keys:
    items = tuple(at(config, key.name)) if key.twice else ()
    if len(set(items)) < len(items):
      name = where + key.name
      sentences.append(Problem(f'{name}={items} {key.twice}', name))
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
    return f'{name}={shown_value(shown)}: give {_several(key)}{_remedy(key)}'
  if _fits(key, value):
    return ''
  return f'{name}={shown_value(value)} must be {_one(key, _is_kind(key.kind, value))}{_remedy(key)}'


def _fits(key: Key, value: Any) -> bool:
  if not _is_kind(key.kind, value) or (key.choices and value not in key.choices):
    return False
  if key.kind not in (int, float):
    return True
  ends = ((ge, key.low), (gt, key.above), (le, key.high), (lt, key.below))
  within = all(end is None or holds(value, end) for holds, end in ends)
  return within and (isinstance(value, Integral) or math.isfinite(value))


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


def shown_value(value: Any) -> str:
  """A value as Python writes it, cut where nobody would read on."""
  shown = repr(value.to_dict() if isinstance(value, ConfigDict) else value)
  return shown if len(shown) <= LONGEST_VALUE else f'{shown[:LONGEST_VALUE]}…'


def _several(key: Key) -> str:
  fewest = 'one or more ' if key.fewest else ''
  bounds = _range(key)
  return f'{fewest}{_NOUNS[key.kind]}s' + (f', each {bounds}' if bounds else '')


def _range(key: Key) -> str:
  """The bounds in words; a number between two of them is finite anyway."""
  if key.above is not None and key.below is not None:
    return f'between {_shown(key.above)} and {_shown(key.below)}, both excluded'
  ends = {'at least': key.low, 'above': key.above, 'at most': key.high, 'below': key.below}
  words = [f'{word} {_shown(end)}' for word, end in ends.items() if end is not None]
  return ' and '.join(['finite'] * (key.kind is float and len(words) < 2) + words)


def _shown(end: int | float) -> str:
  return str(end) if isinstance(end, int) else f'{end:g}'


def _remedy(key: Key) -> str:
  usual = f'the usual is {key.default!r}' if key.default not in ((), '') else ''
  return f'; {key.remedy or usual}' if key.remedy or usual else ''
