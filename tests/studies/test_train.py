"""The host loop: stop anywhere and continue, refuse another study's directory."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from helpers.interrupted import terminated_in_call
from helpers.results import results
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.engine import device_lanes
from bsjax.engine.device_lanes import Lanes
from bsjax.plan import plan
from bsjax.storage import checkpoint, records
from bsjax.train import study_run
from bsjax.train.saves import Saves

# One page with its figures, that of `undisturbed`, is enough.
pytestmark = pytest.mark.usefixtures('blank_figures')


class Killed(Exception):
  """Stands for a process that dies."""


def final_states(workdir):
  with checkpoint.open_manager(workdir) as manager:
    step = manager.latest_step()
    return manager.restore(step)['states']


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed')
  study_run.run_study(config(), workdir)
  return workdir


def config(**overrides):
  keys = {'micro_batch': 'batch', 'batch_sizes': (8, 16), 'trials': 1, 'evaluations': 3}
  keys |= {'checkpoint__seconds': 0.0, 'model__normalization': 'batch', **overrides}
  return small_config(**keys)


def assert_same_study(a, b):
  assert results(a) == results(b)
  assert largest_difference(final_states(a), final_states(b)) == 0


def test_a_study_leaves_everything_behind(undisturbed):
  names = {path.name for path in undisturbed.iterdir()}
  assert names == {
    'config.json',
    'data.json',
    'execution.json',
    'methodology.txt',
    'provenance.json',
    'plan.csv',
    'records.jsonl',
    'summary.json',
    'report.html',
    'report.md',
    'checkpoints',
    '.lock',
  }
  rows = records.read(undisturbed / 'records.jsonl')
  assert len(rows) == 4 * 4  # lanes x (start and 3 evaluations)
  assert [row['examples'] for row in rows[::4]] == [0, 144, 288, 304]
  last = rows[-1]
  assert last['updates'] == 304 // 16
  assert last['epoch'] == 304 / 150
  assert last['train_accuracy'] > rows[3]['train_accuracy']
  assert 0 < last['reestimated_val_accuracy'] <= 1
  assert sum(row['noise']['count'] for row in rows[0::4]) == 3  # a probe every 16 of 38 ticks


@pytest.mark.parametrize('call', [1, 3, 6, 8])
def test_stopped_anywhere_and_resumed_is_bitwise_the_same(
  call, undisturbed, tmp_path, monkeypatch, capsys
):
  """A termination signal arrives in one of the calls that train; then the command runs again."""
  with terminated_in_call(monkeypatch, call):
    study_run.run_study(config(), tmp_path)
  assert not (tmp_path / 'summary.json').exists()
  study_run.run_study(config(), tmp_path)
  said = re.findall(r'(Stopped|Continuing) at (\d+) of 304', capsys.readouterr().out)
  kinds, places = zip(*said, strict=True)
  assert kinds == ('Stopped', 'Continuing') and places[0] == places[1]
  assert call != 1 or places[0] == '0'  # where the second group still is
  assert_same_study(tmp_path, undisturbed)


@pytest.mark.parametrize('evaluation', [0, 1, 3])
@pytest.mark.parametrize('where', ['before the record', 'after the record'])
def test_killed_around_an_evaluation_and_resumed_is_the_same(
  evaluation, where, undisturbed, tmp_path, monkeypatch
):
  append, calls = records.append, []

  def append_and_die(path, rows):
    calls.append(1)
    if where == 'after the record' or len(calls) <= evaluation:
      append(path, rows)
    if len(calls) > evaluation:
      raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(records, 'append', append_and_die)
    with pytest.raises(Killed):
      study_run.run_study(config(), tmp_path)
  study_run.run_study(config(), tmp_path)
  assert_same_study(tmp_path, undisturbed)


def test_a_study_begun_under_pmap_goes_on_as_it_was(undisturbed, tmp_path, monkeypatch):
  with terminated_in_call(monkeypatch, 3):
    study_run.run_study(config(execution__replicate='pmap'), tmp_path)
  assert config().execution.replicate == 'shard_map'
  study_run.run_study(config(), tmp_path)
  assert_same_study(tmp_path, undisturbed)


@pytest.mark.slow
def test_resume_on_another_number_of_devices(undisturbed, tmp_path, monkeypatch):
  with terminated_in_call(monkeypatch, 3):
    study_run.run_study(config(execution__devices=2), tmp_path)
  study_run.run_study(config(execution__devices=1), tmp_path)
  # Not bitwise: on a CPU the number of devices changes how a matrix product is split.
  for name, states in final_states(tmp_path).items():
    expected = final_states(undisturbed)[name]
    assert largest_difference(states['params'], expected['params']) < 1e-5
  rows, expected = (records.read(path / 'records.jsonl') for path in (tmp_path, undisturbed))
  assert [row['updates'] for row in rows] == [row['updates'] for row in expected]
  for row, other in zip(rows, expected, strict=True):
    assert row['val_loss'] == pytest.approx(other['val_loss'], rel=1e-4)


@pytest.mark.parametrize('optimizer', ['adam', 'lars'])
def test_resume_without_batch_norm_and_with_other_optimizers(optimizer, tmp_path, monkeypatch):
  own = small_config(optimizer__name=optimizer, checkpoint__seconds=0.0, trials=1)
  _, (undisturbed,), on_device = trained(own)
  with terminated_in_call(monkeypatch, 2):
    study_run.run_study(own, tmp_path)
  study_run.run_study(own, tmp_path)
  with checkpoint.open_manager(tmp_path) as manager:
    step = checkpoint.newest_first(manager)[0]
    position = checkpoint.position(manager, step)
    (states,) = checkpoint.restore(manager, step, [undisturbed.to_host()])
  undisturbed.evaluate(on_device)()  # the last evaluation has read the window
  assert largest_difference(states, undisturbed.to_host()) == 0
  assert position.ticks == (undisturbed.ticks,)
  assert position.evaluated == undisturbed.position


def test_a_finished_study_says_so_and_does_nothing(undisturbed, capsys):
  before = {path: path.stat().st_mtime_ns for path in undisturbed.iterdir()}
  study_run.run_study(config(), undisturbed)
  assert 'finished' in capsys.readouterr().out
  assert before == {path: path.stat().st_mtime_ns for path in undisturbed.iterdir()}


def test_another_study_in_the_directory_is_refused(undisturbed):
  with pytest.raises(ConfigError) as error:
    study_run.run_study(config(learning_rates=(0.2,), model__width=13), undisturbed)
  text = str(error.value)
  assert 'learning_rates: [0.05, 0.1] there, [0.2] now' in text
  assert 'model.width: 12 there, 13 now' in text
  assert '--workdir' in text


def test_a_training_set_that_has_changed_is_refused(undisturbed, monkeypatch):
  make_plan = plan.make_plan
  monkeypatch.setattr(plan, 'make_plan', lambda config, n, *rest: make_plan(config, n + 16, *rest))
  with pytest.raises(ConfigError, match=r'another training set .* 166 examples'):
    study_run.run_study(config(), undisturbed)


def test_other_data_of_the_same_size_are_refused(tmp_path, monkeypatch):
  own = config(batch_sizes=(8,))
  append = records.append

  def append_and_die(path, rows):
    append(path, rows)
    if rows[0]['examples']:
      raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(records, 'append', append_and_die)
    with pytest.raises(Killed):
      study_run.run_study(own, tmp_path)
  load = data.load

  def load_with_one_other_label(*arguments):
    found = load(*arguments)
    labels = found.train.labels.copy()
    labels[0] = 1 - labels[0] % 2
    return dataclasses.replace(found, train=dataclasses.replace(found.train, labels=labels))

  monkeypatch.setattr(data, 'load', load_with_one_other_label)
  with pytest.raises(ConfigError, match='other images or labels'):
    study_run.run_study(own, tmp_path)


def test_a_dry_run_writes_nothing(tmp_path, capsys):
  study_run.run_study(config(), tmp_path / 'new', dry_run=True)
  assert not (tmp_path / 'new').exists()
  assert '4 lanes' in capsys.readouterr().out


def test_devices_without_a_lane_are_said(tmp_path, capsys):
  one = config(batch_sizes=(16,), learning_rates=(0.1,))
  assert jax.local_device_count() == 2
  study_run.run_study(one, tmp_path, dry_run=True)
  assert '1 of 2 devices have no lane and stay idle.' in capsys.readouterr().out
  study_run.run_study(config(), tmp_path, dry_run=True)
  assert 'stay idle' not in capsys.readouterr().out


def test_a_lane_that_diverges_leaves_the_others_alone(tmp_path):
  wild = small_config(learning_rates=(0.1, 1e30), batch_sizes=(8,), trials=1)
  study_run.run_study(wild, tmp_path)
  rows = records.read(tmp_path / 'records.jsonl')
  calm, diverged = rows[-2], rows[-1]
  assert (calm['diverged'], diverged['diverged']) == (False, True)
  assert diverged['val_loss'] is None
  assert diverged['b_simple'] is None
  _, (alone,), _ = trained(small_config(learning_rates=(0.1,), batch_sizes=(8,), trials=1))
  with_wild = jax.tree.map(lambda x: np.asarray(x)[0], final_states(tmp_path)['0']['params'])
  own = jax.tree.map(lambda x: x[0], alone.to_host().params)
  # One lane has one device, and the number of devices changes how a matrix product is split.
  assert largest_difference(with_wild, own) < 1e-5
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert summary['batch_sizes'][0]['learning_rate'] == 0.1
  (start,) = summary['provenance']
  assert start['versions']['jax'] == jax.__version__ and start['command'] and start['host']


def test_an_evaluation_is_read_while_training_goes_on(undisturbed, tmp_path, monkeypatch):
  """With nothing to save in between, a record is written after the next stretch was begun."""
  events = []
  append, advance = records.append, device_lanes.Lanes.advance

  def noted_append(path, rows):
    events.append('record')
    append(path, rows)

  def noted_advance(self, *arguments):
    events.append('advance')
    return advance(self, *arguments)

  monkeypatch.setattr(records, 'append', noted_append)
  monkeypatch.setattr(device_lanes.Lanes, 'advance', noted_advance)
  study_run.run_study(config(checkpoint__seconds=1e6), tmp_path)
  assert events[:2] == ['advance', 'record']  # the evaluation before the first tick
  assert events[-1] == 'record'
  assert (tmp_path / 'records.jsonl').read_text() == (undisturbed / 'records.jsonl').read_text()


@pytest.mark.parametrize('call', [1, 4])
def test_stopped_with_an_evaluation_not_yet_read(call, undisturbed, tmp_path, monkeypatch):
  with terminated_in_call(monkeypatch, call):
    study_run.run_study(config(checkpoint__seconds=1e6), tmp_path)
  study_run.run_study(config(checkpoint__seconds=1e6), tmp_path)
  assert_same_study(tmp_path, undisturbed)


@pytest.mark.parametrize('begun, saved', [(1, 1), (3, 2), (3, 0)])
def test_a_group_without_room_takes_turns_from_the_last_checkpoint(
  begun, saved, undisturbed, tmp_path, monkeypatch, capsys
):
  """The device fails once, when its buffers are gone already.

  That is while the last of so many evaluations is read, of which the first are saved.
  """
  advance, evaluate, evaluated, failed = Lanes.advance, Lanes.evaluate, [], []

  def evaluate_and_count(self, *arguments):
    evaluated.append(self)
    return evaluate(self, *arguments)

  def advance_and_fail(self, *arguments):
    done = advance(self, *arguments)
    if len(evaluated) == 2 * begun and not failed:  # of two groups each
      failed.append(self)
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes')
    return done

  monkeypatch.setattr(Lanes, 'advance', advance_and_fail)
  monkeypatch.setattr(Lanes, 'evaluate', evaluate_and_count)
  monkeypatch.setattr(Saves, 'overdue', property(lambda _: len(evaluated) <= 2 * saved))
  study_run.run_study(config(execution__devices=1), tmp_path)
  assert failed and 'Out of device memory' in capsys.readouterr().out
  assert set(execution.read(tmp_path).parts.values()) == {2}  # for continuations
  rows, expected = (records.read(path / 'records.jsonl') for path in (tmp_path, undisturbed))
  assert [(r['lane'], r['examples']) for r in rows] == [
    (r['lane'], r['examples']) for r in expected
  ]
  for row, other in zip(rows, expected, strict=True):
    assert row['val_loss'] == pytest.approx(other['val_loss'], rel=1e-4)


def test_without_room_for_one_lane_at_a_time_the_remedy_is_named(tmp_path, monkeypatch):
  def fail(*_):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes')

  monkeypatch.setattr(device_lanes.Lanes, 'advance', fail)
  own = config(batch_sizes=(8,), learning_rates=(0.1,))
  with pytest.raises(ConfigError, match=r'one lane at a time .*9 bytes.*micro_batch.*per_lane'):
    study_run.run_study(own, tmp_path)


def test_other_errors_of_the_device_are_not_taken_for_memory(tmp_path, monkeypatch):
  def advance(*_):
    raise jax.errors.JaxRuntimeError('INTERNAL: something else')

  monkeypatch.setattr(device_lanes.Lanes, 'advance', advance)
  with pytest.raises(jax.errors.JaxRuntimeError, match='something else'):
    study_run.run_study(config(), tmp_path)


@pytest.mark.slow
def test_a_bound_on_memory_makes_lanes_take_turns(tmp_path, capsys):
  """Bounds in GiB around what the programs need: plenty, and less than any program."""
  keys = {'model__normalization': 'none', 'execution__strategy': 'vmap-im2col', 'trials': 2}
  for name, gib in (('plenty', 64.0), ('short', 1e-6)):
    study_run.run_study(config(**keys, execution__memory=gib), tmp_path / name)
    assert ('take turns' in capsys.readouterr().out) == (name == 'short')
  rows = [records.read(tmp_path / name / 'records.jsonl') for name in ('plenty', 'short')]
  for row, other in zip(*rows, strict=True):
    assert row['val_loss'] == pytest.approx(other['val_loss'], rel=1e-4)
