"""Studies that give lanes up: interrupted, in stages, and beside one that gives up none."""

import json

import numpy as np
import pytest
from helpers.interrupted import terminated_in_call
from helpers.small import small_config

from bsjax.plan import stages
from bsjax.storage import checkpoint, records
from bsjax.train import loop, study_run

OUT = [1, 2]


def config(**overrides):
  keys = {'trials': 1, 'epochs': 1.0, 'checkpoint__seconds': 0.0, 'batch_sizes': (8, 16)}
  keys |= {'micro_batch': 8, 'model__name': 'mlp', 'noise_scale__exact_examples': 32}
  made = small_config(**keys | overrides)
  stages.add(made, 'first', epochs=1.0)
  stages.add(made, 'second', epochs=1.0, batch_size=('multiply:2',), reset_optimizer=True)
  return made


@pytest.fixture
def giving_up(monkeypatch):
  """Has studies give lanes up at the second evaluation."""
  evaluate = loop.TrainLoop._evaluate

  def and_give_up(self, mark, whole):
    evaluate(self, mark, whole)
    if mark == self.stage.plan.evaluations[1]:
      self._record_pending()
      self.stage.give_up(OUT)

  monkeypatch.setattr(loop.TrainLoop, '_evaluate', and_give_up)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A study that gives up none."""
  workdir = tmp_path_factory.mktemp('whole')
  assert study_run.run_study(config(), workdir)
  return rows_of(workdir)


def rows_of(workdir):
  return records.read(workdir / 'records.jsonl')


@pytest.mark.parametrize('keys', [{'execution__devices': 1}, {'execution__devices': 2}])
def test_others_are_on_record_as_they_would_be_and_a_continued_study_knows(
  whole, giving_up, tmp_path, monkeypatch, keys
):
  at_once, interrupted = tmp_path / 'at_once', tmp_path / 'interrupted'
  assert study_run.run_study(config(**keys), at_once)
  rows, before = rows_of(at_once), {}
  assert [r for r in rows if r['lane'] not in OUT] == [r for r in whole if r['lane'] not in OUT]
  last = max(row['examples'] for row in rows)
  given_up = sorted({row['examples'] for row in rows})[1]
  for row in rows:
    if row['lane'] in OUT and row['examples'] >= given_up:
      before.setdefault(row['lane'], row)
      for name in ('updates', 'val_loss', 'train_accuracy', 'learning_rate_sum'):
        assert row[name] == before[row['lane']][name]
      assert ('exact' in row) == (row['examples'] == given_up)
  assert given_up < last and set(before) == set(OUT)
  with terminated_in_call(monkeypatch, 5):
    assert not study_run.run_study(config(**keys), interrupted)
  assert study_run.run_study(config(**keys), interrupted)
  assert rows_of(interrupted) == rows
  ends = []
  for workdir in (at_once, interrupted):
    with checkpoint.open_to_read(workdir) as manager:
      ends.append(checkpoint.restore_weights(manager, manager.latest_step()))
  np.testing.assert_equal(ends[0][0], ends[1][0])
  assert ends[0][1] == ends[1][1]
  assert [tuple(one) for one in ends[0][1].given_up] == [(lane, given_up) for lane in OUT]
  assert json.loads(json.dumps(ends[0][1].to_json()['given_up'])) == [[x, given_up] for x in OUT]
