"""Which lane lends its weights."""

import contextlib

import numpy as np
import pytest
from helpers import synthetic

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
