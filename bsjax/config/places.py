"""Where the value that a problem is about was set: a line of the config file, or a flag.

The file's text is read and not traced: of several assignments to a key the last in the text is
said that may have set the value that it has, and where none is seen the file alone.
"""

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.errors import Problem, Refused

COMPUTED = object()  # in place of a value that the text does not show
Assigned = tuple[int, Any]  # the line, and the value that stands there
Lines = dict[str, list[Assigned]]  # by key, in the order of the text
_STUDY = re.compile(r'(arms\.[^.]+|pretrain)\.')  # before the keys of a study within a study


def said(error: Exception, file: str, config: ConfigDict, flags: Collection[str]) -> str:
  """Returns what an error says, each problem after its place; of a single one in one line.

  `flags` are the keys that the command line sets, which win over the file.
  """
  problems = error.problems if isinstance(error, Refused) else (Problem(str(error)),)
  assigned = lines(Path(file))
  placed = [_place(problem.keys, file, assigned, config, flags) + problem for problem in problems]
  if len(placed) == 1:
    return placed[0]
  return '\n'.join([f'{len(placed)} problems in the configuration:', *(f'  - {x}' for x in placed)])


def _place(
  keys: Sequence[str], file: str, found: Lines, config: ConfigDict, flags: Collection[str]
) -> str:
  """'FILE:LINE: ' of the first key that was set; '' where there are no keys."""
  places = (_set(key, found, config, flags) for key in keys)
  place = next(filter(None, places), None)
  if isinstance(place, int):
    return f'{file}:{place}: '
  return f'flag --config.{place}: ' if place else f'{file}: ' if keys else ''


def _set(key: str, found: Lines, config: ConfigDict, flags: Collection[str]) -> int | str | None:
  """The flag that sets a key, or else the line; None where neither is seen."""
  study = _STUDY.match(key)
  # What an arm changes wins over a flag for all arms.
  names = [key, key[study.end() :]] if study else [key]
  value = next((x for name in names if (x := _value(config, name)) is not COMPUTED), COMPUTED)
  for name in names:
    if flag := next((x for x in flags if f'{x}.'.startswith(f'{name}.')), None):
      return flag
    if line := _last(found.get(name, []), value):
      return line
  # Where the section is made, which of a study within a study is no place of one key.
  sections = [name.rpartition('.')[0] for name in names]
  where = (_last(found.get(x, []), COMPUTED) for x in sections if not (study and x == study[1]))
  return next(filter(None, where), None)


def _value(config: ConfigDict, name: str) -> Any:
  """The value of a key, such as 'arms.wide.model.width'; `COMPUTED` where it is not there."""
  node: Any = config
  for part in name.split('.'):
    if not isinstance(node, ConfigDict) or part not in node:
      return COMPUTED
    node = node[part]
  return COMPUTED if isinstance(node, ConfigDict) else node


def _last(assignments: list[Assigned], value: Any) -> int | None:
  """The line of the last assignment, but for those that show another value."""
  possible = [line for line, shown in assignments if _may_be(shown, value)]
  return possible[-1] if possible else None


def _may_be(shown: Any, value: Any) -> bool:
  """Whether a value of a config may be that of its text: 1 there may be 1.0, and True is not 1."""
  if shown is COMPUTED or value is COMPUTED:
    return True
  return shown == value and isinstance(shown, bool) == isinstance(value, bool)


def lines(file: Path) -> Lines:
  """Returns the lines of the assignments to each key that a config file's text shows.

  In the order of the text, each with its value, or `COMPUTED`.
  """
  try:
    tree = ast.parse(file.read_bytes())
  except (OSError, SyntaxError, ValueError):
    return {}
  functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
  # What get_config() returns is the config, and other variables may be other ones.
  configs = {
    node.value.id
    for function in functions
    if function.name == 'get_config'
    for node in ast.walk(function)
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Name)
  }
  prefixes = dict.fromkeys(configs, '')
  assigned: Lines = {}
  for key, place in (pair for node in ast.walk(tree) for pair in _sets(node, prefixes)):
    assigned.setdefault(key, []).append(place)
  # Values of one line need not have an order.
  return {key: sorted(places, key=lambda place: place[0]) for key, places in assigned.items()}


def _shown(node: ast.expr | None) -> Any:
  """A value that the text shows, lists as the tuples that they become; `COMPUTED` otherwise."""
  try:
    value = ast.literal_eval(node) if node else {}
  except (ValueError, TypeError, MemoryError, RecursionError):
    return COMPUTED
  if isinstance(value, dict):
    return COMPUTED
  return tuple(value) if isinstance(value, list) else value


def _sets(node: ast.AST, prefixes: dict[str, str]) -> Iterator[tuple[str, Assigned]]:
  """The keys that a statement or call sets; notes names given to sections."""
  if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
    plain = not isinstance(node, ast.AugAssign)
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
      for one, value in _pairs(target, node.value):
        if isinstance(one, ast.Name) and value and (key := _key(value, prefixes)):
          prefixes[one.id] = key
        elif key := _key(one, prefixes):
          yield key, (one.lineno, _shown(value) if plain else COMPUTED)
  elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
    where = _key(node.func.value, prefixes)
    if node.func.attr == 'update' and where is not None:
      yield from _given(node.args, node.keywords, where)
    name = node.args[1] if node.func.attr == 'add' and len(node.args) > 1 else None
    if isinstance(name, ast.Constant):  # stages.add(config, 'head', ...), arms.add
      section = f'{ast.unparse(node.func.value).rpartition(".")[2]}.{name.value!s}'
      yield section, (node.lineno, COMPUTED)
      yield from _given(node.args[2:], node.keywords, section)


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[ast.expr, ast.expr | None]]:
  """What is set to what: several at once where both sides are tuples."""
  if not isinstance(target, ast.Tuple):
    yield target, value
  elif isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
    yield from zip(target.elts, value.elts, strict=True)
  else:
    yield from ((one, None) for one in target.elts)


def _given(
  arguments: list[ast.expr], keywords: list[ast.keyword], where: str
) -> Iterator[tuple[str, Assigned]]:
  """The keys below `where` that dicts and keywords of a call name."""
  pairs = [(one.arg, one.value, one.value.lineno) for one in keywords if one.arg]
  for argument in arguments:
    if isinstance(argument, ast.Dict):
      named = zip(argument.keys, argument.values, strict=True)
      constant = [(k, value) for k, value in named if isinstance(k, ast.Constant)]
      pairs += [(str(k.value), value, k.lineno) for k, value in constant]
  for name, value, line in pairs:
    key = f'{where}.{name}'.lstrip('.')
    yield key, (line, _shown(value))
    yield from _given([value], [], key)


def _key(node: ast.AST, prefixes: dict[str, str]) -> str | None:
  """The dotted key that an expression names: '' for the config itself, None for anything else."""
  if isinstance(node, ast.Name):
    return prefixes.get(node.id)
  if isinstance(node, ast.Attribute):
    name, whole = node.attr, _key(node.value, prefixes)
  elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
    name, whole = str(node.slice.value), _key(node.value, prefixes)
  else:
    return None
  return None if whole is None else f'{whole}.{name}'.lstrip('.')
