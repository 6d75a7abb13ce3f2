"""records: what is written comes back, whatever kills the writer."""

import json

import numpy as np
import pytest
from helpers import synthetic

from bsjax.storage import records


def test_rows_come_back_with_null_for_what_json_cannot_say(tmp_path):
  path = tmp_path / 'records.jsonl'
  records.append(path, [{'lane': np.int32(0), 'loss': np.float32('nan'), 'ok': np.bool_(True)}])
  records.append(path, [{'lane': 1, 'loss': float('inf'), 'noise': {'trace': np.float64(0.1)}}])
  assert records.read(path) == [
    {'lane': 0, 'loss': None, 'ok': True},
    {'lane': 1, 'loss': None, 'noise': {'trace': 0.1}},
  ]
  assert len(path.read_text().splitlines()) == 2
  # A float32 is the number that it is, and not the shortest text that reads back as a float32.
  records.append(path, [{'lane': 2, 'losses': np.array([0.1, np.inf], np.float32)}])
  assert records.read(path)[2] == {'lane': 2, 'losses': [float(np.float32(0.1)), None]}
  records.append(path, [{'loss': np.float32(0.1)}])
  assert records.read(path)[3] == {'loss': float(np.float32(0.1))}


def test_a_line_cut_by_a_kill_is_left_out_and_replaced_by_the_next_append(tmp_path):
  path = tmp_path / 'records.jsonl'
  records.append(path, [{'lane': 0}, {'lane': 1}])
  path.write_bytes(path.read_bytes()[:-4])
  assert records.read(path) == [{'lane': 0}]
  records.append(path, [{'lane': 2}])
  assert records.read(path) == [{'lane': 0}, {'lane': 2}]


@pytest.mark.parametrize('damage', ['{"lane": 1, "exa', '7', ''])
def test_a_damaged_line_elsewhere_names_file_and_line(tmp_path, damage):
  path = tmp_path / 'records.jsonl'
  path.write_text(f'{{"lane": 0}}\n{damage}\n{{"lane": 2}}\n')
  with pytest.raises(ValueError, match=r'records\.jsonl, line 2 is damaged'):
    records.read(path)


def test_write_json_is_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'summary.json'
  records.write_json(path, {'value': np.nan, 'sizes': (8, 16), 'mean': np.float64(0.5)})
  assert json.loads(path.read_text()) == {'value': None, 'sizes': [8, 16], 'mean': 0.5}
  records.write_json(path, {'value': np.array([0.25, np.nan]), 'mean': 0.5, 8: (np.inf,)})
  assert json.loads(path.read_text()) == {'value': [0.25, None], 'mean': 0.5, '8': [None]}
  with pytest.raises(TypeError):
    records.write_json(path, {'value': object()})
  assert json.loads(path.read_text())['mean'] == 0.5


def test_a_plan_comes_back_exactly(tmp_path):
  path = tmp_path / 'plan.csv'
  rows = synthetic.plan((8, 16), (0.1 / 3, 1e-7), trials=2)
  records.write_plan(path, rows)
  assert records.read_plan(path) == rows
  assert path.read_text().splitlines()[0] == ','.join(records.PLAN_COLUMNS)


def test_a_plan_with_other_columns_is_refused(tmp_path):
  path = tmp_path / 'plan.csv'
  with pytest.raises(ValueError, match='a plan row has the columns'):
    records.write_plan(path, [{'lane': 0}])
  assert not path.exists()
  path.write_text('lane,group\n0,0\n')
  with pytest.raises(ValueError, match=r"plan\.csv lacks the columns \['batch_size'"):
    records.read_plan(path)


def test_columns_of_hyperparameters_are_numbers_and_older_plans_have_no_branches(tmp_path):
  path = tmp_path / 'plan.csv'
  rows = [row | {'optimizer.b2': 0.999} for row in synthetic.plan((8, 16), (0.1,), 1)]
  records.write_plan(path, rows)
  assert records.read_plan(path) == rows
  without = [','.join(line.split(',')[:5] + line.split(',')[6:]) for line in path.open()]
  assert 'branch' not in without[0]
  path.write_text(''.join(without))
  assert records.read_plan(path) == rows  # of whom every branch is ''


def test_a_plan_that_is_cut_or_damaged_says_where(tmp_path):
  path = tmp_path / 'plan.csv'
  records.write_plan(path, synthetic.plan((8, 16), (0.1,), 1))
  head, first, second = path.read_text().splitlines()
  path.write_text(f'{head}\n{first}\n{second[:20]}\n')
  with pytest.raises(records.Damaged, match=r'plan\.csv, line 3 is damaged .*; restore the file'):
    records.read_plan(path)
  path.write_text(f'{head}\n')
  with pytest.raises(records.Damaged, match=r'plan\.csv has no lanes; restore the file'):
    records.read_plan(path)
