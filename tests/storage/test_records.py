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
