"""The public class: plan, run, read, and writers of a user's own; what is stored, without JAX."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from absl import logging
from helpers import event_files
from helpers.small import small_config

import bsjax
from bsjax.storage import records
from bsjax.writers import lanes

ROOT = Path(__file__).parents[2]


class CsvWriter:
  """A writer as a user writes one: a table of validation accuracies, with their settings."""

  def __init__(self, path):
    self.path, self.calls = path, []

  def begin(self, config, plan):
    self.calls.append('begin')
    self.lanes = {row['lane']: row for row in plan}
    self.title = config.model.name
    self.file = open(self.path, 'w', newline='')  # noqa: SIM115
    self.table = csv.writer(self.file)

  def rows(self, rows):
    self.calls.append('rows')
    for row in rows:
      lane = self.lanes[row['lane']]
      self.table.writerow([lane['learning_rate'], lane['trial'], row['examples'], row['val_loss']])

  def summary(self, summary):
    self.calls.append('summary')
    self.sizes = [row['batch_size'] for row in summary['batch_sizes']]

  def close(self):
    self.calls.append('close')
    self.file.close()


class Broken(CsvWriter):
  """A writer that fails at the second evaluation."""

  def rows(self, rows):
    super().rows(rows)
    if self.calls.count('rows') == 2:
      raise ConnectionError('no network')


def config(**keys):
  return small_config(batch_sizes=(8, 16), learning_rates=(0.1,), trials=2, **keys)


@pytest.fixture(scope='module')
def studied(tmp_path_factory):
  """A study run with a writer that works and one that breaks: (study, plan, writers, warnings)."""
  folder = tmp_path_factory.mktemp('studied')
  writers, keys = (CsvWriter(folder / 'rows.csv'), Broken(folder / 'broken.csv')), config()
  keys.writers, keys.execution.profile = ('tensorboard',), 2
  study = bsjax.Study(keys, folder / 'w', writers=writers)
  planned, warnings = study.plan, []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(logging, 'warning', lambda text, *values: warnings.append(text % values))
    assert study.run()
  return study, planned, writers, warnings


def test_a_study_is_planned_run_and_read(studied):
  study, planned, *_ = studied
  assert planned.lanes[-1].batch_size == 16
  assert len(study.rows()) == len(planned.lanes) * 3
  assert study.rows() == records.read(study.workdir / 'records.jsonl')
  table = study.records()
  assert list(table['val_loss']) == [row['val_loss'] for row in study.rows()]
  assert set(table['batch_size']) == {8, 16} and dict(study.to_xarray().sizes) == {
    **{'batch_size': 2, 'learning_rate': 1, 'trial': 2},
    'evaluation': 3,
  }
  assert study.figure('gap').axes and '100% done' in study._repr_html_()
  assert study.summary() == json.loads((study.workdir / 'summary.json').read_text())
  assert study.report().read_text().startswith('<!DOCTYPE html>')
  assert study.run()  # again: nothing is left to do


def test_a_writer_of_ones_own_gets_all_rows_with_their_plan(studied):
  study, _, (writer, _), _ = studied
  assert writer.calls == ['begin', *['rows'] * 3, 'summary', 'close']
  assert writer.title == 'mlp' and writer.sizes == [8, 16]
  lanes = records.read_plan(study.workdir / 'plan.csv')
  rates, trials = ([lane[name] for lane in lanes] for name in ('learning_rate', 'trial'))
  with open(writer.path, newline='') as file:
    table = [list(map(float, row)) for row in csv.reader(file)]
  assert table == [
    [rates[row['lane']], trials[row['lane']], row['examples'], row['val_loss']]
    for row in study.rows()
  ]


def test_a_writer_that_fails_does_not_end_the_study(studied):
  study, _, (_, broken), warnings = studied
  assert broken.calls == ['begin', 'rows', 'rows']
  assert len(warnings) == 1 and 'Broken' in warnings[0] and 'no network' in warnings[0]
  assert (study.workdir / 'report.html').exists()
  broken.file.close()


def test_a_writer_chosen_by_the_config_is_told_the_same(studied):
  study, *_ = studied
  plan, rows = records.read_plan(study.workdir / 'plan.csv'), study.rows()
  folders = sorted((study.workdir / 'tensorboard').iterdir())
  assert [folder.name for folder in folders] == list(lanes.names(plan).values())
  for lane, folder in enumerate(folders):
    told = event_files.scalars(folder)
    assert told == event_files.recorded(rows, lane) and len(told['val_loss']) == 3
    (settings,) = event_files.settings(folder)
    assert settings['batch_size'] == plan[lane]['batch_size']
    assert settings['model.width'] == study.config.model.width


def test_blocks_are_traced_on_request(studied):
  study, planned, *_ = studied
  traces = list((study.workdir / 'profile').rglob('*.xplane.pb'))
  assert len(traces) == len(planned.first.groups) == 1 and traces[0].stat().st_size


def test_a_stored_study_reads_the_same_without_jax(studied):
  study, *_ = studied
  code = f"""
import json, sys, bsjax
stored = bsjax.load({str(study.workdir)!r})
print(json.dumps([len(stored.rows()), stored.summary()['batch_sizes'][0]['batch_size']]))
stored.report()
print(sorted({{'jax', 'flax', 'optax', 'orbax'}} & set(sys.modules)))
"""
  run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
  assert run.returncode == 0, run.stderr
  assert run.stdout.splitlines() == [f'[{len(study.rows())}, 8]', '[]']


def test_an_unfinished_study_is_read_as_far_as_it_is(studied, tmp_path):
  study, *_ = studied
  for name in ('config.json', 'plan.csv'):
    (tmp_path / name).write_bytes((study.workdir / name).read_bytes())
  stored = bsjax.load(tmp_path)
  assert stored.rows() == [] and len(stored.records()) == 0
  rows = [row for row in study.rows() if row['examples'] < study.plan.total_examples]
  records.append(tmp_path / 'records.jsonl', rows)
  assert stored.rows() == rows
  assert [row['batch_size'] for row in stored.summary()['batch_sizes']] == [8, 16]


def test_arms_are_read_together_and_planned_apart(tmp_path, blank_figures):
  whole = config()
  bsjax.arms.add(whole, 'narrow', {'model': {'width': 8}})
  bsjax.arms.add(whole, 'wide', {'model': {'width': 16}})
  writer = CsvWriter(tmp_path / 'rows.csv')
  study = bsjax.Study(whole, tmp_path / 'w', writers=[writer])
  with pytest.raises(bsjax.ConfigError, match=r'each arm has a plan .*narrow, wide'):
    _ = study.plan
  assert study.run()
  assert writer.calls == ['begin', *['rows'] * 3, 'summary', 'close'] * 2
  assert {row['arm'] for row in study.rows()} == {'narrow', 'wide'}
  table = study.records()
  assert list(table['arm']) == [row['arm'] for row in study.rows()]
  assert list(table['train_loss']) == [row['train_loss'] for row in study.rows()]
  with pytest.raises(ValueError, match=r'take the arrays of one, bsjax\.load\(.*NAME'):
    study.to_xarray()
  stored = bsjax.load(study.workdir)
  assert [arm['name'] for arm in stored.summary()['arms']] == ['narrow', 'wide']
  assert stored.report() == study.workdir / 'report.html'


def test_what_holds_no_study_is_not_opened(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'no study.*config\.json'):
    bsjax.load(tmp_path)


def test_public_names_are_one_explicit_list():
  assert sorted(bsjax.__all__) == bsjax.__all__ == sorted(bsjax._HOME)
  for name in bsjax.__all__:
    assert getattr(bsjax, name) is not None
  with pytest.raises(AttributeError, match='nothing_of_the_kind'):
    _ = bsjax.nothing_of_the_kind


def test_training_loads_what_draws_only_at_its_end():
  code = 'import sys, bsjax.train.study_run; print("matplotlib" in sys.modules)'
  run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
  assert run.returncode == 0, run.stderr
  assert run.stdout.strip() == 'False'
