"""Rooms: imports go down the list of docs/design.md and never up, and a paper needs no trainer."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'bsjax'
# The first column of the table of rooms, from the ground up.
ROOMS = re.findall(
  r'^\| `(\w+)(?:/|\.py)`', (ROOT / 'docs' / 'design.md').read_text(), re.MULTILINE
)
WITHOUT_JAX = ('analysis', 'audit', 'config', 'console', 'format', 'plan', 'report', 'stats')


def room_of(path):
  """The folder directly under the package that a file is in, or the name of a file beside them."""
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported(path):
  """The rooms that a file imports, at its head or inside a function."""
  for node in ast.walk(ast.parse(path.read_text())):
    names = []
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
      names = [f'{node.module}.{alias.name}' for alias in node.names]
    elif isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    for name in names:
      head, _, rest = name.partition('.')
      if head == 'bsjax' and rest:
        yield rest.partition('.')[0]


def files():
  return sorted(PACKAGE.rglob('*.py'))


def test_the_list_of_rooms_is_that_of_the_package():
  there = {room_of(path) for path in files()} - {'__init__'}
  assert sorted(ROOMS) == sorted(there)


def test_tests_lie_in_folders_with_the_names_of_rooms():
  beside = {'helpers', 'studies', 'experiments', '__pycache__'}  # studies: of whole runs
  folders = {path.name for path in (ROOT / 'tests').iterdir() if path.is_dir()} - beside
  assert folders <= set(ROOMS)
  stray = {path.name for path in (ROOT / 'tests').glob('test_*.py')} - {'test_layers.py'}
  assert not stray


@pytest.mark.parametrize('path', files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
  room = room_of(path)
  if room == '__init__':
    assert not set(imported(path))
    return
  above = {other for other in imported(path) if ROOMS.index(other) > ROOMS.index(room)}
  assert not above, f'{room} may not import {sorted(above)}'


def test_no_file_imports_itself_around():
  """No circle of files: each can be imported first, in a fresh order of its own."""
  by_name = {str(p.relative_to(ROOT).with_suffix('')).replace('/', '.'): p for p in files()}
  by_name = {name.removesuffix('.__init__'): path for name, path in by_name.items()}
  graph = {name: _files_imported(path, by_name) - {name} for name, path in by_name.items()}
  done, open_ = set(), []

  def visit(name):
    assert name not in open_, f'a circle: {" -> ".join([*open_[open_.index(name) :], name])}'
    if name in done:
      return
    open_.append(name)
    for other in sorted(graph[name]):
      visit(other)
    done.add(open_.pop())

  for name in graph:
    visit(name)


def _files_imported(path, by_name):
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        whole = f'{node.module}.{alias.name}'
        names.add(whole if whole in by_name else node.module)
  return {name for name in names if name in by_name}


@pytest.mark.parametrize('folder', ['bsjax', 'tests', 'experiments', 'configs'])
def test_names_imported_inside_functions_are_there(folder):
  """What a function imports is looked up when it runs: a name that moved is missed until then."""
  gone = []
  for path in sorted((ROOT / folder).rglob('*.py')):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom) and (node.module or '').partition('.')[0] == 'bsjax':
        known = _names_of(node.module)
        gone += [f'{path.name}: {node.module}.{a.name}' for a in node.names if a.name not in known]
  assert not gone


@pytest.mark.parametrize('folder', ['bsjax', 'tests', 'experiments', 'configs'])
def test_no_import_defines_a_flag(folder):
  """Commands define theirs when they begin: one process may import two, as tests do."""
  later = ast.FunctionDef | ast.ClassDef | ast.If  # If: of a file that is run itself
  defined = [
    f'{path.name}:{node.lineno}'
    for path in sorted((ROOT / folder).rglob('*.py'))
    for statement in ast.parse(path.read_text()).body
    if not isinstance(statement, later)
    for node in ast.walk(statement)
    if isinstance(node, ast.Attribute) and node.attr.startswith('DEFINE')
  ]
  assert not defined


@functools.cache
def _names_of(module):
  """The names that a module of the package binds at its head or lists there, and its files."""
  place = ROOT / module.replace('.', '/')
  path = place / '__init__.py' if place.is_dir() else place.with_suffix('.py')
  if not path.exists():
    return set()
  names = {file.stem for file in place.iterdir()} if place.is_dir() else set()
  if module == 'bsjax.configs':  # the folder of studies beside the package
    names |= {file.stem for file in (ROOT / 'configs').glob('*.py')}
  for node in _at_head(ast.parse(path.read_text()).body):
    if isinstance(node, ast.Import | ast.ImportFrom):
      names |= {alias.asname or alias.name.partition('.')[0] for alias in node.names}
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
      names.add(node.name)
    else:
      names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
      names |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}  # lazy ones
  return names


def _at_head(body):
  """The statements of a file outside functions and classes, also those under `if` and `try`."""
  for node in body:
    if isinstance(node, ast.If | ast.Try):
      yield from _at_head([*node.body, *node.orelse])
    else:
      yield node


def test_one_place_names_the_metric_and_the_loss():
  """Columns, keys and sentences are made from config/metrics.py; docstrings may speak freely."""
  named = re.compile('accurac(y|ies)|cross.entropy', re.IGNORECASE)
  saying = {
    path.relative_to(PACKAGE).as_posix()
    for path in files()
    if any(named.search(text) for text in _strings(path))
  }
  saying |= {
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob('*.html')
    if named.search(path.read_text())
  }
  assert saying == {'config/metrics.py'}


def _strings(path):
  """The string literals of a file, and the parts of its f-strings, without docstrings."""
  nodes = list(ast.walk(ast.parse(path.read_text())))
  docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
  texts = (node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docs)
  return [node.value for node in texts if isinstance(node.value, str)]


@pytest.mark.parametrize('module', ['bsjax', *(f'bsjax.{room}' for room in WITHOUT_JAX)])
def test_no_jax_in_the_paper(module):
  """A report, and all it is made of, starts without loading JAX or what trains."""
  names = [module]
  folder = PACKAGE / module.removeprefix('bsjax.')
  if module != 'bsjax' and folder.is_dir():
    inside = sorted(folder.rglob('*.py'))
    names += [str(p.relative_to(ROOT).with_suffix('')).replace('/', '.') for p in inside]
  code = f'import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n'
  heavy = {'jax', 'flax', 'optax', 'orbax'}
  if module == 'bsjax':  # which starts at once
    heavy |= {'numpy', 'scipy', 'pandas', 'matplotlib', 'ml_collections', 'absl', 'rich'}
  code += f'print(sorted({heavy} & set(sys.modules)))'
  run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
  assert run.returncode == 0, run.stderr
  assert run.stdout.strip() == '[]'
