"""The table of experiments/verdicts is that of its files, and the files are of whole cells."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'experiments' / 'verdicts'


def table():
  spec = importlib.util.spec_from_file_location('verdict_table', FOLDER / 'table.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.table()


def test_the_readme_shows_the_table_of_the_files():
  assert table() in (FOLDER / 'README.md').read_text()


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
