"""Where the value that a sentence complains of was set: a line of the config file, or a flag.

The file's text is read and not traced: of several assignments to a key the last in the text is
said that may have set the value complained of, and where none is seen the file alone.
"""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from bsjax.config.bounds import shown_value
from bsjax.config.errors import ConfigError
from bsjax.config.keys import BY_NAME

# What sentences on a configuration begin with: perhaps an arm, then the key.
_SUBJECT = re.compile(r"(?:((?:arms\.[\w-]+|pretrain))[:] )?(?:the key=')?([a-z][\w.-]*)(?=[=:' ])")
Assigned = tuple[int, str]  # the line, and the value that stands there, '' where it is computed
Lines = dict[str, list[Assigned]]  # by key, in the order of the text
_SECTIONS = {name.partition('.')[0] for name in BY_NAME}


def said(error: Exception, file: str, flags: Collection[str]) -> str:
  """Returns what an error says, each problem after its place; of a single one in one line.

  `flags` are the keys that the command line sets, which win over the file.
  """
  sentences = (error.problems if isinstance(error, ConfigError) else ()) or (str(error),)
  found = lines(Path(file))
  placed = [_place(sentence, file, found, flags) + sentence for sentence in sentences]
  if len(placed) == 1:
    return placed[0]
  return '\n'.join([f'{len(placed)} problems in the configuration:', *(f'  - {x}' for x in placed)])


def _place(sentence: str, file: str, found: Lines, flags: Collection[str]) -> str:
  """'FILE:LINE: ' of the key that a sentence begins with; '' where that is none."""
  match = _SUBJECT.match(sentence)
  if not match or match[2].partition('.')[0] not in _SECTIONS:
    return ''
  value = sentence[match.end() :]
  # What an arm changes wins over a flag for all arms.
  names = [f'{match[1]}.{match[2]}', match[2]] if match[1] else [match[2]]
  for name in names:
    if given := next((flag for flag in flags if f'{flag}.'.startswith(f'{name}.')), None):
      return f'flag --config.{given}: '
    if line := _last(found.get(name, []), value):
      return f'{file}:{line}: '
  sections = [name.rpartition('.')[0] for name in names]
  where = (_last(found.get(section, []), value) for section in sections if section != match[1])
  line = next(filter(None, where), None)
  return f'{file}:{line}: ' if line else f'{file}: '


def _last(assignments: list[Assigned], value: str) -> int | None:
  """The line of the last assignment, but for those of another value than '=VALUE ...' says."""
  possible = [line for line, text in assignments if not text or _says(value, text)]
  return possible[-1] if possible else None


def _says(value: str, text: str) -> bool:
  """Whether '=VALUE ...' is of the value that stands in a file as `text`."""
  if not value.startswith('='):
    return True
  if value[1:].startswith(text):
    return not re.match(r'[\w.]', value[1 + len(text) :])
  try:
    return float(text) == float(value[1:].split()[0].rstrip(':;,'))  # 1 in a file is 1.0 of a key
  except (IndexError, ValueError):
    return False


def lines(file: Path) -> Lines:
  """Returns the lines of the assignments to each key that a config file's text shows.

  In the order of the text, each with its value as messages show it, or '' where that is computed.
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
  found: Lines = {}
  for key, place in (pair for node in ast.walk(tree) for pair in _sets(node, prefixes)):
    found.setdefault(key, []).append(place)
  return {key: sorted(places) for key, places in found.items()}


def _shown(node: ast.expr | None) -> str:
  """A value as messages show it, lists as the tuples that they become; '' for what is computed."""
  try:
    value = ast.literal_eval(node) if node else {}
  except (ValueError, TypeError, MemoryError, RecursionError):
    return ''
  if isinstance(value, dict):
    return ''
  return shown_value(tuple(value) if isinstance(value, list) else value)


def _sets(node: ast.AST, prefixes: dict[str, str]) -> Iterator[tuple[str, Assigned]]:
  """The keys that a statement or call sets; notes names given to sections."""
  if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
    plain = not isinstance(node, ast.AugAssign)
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
      for one, value in _pairs(target, node.value):
        if isinstance(one, ast.Name) and value and (key := _key(value, prefixes)):
          prefixes[one.id] = key
        elif key := _key(one, prefixes):
          yield key, (one.lineno, _shown(value) if plain else '')
  elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
    where = _key(node.func.value, prefixes)
    if node.func.attr == 'update' and where is not None:
      yield from _given(node.args, node.keywords, where)
    name = node.args[1] if node.func.attr == 'add' and len(node.args) > 1 else None
    if isinstance(name, ast.Constant):  # stages.add(config, 'head', ...), arms.add
      section = f'{ast.unparse(node.func.value).rpartition(".")[2]}.{name.value!s}'
      yield section, (node.lineno, '')
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
