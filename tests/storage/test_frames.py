"""Records as a table and as arrays: every value where it belongs, whatever the study."""

import math
import sys

import pandas as pd
import pytest
from helpers import synthetic

from bsjax.storage import frames

NESTED = {
  'learning_rate': 0.05,
  'batch_size': 16,
  'b_simple_ci95': [3.0, None],
  'noise': {'count': 4, 'spans': {'trace': 0.25}},
  'val_class_accuracy': [0.5, None, 1.0],
}


@pytest.fixture(scope='module')
def study():
  """Plan and records of 2 batch sizes x 2 learning rates x 3 trials, at three evaluations."""
  plan = synthetic.plan((8, 32), (0.1, 0.3), 3)
  shares = [(lane, share) for share in (0.0, 0.5, 1.0) for lane in plan]
  rows = [
    synthetic.record(lane, share, **NESTED, val_loss=lane['lane'] + share) for lane, share in shares
  ]
  rows[-1] |= {'val_loss': None, 'train_loss': None, 'diverged': True}
  return plan, rows


def test_a_row_has_its_record_and_its_lane_of_the_plan(study):
  plan, rows = study
  table = frames.table(plan, rows)
  assert len(table) == len(rows) and list(table['lane']) == [row['lane'] for row in rows]
  assert list(table.columns[:6]) == ['lane', *frames.SETTING, 'branch', 'evaluation']
  for got, row in zip(table.to_dict('records'), rows, strict=True):
    lane = plan[row['lane']]
    for name in ('batch_size', 'learning_rate', 'trial', 'group', 'micro_batch', 'accumulation'):
      assert got[name] == lane[name]
    for name in ('updates', 'examples', 'epochs'):
      assert got[f'planned_{name}'] == lane[name]
    assert (got['examples'], got['epoch'], got['updates']) == tuple(
      row[name] for name in ('examples', 'epoch', 'updates')
    )
    assert got['batch_size_now'] == 16 and got['learning_rate_now'] == 0.05
    assert got['evaluation'] == 2 * row['examples'] / lane['examples']
    assert got['diverged'] == row['diverged']
    lost = row['val_loss'] is None
    assert math.isnan(got['val_loss']) if lost else got['val_loss'] == row['val_loss']


def test_nested_values_have_columns_and_null_is_nan(study):
  table = frames.table(*study)
  assert (table['noise.count'] == 4).all() and (table['noise.spans.trace'] == 0.25).all()
  assert (table['b_simple_ci95.low'] == 3).all() and table['b_simple_ci95.high'].isna().all()
  assert list(table.filter(like='class').iloc[0].fillna(-1)) == [0.5, -1, 1.0]
  assert table['val_loss'].dtype == table['b_simple_ci95.high'].dtype == float
  assert table['diverged'].dtype == bool and table['updates'].dtype == int


def test_a_table_without_rows_has_the_columns_of_the_plan():
  table = frames.table([], [])
  assert len(table) == 0 and {'lane', *frames.SETTING, 'planned_updates'} <= set(table.columns)


def test_arrays_hold_every_record_at_its_setting(study):
  table = frames.table(*study)
  arrays = frames.arrays(table)
  assert dict(arrays.sizes) == {'batch_size': 2, 'learning_rate': 2, 'trial': 3, 'evaluation': 3}
  assert list(arrays['examples'].values) == [0, 21504, 43008]
  for row in table.to_dict('records'):
    cell = arrays.sel({name: row[name] for name in (*frames.SETTING, 'evaluation')})
    assert cell['lane'] == row['lane'] and cell['planned_updates'] == row['planned_updates']
    assert cell['diverged'] == row['diverged'] and cell['updates'] == row['updates']
    assert cell['epoch'] == row['epoch']
    lost = math.isnan(row['val_loss'])
    assert math.isnan(cell['val_loss']) if lost else cell['val_loss'] == row['val_loss']


def test_arrays_have_branches_and_holes_where_rates_are_scaled(study):
  plan, rows = study
  scaled = [lane | {'learning_rate': lane['learning_rate'] * lane['batch_size']} for lane in plan]
  arrays = frames.arrays(frames.table(scaled, rows))
  assert arrays.sizes['learning_rate'] == 4
  cell = arrays['val_loss'].sel(batch_size=8, learning_rate=0.1 * 32)
  assert cell.shape == (3, 3) and cell.isnull().all()
  apart = [
    lane | {'branch': 'ab'[lane['learning_rate'] == 0.1], 'learning_rate': 0.1} for lane in plan
  ]
  arrays = frames.arrays(frames.table(apart, rows))
  assert arrays['val_loss'].dims == ('branch', *frames.SETTING, 'evaluation')
  assert arrays['val_loss'].sel(branch='a', batch_size=8, trial=1, evaluation=0) == 4


def test_lanes_that_arrays_cannot_tell_apart_are_refused(study):
  plan, rows = study
  alike = [lane | {'learning_rate': 0.1} for lane in plan]
  with pytest.raises(
    ValueError, match=r'lanes \[0, 1, 2.* have the same batch_size, learning_rate'
  ):
    frames.arrays(frames.table(alike, rows))


def test_without_xarray_arrays_say_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'xarray', None)
  with pytest.raises(ImportError, match='pip install xarray'):
    frames.arrays(pd.DataFrame())
