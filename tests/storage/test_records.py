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


def _three_positions(path):
  rows = [{'lane': lane, 'examples': examples} for examples in (0, 64, 128) for lane in (0, 1)]
  records.append(path, rows)
  return rows


def test_truncate_after_keeps_the_position_itself_and_drops_what_lies_beyond(tmp_path):
  path = tmp_path / 'records.jsonl'
  rows = _three_positions(path)
  records.truncate_after(path, 64)
  assert records.read(path) == rows[:4]
  assert [file.name for file in tmp_path.iterdir()] == ['records.jsonl']


def test_truncate_after_needs_no_file(tmp_path):
  records.truncate_after(tmp_path / 'records.jsonl', 64)
  assert not list(tmp_path.iterdir())


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


def test_a_lane_that_was_dropped_has_rows_up_to_there_and_none_beyond():
  plan = [{'lane': 0}, {'lane': 1}]
  rows = [{'lane': lane, 'examples': at, 'dropped': False} for at in (0, 8, 16) for lane in (0, 1)]
  with pytest.raises(records.Damaged, match=r'lanes \[1\] at 16 examples are missing'):
    records.check(rows[:-1], plan, 'here', (0, 8, 16))
  rows[3]['dropped'] = True
  assert records.dropped(rows) == {1: 8}
  records.check(rows[:-1], plan, 'here', (0, 8, 16))
  records.check(rows[:-1], plan, 'here')
  with pytest.raises(records.Damaged, match='lane 1 was dropped at 8 examples and has a row at 16'):
    records.check(rows, plan, 'here')
  with pytest.raises(records.Damaged, match='at 8 examples are missing'):
    records.check([*rows[:3], rows[4]], plan, 'here', (0, 8, 16), ended={1: 8})
  of_subset = [{**row, 'dropped': None} for row in rows[:-1]]
  records.check(of_subset, plan, 'here', (0, 8, 16), ended=records.dropped(rows))
