"""The tables of experiments/verdicts are those of its files, which are of whole cells."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'experiments' / 'verdicts'
_SPEC = importlib.util.spec_from_file_location('verdict_table', FOLDER / 'table.py')
verdict_table = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(verdict_table)


@pytest.mark.parametrize(('path', 'name'), verdict_table.TABLES)
def test_pages_show_the_tables_of_the_files(path, name):
  text = path.read_text()
  table = verdict_table.TABLES[path, name]()
  assert table in text
  assert verdict_table.replaced(text, name, table) == text


@pytest.mark.parametrize('name', ['before', 'after'])
def test_shares_are_their_counts(name):
  cells = json.loads((FOLDER / f'{name}.json').read_text())['cells']
  shares = [
    share for cell in cells for share in cell.values() if isinstance(share, dict) and 'of' in share
  ]
  assert cells and shares
  for share in shares:
    expected = share['count'] / share['of'] if share['of'] else None
    assert share['rate'] == pytest.approx(expected)


def script(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_numbers_of_the_step_law_are_those_of_its_file():
  folder = FOLDER.parent / 'step_law'
  run = script(folder / 'run.py')
  result = json.loads((folder / 'results.json').read_text())
  readme = (folder / 'README.md').read_text()
  assert run.table(result) in readme
  text, good = ' '.join(readme.split()), result['narrowing_by_what_counts_as_good']
  for found in (result['curvature_over_model_sizes'], result['curvature_by_last_loss'],
                good['0.5%'], good['2%']):  # fmt: skip
    assert run.interval(found['mean'], found['low'], found['high']) in text
  assert 'in {} of {} cells the curve bends down'.format(*result['cells_that_bend_down']) in text
  (more,) = (row for row in result['claims'] if 'matters more' in row['claim'])
  low, high = more['ci95']
  assert f'({100 * more["effect"]:+.0f}% [{100 * low:.0f}, {100 * high:+.0f}]' in text


def test_the_table_of_planted_causes_is_that_of_its_file():
  folder = FOLDER.parent / 'audit'
  planted = script(folder / 'planted.py')
  result = json.loads((folder / 'planted.json').read_text())
  assert planted.table(result) in (folder / 'README.md').read_text()
  assert {cell['tables'] for cell in result.values()} == {200}
