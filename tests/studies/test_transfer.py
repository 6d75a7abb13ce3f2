"""Which lane lends its weights."""

import contextlib

import numpy as np
import pytest
from helpers import synthetic
from helpers.small import small_config

import bsjax
from bsjax.storage import checkpoint, records
from bsjax.train import transfer


def of_example(outputs, targets):
  return abs(outputs - targets)


def record(lane, examples, value, key, diverged=False):
  return {'lane': lane, 'examples': examples, key: value, 'diverged': diverged}


@pytest.mark.parametrize(
  'metric, best',
  [
    (None, 2),  # judged by the loss
    (bsjax.Metric('score', of_example, higher_is_better=False), 2),
    (bsjax.Metric('score', of_example, higher_is_better=True), 1),
  ],
)
def test_the_best_lane_is_best_by_what_its_own_study_is_judged_by(tmp_path, metric, best):
  """It is none of the plan here, so that the error says which one it is."""
  task = bsjax.Task(of_example, [metric] if metric else [])
  key = 'val_score' if metric else 'val_loss'
  rows = [record(lane, 8, 0.5, key) for lane in range(5)]  # what counts is the last record
  rows += [record(lane, 16, value, key) for lane, value in enumerate((0.4, 0.6, 0.2, 0.2))]
  rows.append(record(4, 16, 0.0 if best == 2 else 1.0, key, diverged=True))
  records.write(tmp_path / 'records.jsonl', rows)
  records.write_plan(tmp_path / 'plan.csv', synthetic.plan((8,), (0.1,), 1))
  records.write_json(tmp_path / 'config.json', {'own': {'task': task.stored()}})
  records.write_json(tmp_path / 'summary.json', {})
  with pytest.raises(transfer.TransferError, match=rf'lane {best} is not in'):
    transfer.read(tmp_path)


def test_a_lane_that_was_dropped_or_lost_before_its_end_lends_nothing(tmp_path):
  """However good it was at its rung; nor does one without a value, and of equals the first does."""
  last = {0: (8, 0.9, {'dropped': True}), 1: (16, 0.9, {'diverged': True}), 2: (16, None, {})}
  last |= {lane: (16, 0.7, {'dropped': False}) for lane in (4, 3)} | {5: (16, 0.6, {})}
  rows = [
    record(lane, examples, value, 'val_accuracy') | said
    for lane, (examples, value, said) in last.items()
  ]
  assert transfer.best_lane(rows) == 3
  with pytest.raises(transfer.TransferError, match='none of the 3 lanes'):
    transfer.best_lane(rows[:3])


class Kept(contextlib.nullcontext):
  """Stands in for checkpoints: there is one."""

  def latest_step(self):
    return 8


def test_a_lane_of_any_group_lends_its_own_weights(tmp_path, monkeypatch):
  """Groups hold every other lane, so that no lane but the first is where its number says."""
  plan = [row | {'group': row['lane'] % 2} for row in synthetic.plan((8, 16), (0.1,), 3)]
  records.write_plan(tmp_path / 'plan.csv', plan)
  records.write(
    tmp_path / 'records.jsonl', [record(row['lane'], 8, 0.5, 'val_loss') for row in plan]
  )
  records.write_json(tmp_path / 'summary.json', {})
  of_groups = [{'params': np.arange(group, 6, 2)} for group in range(2)]
  monkeypatch.setattr(checkpoint, 'open_to_read', lambda workdir: Kept())
  monkeypatch.setattr(checkpoint, 'restore_weights', lambda manager, step: (of_groups, {}))
  assert [int(transfer.read(tmp_path, lane)['params']) for lane in range(6)] == list(range(6))


FRESH = {
  'params': {
    'head': {'kernel': np.zeros((3, 2), np.float32)},
    'header': {'kernel': np.zeros(4, np.float32)},
    'body': {'kernel': np.zeros((2, 3), np.float32), 'bias': np.zeros(3, np.float32)},
  },
  'batch_stats': {},
}


def lent(**layers):
  """Weights of another study: ones, but for layers that are another or (None) not there."""
  params = {name: {k: v + 1 for k, v in layer.items()} for name, layer in FRESH['params'].items()}
  params |= layers
  return {'params': {name: layer for name, layer in params.items() if layer is not None}}


@pytest.mark.parametrize('classes', [2, 7])
def test_all_but_the_head_is_taken_whatever_the_other_head_is(classes):
  """A layer whose name begins as that of the head is no part of it."""
  given = lent(head={'kernel': np.ones((3, classes), np.float32)})
  merged, report = transfer.merge(FRESH, given, 'head')
  assert merged.keys() == FRESH.keys() and merged['batch_stats'] == {}
  assert not merged['params']['head']['kernel'].any()
  for layer in ('header', 'body'):
    assert all(leaf.all() for leaf in merged['params'][layer].values())
  taken = {'params/header/kernel': 4, 'params/body/kernel': 6, 'params/body/bias': 3}
  new, dropped = {'params/head/kernel': 6}, {'params/head/kernel': 3 * classes}
  assert report == transfer.Report(taken, new, dropped)
  columns = [list(column.cells) for column in transfer.table(report).columns]
  assert columns == [
    ['header', 'body', 'head', 'all'],
    ['4', '9', '', '13'],
    ['', '', '6', '6'],
    ['', '', f'{3 * classes}', f'{3 * classes}'],
  ]


def test_running_statistics_are_taken_with_the_weights():
  fresh = FRESH | {'batch_stats': {'body': {'mean': np.zeros(3, np.float32)}}}
  given = lent() | {'batch_stats': {'body': {'mean': np.full(3, 5.0, np.float32)}}}
  merged, report = transfer.merge(fresh, given, 'head')
  assert merged['batch_stats']['body']['mean'].tolist() == [5.0] * 3
  assert report.taken['batch_stats/body/mean'] == 3


@pytest.mark.parametrize(
  ('layers', 'words'),
  [
    ({'header': None}, r'1 leaves .*\n  - the other study lacks params/header/kernel$'),
    ({'more': {'bias': np.zeros(1)}}, r'1 leaves .*\n  - this model lacks params/more/bias$'),
    (
      {'header': {'kernel': np.ones((2, 2), np.float32)}},
      r'differ in shape or type params/header/kernel \(here float32\[4\], in the other float32\[2,',
    ),
    ({'header': {'kernel': np.ones(4, np.float16)}}, r'\(here float32\[4\], in the other float16'),
    ({'more': dict.fromkeys('abcde', np.zeros(1))}, r'5 leaves (?s:.*)more/d, params/more/e$'),
    ({'more': dict.fromkeys('abcdef', np.zeros(1))}, r'6 leaves (?s:.*)more/e and 1 more$'),
  ],
)
def test_leaves_that_do_not_fit_are_named(layers, words):
  with pytest.raises(transfer.TransferError, match=words):
    transfer.merge(FRESH, lent(**layers), 'head')
  with pytest.raises(transfer.TransferError, match="the model has no layer 'tail'"):
    transfer.merge(FRESH, lent(), 'tail')


@pytest.mark.parametrize(('lane', 'read'), [(-1, None), (0, 0), (3, 3)])
def test_the_lane_asked_for_lends_and_else_the_best(lane, read, tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(transfer, 'read', lambda *given: asked.append(given))
  config = small_config(transfer__lane=lane)
  assert transfer.lent_weights(config, tmp_path) is None and not asked
  config.transfer.workdir = '~/lender'
  monkeypatch.setenv('HOME', str(tmp_path))
  transfer.lent_weights(config, tmp_path / 'study')
  with config.unlocked():
    config.pretrain = {'epochs': 1.0}
  transfer.lent_weights(config, tmp_path / 'study')
  assert asked == [(tmp_path / 'lender', read), (tmp_path / 'study' / 'pretrain', read)]


@pytest.mark.parametrize('lane', [6, 60])
def test_a_lane_beyond_the_last_is_not_read(lane, tmp_path):
  records.write_plan(tmp_path / 'plan.csv', synthetic.plan((8, 16), (0.1,), 3))
  records.write(tmp_path / 'records.jsonl', [record(0, 8, 0.5, 'val_loss')])
  with pytest.raises(transfer.TransferError, match='holds no finished study'):
    transfer.read(tmp_path, lane)
  records.write_json(tmp_path / 'summary.json', {})
  with pytest.raises(transfer.TransferError, match=f'lane {lane} is not in .*lanes are 0 to 5'):
    transfer.read(tmp_path, lane)
