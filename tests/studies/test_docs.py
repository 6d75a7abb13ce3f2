"""The worked example against closed forms; the links, modules and keys that the prose names."""

import functools
import importlib
import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.linear_regression import DISTANCE, EIGENVALUES, LABEL_NOISE, regression_truth

from bsjax import configs
from bsjax.__main__ import COMMANDS
from bsjax.config.keys import base_config
from bsjax.plan import stages

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / 'README.md', ROOT / 'CHANGELOG.md', *ROOT.glob('docs/*.md')])
EXPERIMENTS = sorted(ROOT.glob('experiments/*/README.md'))
# What lies in a workdir, and not in the repository.
WORKDIR = ('arms/', 'arms/NAME/', 'checkpoints/', 'pretrain/', 'profile/', 'tensorboard/', 'wandb/')


@pytest.fixture(scope='module')
def example():
  spec = importlib.util.spec_from_file_location(
    'add_an_estimator', ROOT / 'docs' / 'examples' / 'add_an_estimator.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_example_finds_the_noise_scale_of_its_training_set(example):
  found, truth = example.measure()
  assert found.low <= truth <= found.high
  assert found.high < 1.04 * found.low  # the term of the finite training set is 5%


def test_the_example_estimates_both_means_without_bias(example):
  updates, batch = 8192, 32
  rng = np.random.default_rng(0)
  x = rng.standard_normal((updates, batch, 4)) * np.sqrt(EIGENVALUES)
  y = x @ -DISTANCE + LABEL_NOISE * rng.standard_normal((updates, batch))
  params = {'a': np.zeros(2, np.float32), 'b': np.zeros(2, np.float32)}

  def estimate(key, x, y):
    losses = functools.partial(example.squared_errors, x=x, y=y)
    return example.from_directions(losses, params, key, 4, None)

  keys = jax.random.split(jax.random.key(0), updates)
  found = jax.jit(jax.vmap(estimate))(keys, x.astype(np.float32), y.astype(np.float32))
  for values, truth in zip(found, regression_truth(), strict=True):
    error = np.std(values, dtype=float) / np.sqrt(updates)
    assert error < 0.03 * truth
    assert abs(np.mean(values, dtype=float) - truth) < 4 * error


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page):
  text = page.read_text()
  for target in re.findall(r'\]\(([^)#]+)', text):
    assert target.startswith('http') or (page.parent / target).exists(), target
  headings = {re.sub(r'\W+', '-', line.lower()) for line in re.findall(r'^#+ (.+)$', text, re.M)}
  assert set(re.findall(r'\]\(#([^)]+)\)', text)) <= headings
  for module in re.findall(r'python -m (bsjax[.\w]*)', text):
    assert importlib.util.find_spec(module), module
  blocks = ''.join(re.findall(r'```sh\n(.*?)```', text, re.DOTALL))
  for command in re.findall(r'`bsjax (\w+)', text) + re.findall(r'^bsjax (\w+)', blocks, re.M):
    assert command in COMMANDS, command
  for name in re.findall(r'--config=(\w+)(?![\w/.])', text):
    assert name in configs.names() or name == 'FILE', name
  for path in re.findall(r'\b(?:configs|tests|docs/examples|scripts|bsjax)/[\w/]+\.py', text):
    assert (ROOT / path).exists(), path
  flags = re.findall(r'--config\.([\w.]+)=', text)
  sections = '|'.join(key for key, value in base_config().items() if hasattr(value, 'items'))
  flags += re.findall(rf'`((?:{sections})\.(?!py|json|html|md\b)[a-z]\w*)[`=]', text)
  config = base_config()
  for name in re.findall(r"stages\.add\(config, '(\w+)'", text):
    stages.add(config, name)
  for key in flags:
    node = config
    for part in key.split('.'):
      assert part in node, key
      node = node[part]


def named_paths(page):
  """The Python files and folders that a page names, but for those that are links."""
  text = re.sub(r'\]\([^)]*\)', ']', page.read_text())  # links are checked as such
  text = re.sub(r'\[`[^`]*`\](?=[^(]|$)', '', text)
  names = re.findall(r'(?<![\w./])([\w./]+\.py)\b', text) + re.findall(r'`([\w./]+/)`', text)
  written = re.findall(r'^```python\n# ([\w/]+\.py)$', text, re.MULTILINE)
  return {name for name in names if name not in (*WORKDIR, *written)}


@pytest.mark.parametrize('page', PAGES + EXPERIMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page):
  """From the top, from the package, or from where the page is; folders of a room by their name."""
  missing = []
  for name in sorted(named_paths(page)):
    beside = any((folder / name).exists() for folder in (ROOT, ROOT / 'bsjax', page.parent))
    inside = name.endswith('/') and any((ROOT / 'bsjax').glob(f'*/{name}'))
    if not (beside or inside):
      missing.append(name)
  assert not missing


def test_paths_are_found_in_a_page(tmp_path):
  page = tmp_path / 'page.md'
  page.write_text(
    '`noise/exact.py`, tests/studies/test_docs.py, `stats/`, [`a.py`](b.py); `arms/`\n'
    '```python\n# mine.py\nimport bsjax\n```\n--config=mine.py\n'
  )
  assert named_paths(page) == {'noise/exact.py', 'tests/studies/test_docs.py', 'stats/'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_can_be_imported(page):
  blocks = ''.join(re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL))
  names = re.findall(r'`(bsjax(?:\.\w+)+)`', page.read_text())
  for name in names + re.findall(r'\bbsjax\.\w+(?=\()', blocks):
    try:
      importlib.import_module(name)
    except ModuleNotFoundError:
      module, _, attribute = name.rpartition('.')
      assert hasattr(importlib.import_module(module), attribute), name


def test_no_table_of_the_design_is_longer_than_one_row_per_room():
  text = (ROOT / 'docs' / 'design.md').read_text()
  tables = re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE)
  rooms = max(len(re.findall(r'^\| `\w+(?:/|\.py)`', table, re.MULTILINE)) for table in tables)
  assert rooms > 10 and all(len(table.splitlines()) - 2 <= rooms for table in tables)


def test_the_pages_have_something_to_check():
  text = ''.join(page.read_text() for page in PAGES)
  assert text.count('](') > 10 and text.count('--config.') > 3 and 'noise_scale.exact' in text
