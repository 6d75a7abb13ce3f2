"""Where the value that a sentence complains of was set: a line of the config file, or a flag.

The file's text is read and not traced: of several assignments to a key the last in the text is
said, and where none is seen the file alone.
"""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from bsjax.config.errors import ConfigError
from bsjax.config.keys import BY_NAME

# What sentences on a configuration begin with: perhaps an arm, then the key.
_SUBJECT = re.compile(r"(?:((?:arms\.[\w-]+|pretrain))[:] )?(?:the key=')?([a-z][\w.-]*)(?=[=:' ])")
_SECTIONS = {name.partition('.')[0] for name in BY_NAME}


def said(error: Exception, file: str, flags: Collection[str]) -> str:
  """Returns what an error says, each problem after its place; of a single one in one line.

  `flags` are the keys that the command line sets, which win over the file.
  """
  several = error.problems if isinstance(error, ConfigError) else ()
  if len(several) < 2:
    (sentence,) = several or (str(error),)
    return _place(sentence, file, flags) + sentence
  lines = '\n'.join(f'  - {_place(sentence, file, flags)}{sentence}' for sentence in several)
  return f'{len(several)} problems in the configuration:\n{lines}'


def _place(sentence: str, file: str, flags: Collection[str]) -> str:
  """'FILE:LINE: ' of the key that a sentence begins with; '' where that is none."""
  match = _SUBJECT.match(sentence)
  if not match or match[2].partition('.')[0] not in _SECTIONS:
    return ''
  whole, key = f'{match[1]}.{match[2]}', match[2]
  names = [whole, key] if match[1] else [key]
  if given := next((name for name in names if name in flags), None):
    return f'flag --config.{given}: '
  found = lines(Path(file))
  line = next((found[name] for name in [*names, *map(_section, names)] if name in found), None)
  return f'{file}:{line}: ' if line else f'{file}: '


def _section(name: str) -> str:
  return name.rpartition('.')[0]


def lines(file: Path) -> dict[str, int]:
  """Returns the line of the last assignment to each key that a config file's text shows."""
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
  found = [pair for node in ast.walk(tree) for pair in _sets(node, prefixes)]
  return dict(sorted(found, key=lambda pair: pair[1]))


def _sets(node: ast.AST, prefixes: dict[str, str]) -> Iterator[tuple[str, int]]:
  """The keys that a statement or call sets, each with its line; notes names given to sections."""
  if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
      for one in target.elts if isinstance(target, ast.Tuple) else [target]:
        if isinstance(one, ast.Name) and node.value and (key := _key(node.value, prefixes)):
          prefixes[one.id] = key
        elif key := _key(one, prefixes):
          yield key, one.lineno
  elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
    where = _key(node.func.value, prefixes)
    if node.func.attr == 'update' and where is not None:
      yield from _given(node.args, node.keywords, where)
    name = node.args[1] if node.func.attr == 'add' and len(node.args) > 1 else None
    if isinstance(name, ast.Constant):  # stages.add(config, 'head', ...), arms.add
      section = f'{ast.unparse(node.func.value).rpartition(".")[2]}.{name.value!s}'
      yield section, node.lineno
      yield from _given(node.args[2:], node.keywords, section)


def _given(
  arguments: list[ast.expr], keywords: list[ast.keyword], where: str
) -> Iterator[tuple[str, int]]:
  """The keys below `where` that dicts and keywords of a call name."""
  pairs = [(one.arg, one.value, one.value.lineno) for one in keywords if one.arg]
  for argument in arguments:
    if isinstance(argument, ast.Dict):
      named = zip(argument.keys, argument.values, strict=True)
      constant = [(k, value) for k, value in named if isinstance(k, ast.Constant)]
      pairs += [(str(k.value), value, k.lineno) for k, value in constant]
  for name, value, line in pairs:
    key = f'{where}.{name}'.lstrip('.')
    yield key, line
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
