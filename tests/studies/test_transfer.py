"""Which lane lends its weights."""

import pytest
from helpers import synthetic

import bsjax
from bsjax.storage import records
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
