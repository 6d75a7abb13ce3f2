"""Studies of which lanes are lost: on record when and why, never a result, and an early end."""

import json
import shutil

import numpy as np
import pytest
from helpers.interrupted import terminated_in_call
from helpers.results import results
from helpers.small import small_config

from bsjax.report import study_page
from bsjax.storage import checkpoint, records
from bsjax.train import finish, study_run, transfer

WILD = 1e30
COLUMNS = 'diverged', 'diverged_at', 'diverged_because'


def config(*rates, **overrides):
  keys = {'trials': 1, 'evaluations': 3, 'checkpoint__seconds': 0.0, 'batch_sizes': (8, 16)}
  keys |= {'micro_batch': 8, 'model__name': 'mlp'}
  return small_config(learning_rates=rates, **keys | overrides)


def rows_of(workdir):
  return records.read(workdir / 'records.jsonl')


@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
  """A study whose lanes 1 and 3 are lost."""
  workdir = tmp_path_factory.mktemp('mixed')
  assert study_run.run_study(config(0.1, WILD), workdir)
  return workdir


@pytest.fixture(scope='module')
def lost(tmp_path_factory):
  """A study that loses all of its lanes."""
  workdir = tmp_path_factory.mktemp('lost')
  assert study_run.run_study(config(WILD, 2 * WILD), workdir)
  return workdir


@pytest.mark.slow
def test_rows_say_when_and_why_of_lost_lanes_alone(mixed, tmp_path):
  last = {row['lane']: row for row in rows_of(mixed)}
  for lane, row in last.items():
    if lane in (1, 3):
      assert row['diverged_at'] == row['updates'] * row['batch_size'] > 0
      assert row['diverged_because'] == 'loss_not_finite'
      assert row['learning_rate_sum'] == pytest.approx(WILD * row['updates'])
    else:
      assert [name for name in row if name.startswith('diverged')] == ['diverged']
  assert all((row['lane'] in (1, 3)) == row['diverged'] for row in rows_of(mixed) if row['epoch'])
  study_run.run_study(config(0.1, 0.11), tmp_path)
  sound = [[row for row in rows_of(path) if row['lane'] in (0, 2)] for path in (mixed, tmp_path)]
  assert sound[0] == sound[1]


def test_the_summary_and_the_page_name_them(mixed):
  summary = json.loads((mixed / 'summary.json').read_text())
  assert [(run['lane'], run['code']) for run in summary['diverged']] == [
    (1, 'loss_not_finite'),
    (3, 'loss_not_finite'),
  ]
  assert [row['learning_rate'] for row in summary['batch_sizes']] == [0.1, 0.1]
  page = (mixed / 'report.html').read_text()
  assert page.count('the loss was not finite') == 2 and '2 of 4 runs diverged' in page


def test_good_numbers_on_record_make_no_result_of_a_lost_lane(mixed, tmp_path):
  workdir = shutil.copytree(mixed, tmp_path / 'study')
  good = {'val_accuracy': 1.0, 'train_accuracy': 1.0, 'val_loss': 0.01, 'train_loss': 0.01}
  rows = [row | (good if row['diverged'] else {}) for row in rows_of(workdir)]
  (workdir / 'records.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  before = json.loads((workdir / 'summary.json').read_text())
  (workdir / 'summary.json').unlink()
  after = study_page.load(workdir).summary
  assert json.loads(json.dumps(after)) == {k: v for k, v in before.items() if k != 'hardware'}
  assert transfer.best_lane(rows) in (0, 2)
  with pytest.raises(transfer.TransferError, match=r'lane 1 .* has diverged'):
    (workdir / 'summary.json').write_text('{}')
    transfer.read(workdir, 1)


@pytest.mark.parametrize('call', [2, 5])
def test_a_continued_study_knows_them(mixed, tmp_path, monkeypatch, call):
  with terminated_in_call(monkeypatch, call):
    assert not study_run.run_study(config(0.1, WILD), tmp_path)
  assert study_run.run_study(config(0.1, WILD), tmp_path)
  assert rows_of(tmp_path) == rows_of(mixed)
  ends = []
  for workdir in (mixed, tmp_path):
    with checkpoint.open_to_read(workdir) as manager:
      weights, position = checkpoint.restore_weights(manager, manager.latest_step())
      ends.append((weights, position.diverged))
  assert ends[0][1] == ends[1][1] and [one.lane for one in ends[0][1]] == [1, 3]
  np.testing.assert_equal(ends[0][0], ends[1][0])


def test_where_all_lanes_are_lost_training_ends_and_says_so(lost, tmp_path, capsys):
  rows = rows_of(lost)
  marks = sorted({row['examples'] for row in rows})
  assert len(marks) == 2 and len(rows) == 2 * 4  # the first evaluation, and that which found it
  assert all(row['diverged'] for row in rows if row['examples'] == marks[-1])
  summary = json.loads((lost / 'summary.json').read_text())
  assert len(summary['diverged']) == 4
  page = (lost / 'report.html').read_text()
  assert '4 of 4 runs diverged. Training ended there.' in page and 'id="unfinished"' not in page
  assert study_run.run_study(config(WILD, 2 * WILD), lost)
  assert 'This study is finished' in capsys.readouterr().out


def test_an_early_end_that_was_interrupted_comes_again(lost, tmp_path, monkeypatch, capsys):
  def interrupted(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(finish, 'finish', interrupted)
    study_run.run_study(config(WILD, 2 * WILD), tmp_path)
  assert study_run.run_study(config(WILD, 2 * WILD), tmp_path)
  assert 'All 4 lanes have diverged' in capsys.readouterr().out
  assert results(tmp_path) == results(lost)


def test_a_lane_that_grew_is_called_lost_from_then_on_and_trains_on(tmp_path):
  """Its loss is finite: nothing was undone."""
  study_run.run_study(config(0.1, 1e5, batch_sizes=(16,), evaluations=6), tmp_path)
  rows = [row for row in rows_of(tmp_path) if row['lane'] == 1]
  found = [row for row in rows if row['diverged']]
  assert found and {row['diverged_because'] for row in found} == {'loss_grown'}
  assert len({row['diverged_at'] for row in found}) == 1
  assert found[0]['diverged_at'] == found[0]['examples'] and found == rows[-len(found) :]
  assert found[-1]['updates'] > found[0]['updates']
