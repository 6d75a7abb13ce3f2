"""Trained studies: at equal updates all batch sizes stand on records, and training is the same."""

import json
import os
import signal

import numpy as np
import pytest
from helpers.interrupted import terminated_in_call
from helpers.results import results
from helpers.small import largest_difference, small_config

from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.histories import settings
from bsjax.engine import device_lanes
from bsjax.plan import stages
from bsjax.storage import checkpoint, records, workdirs
from bsjax.train import study_run

# One page with its figures, that of `matched`, is enough.
pytestmark = pytest.mark.usefixtures('blank_figures')

POWERS = (8, 16, 32, 64, 128, 256)


def config(**overrides):
  keys = {'evaluations': 16, 'trials': 2, 'learning_rates': (0.05,), 'checkpoint__seconds': 0.0}
  keys |= {'noise_scale__every': 4, 'batch_sizes': POWERS, 'epochs': 90.0, 'model__width': 4}
  return small_config(**keys | overrides)


def without(row, names):
  return {name: value for name, value in row.items() if name not in names}


def study(workdir):
  return records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl')


def first_settings(workdir):
  return {size: tried[0] for size, tried in settings(*study(workdir)).items()}


def states(workdir):
  with checkpoint.open_manager(workdir) as manager:
    return manager.restore(manager.latest_step())['states']


@pytest.fixture(scope='module')
def matched(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('matched')
  study_run.run_study(config(), workdir)
  return workdir


@pytest.mark.parametrize('sizes', [POWERS, (16, 24, 40, 100)])
def test_at_equal_updates_all_batch_sizes_stand_on_records(sizes, matched, tmp_path):
  workdir = matched
  if sizes != POWERS:
    workdir = tmp_path
    study_run.run_study(config(batch_sizes=sizes, epochs=280.0, micro_batch=4), workdir)
  chosen = first_settings(workdir)
  assert set(chosen) == set(sizes) and all(setting.problem is None for setting in chosen.values())
  most = chosen[max(sizes)].lanes[0].final['updates']
  for clock, per_update in (('updates', 1.0), ('learning_rate_updates', 0.05)):
    value = budgets.meeting_point(chosen, clock)
    assert most / 2 <= value / per_update <= most
    read = budgets.readings(chosen, clock)
    assert not any(reading.problem or reading.between for reading in read.values())
    for reading in read.values():
      assert reading.values['updates'] == pytest.approx(value / per_update, rel=1e-6)
  rows = records.read(workdir / 'records.jsonl')
  assert len({row['examples'] for row in rows}) == 1 + 16
  assert len(rows) == 17 * 2 * len(sizes)


@pytest.mark.slow
def test_with_even_positions_they_did_not(matched, tmp_path):
  """Training is bitwise the same, and so are records of the same moments, but for their noise."""
  study_run.run_study(config(evaluation__positions='even'), tmp_path)
  chosen = first_settings(tmp_path)
  read = budgets.readings(chosen, 'updates')
  assert any(reading.problem or reading.between for reading in read.values())
  assert largest_difference(states(matched), states(tmp_path)) == 0

  def by_place(workdir):
    rows = records.read(workdir / 'records.jsonl')
    return {(row['lane'], row['examples']): row for row in rows}

  first, second = by_place(matched), by_place(tmp_path)
  common = first.keys() & second.keys()
  assert len(common) > 2 * 2 * len(POWERS)  # more than the start and the end
  names = [name for row in first.values() for name in row]
  windows = {name for name in names if name.startswith(('noise', 'b_simple'))}
  for place in common:
    assert without(first[place], windows) == without(second[place], windows)
  # Windows of noise cover the same updates, cut differently.
  for lane in range(2 * len(POWERS)):
    counts = [
      sum(row['noise']['count'] for (number, _), row in rows.items() if number == lane)
      for rows in (first, second)
    ]
    assert counts[0] == counts[1] > 0


def test_stopped_between_uneven_evaluations_and_resumed_is_bitwise_the_same(
  matched, tmp_path, monkeypatch
):
  with terminated_in_call(monkeypatch, 6):
    study_run.run_study(config(), tmp_path)
  assert not (tmp_path / 'summary.json').exists()
  assert len(study(tmp_path)[1]) < len(study(matched)[1])
  study_run.run_study(config(), tmp_path)
  assert results(tmp_path) == results(matched)
  assert largest_difference(states(tmp_path), states(matched)) == 0


def test_a_workdir_of_a_version_without_the_key_goes_on_with_even_positions(tmp_path, monkeypatch):
  even = config(evaluation__positions='even', epochs=10.0, batch_sizes=(8, 16), trials=1)
  advance = device_lanes.Lanes.advance

  def advance_and_signal(self, *arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return advance(self, *arguments)

  with monkeypatch.context() as patch:
    patch.setattr(device_lanes.Lanes, 'advance', advance_and_signal)
    study_run.run_study(even, tmp_path)
  path = tmp_path / 'config.json'
  stored = json.loads(path.read_text())
  del stored['evaluation']['positions']
  path.write_text(json.dumps(stored))
  assert workdirs.read_config(tmp_path).evaluation.positions == 'even'
  today = config(epochs=10.0, batch_sizes=(8, 16), trials=1)
  with pytest.raises(ValueError, match=r"evaluation\.positions: 'even' there, 'matched' now"):
    study_run.run_study(today, tmp_path)
  study_run.run_study(even, tmp_path)
  total = study(tmp_path)[0][0]['examples']
  marks = {round(total * i / 16 / 16) * 16 for i in range(17)}
  assert {row['examples'] for row in study(tmp_path)[1]} == marks


def test_stages_meet_in_the_last_of_them(tmp_path):
  staged = config(batch_sizes=(8, 16, 64), evaluations=16)
  stages.add(staged, 'first', epochs=8.0)
  stages.add(staged, 'last', epochs=12.0, learning_rate_factor=0.5)
  study_run.run_study(staged, tmp_path)
  chosen = first_settings(tmp_path)
  summary = json.loads((tmp_path / 'summary.json').read_text())
  for at, end in zip(summary['stages']['at'], (8 * 150, 20 * 150), strict=True):
    rows = at['updates']['batch_sizes']
    assert [row['batch_size'] for row in rows] == [8, 16, 64]
    assert not any(row.get('undefined') or row['interpolated'] for row in rows)
    assert end / 64 / 2 < at['updates']['value'] <= end / 64 + 1
  begun = max(row['updates'] for row in chosen[64].lanes[0].rows if row['stage'] == 0)
  most = chosen[64].lanes[0].final['updates']
  value = budgets.meeting_point(chosen, 'updates')
  assert begun + (most - begun) / 2 <= value <= most
  read = budgets.readings(chosen, 'updates')
  assert not any(reading.problem or reading.between for reading in read.values())
  assert np.all(read[8].values['epoch'] < 8)
