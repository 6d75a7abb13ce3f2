"""The trainings of a study in their order: which are run, refused, and lend their weights."""

import contextlib
import io
import types

import pytest
from helpers.small import small_config
from rich.console import Console

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.engine.own import CONFIGS, Own
from bsjax.models.task import Task
from bsjax.plan import arms, plan
from bsjax.storage import records
from bsjax.storage.shards import Shard
from bsjax.storage.writers import Mirrors
from bsjax.train import begun_with, finish, stage_check, training
from bsjax.train.study_run import StudyRun
from bsjax.train.training import Training


def small(**keys):
  return small_config(batch_sizes=(8, 16), learning_rates=(0.1,), trials=1, **keys)


@pytest.fixture
def of_arms(tmp_path):
  config = small()
  for name in ('one', 'two'):
    arms.add(config, name, {})
  run = StudyRun(config, tmp_path)
  run.console = Console(file=io.StringIO())
  return run


def test_there_are_no_more_shards_than_lanes(tmp_path, monkeypatch):
  monkeypatch.setattr(stage_check, 'check', lambda *_: [])
  StudyRun(small(), tmp_path, shard='2/2').check()
  with pytest.raises(ConfigError, match='has 2 lanes; give no more shards'):
    StudyRun(small(), tmp_path, shard='3/3').check()
  with pytest.raises(ConfigError, match=r'rows of evaluation\.subset=40 are not merged'):
    StudyRun(small(evaluation__subset=40), tmp_path, shard='1/2')


def test_a_target_is_for_a_dry_run(tmp_path):
  with pytest.raises(ConfigError, match='--target=H100 says what would be there; add --dry_run'):
    StudyRun(small(), tmp_path).run(target='H100')


def test_the_page_of_arms_waits_for_the_last_of_them(of_arms, monkeypatch):
  written = []
  monkeypatch.setattr(finish, 'write_report', lambda path: written.append(path) or path)
  configs = arms.configs(of_arms.config)
  for name, pages in (('two', 0), ('one', 1)):
    folder = arms.workdir(of_arms.workdir, name)
    folder.mkdir(parents=True)
    (folder / 'summary.json').write_text('{}')
    of_arms._report_arms(configs)
    assert len(written) == pages


def test_no_arm_is_begun_after_a_signal_that_came_while_one_was_finished(of_arms, monkeypatch):
  trained = []

  def train(self, config, workdir, *_):
    trained.append(workdir.name)
    self._asked_to_stop = True
    return True

  monkeypatch.setattr(StudyRun, 'train', train)
  assert not of_arms._run_arms(arms.configs(of_arms.config), dry_run=False)
  assert trained == ['one']


@pytest.mark.parametrize('outdated', [True, False])
def test_what_another_process_has_begun_meanwhile_is_planned_anew(outdated, tmp_path, monkeypatch):
  known = []
  monkeypatch.setattr(Training, 'outdated', lambda _: outdated)
  monkeypatch.setattr(StudyRun, 'train', lambda self, *_: known.append([*self._trainings]) or True)
  assert StudyRun(small(), tmp_path).run()
  assert known == [[] if outdated else [tmp_path]]


class Loop:
  """Stands where the host loop does, and keeps what it was given."""

  made, asked = None, False

  def __init__(self, *given, goes_on):
    self.weights, self.goes_on, self.to_the_end = given[7], goes_on, None
    Loop.made = self

  def run(self, finish):
    return True


@pytest.mark.parametrize(
  ('extends', 'shard', 'go_on', 'to_the_end'),
  [
    (False, None, False, False),
    (False, None, True, True),
    (False, Shard(1, 2), False, True),  # lanes of others may go on where all of its are lost
    (True, Shard(2, 2, frozenset([1])), False, True),
  ],
)
def test_a_training_goes_on_as_the_study_that_it_is_part_of(
  extends, shard, go_on, to_the_end, tmp_path, monkeypatch
):
  """An extension has the weights that the study there was lent, and its page lies there."""
  there, whole = tmp_path / 'there', tmp_path / 'whole'
  made = types.SimpleNamespace(
    extends=types.SimpleNamespace(workdir=there) if extends else None,
    **{'shard': shard, 'go_on': go_on, 'whole': whole, 'workdir': whole, 'config': small()},
    **{'recorded': True, 'dataset': None, 'chosen': None, 'console': None, 'own': CONFIGS},
    study_plan=plan.make_plan(small(), 150),
    beyond_budget=lambda timed: None,
    _turn=contextlib.nullcontext,
    _is_finished=lambda _: False,
    **dict.fromkeys(('check', '_begin', '_say_plan'), lambda: None),
  )
  monkeypatch.setattr(training, 'TrainLoop', Loop)
  monkeypatch.setattr(training.transfer, 'lent_weights', lambda config, path: path)
  assert Training.run(made, Mirrors([]), go_on)
  assert Loop.made.weights == (there if extends else whole)
  assert (Loop.made.goes_on, Loop.made.to_the_end) == (extends, to_the_end)
  page = Training._lasting(made, whole / 'report.html')
  assert page == (there if extends else whole) / 'report.html'


def test_under_another_jax_parts_from_outside_are_not_refused(tmp_path, monkeypatch, caplog):
  """It may write the same in other words; under the same one another computation is another."""
  config, path = small(), tmp_path / begun_with.OWN_FILE
  dataset, now = data.load(config.data, 0), {'jax': '2', 'model': 'b', 'task': 'c'}
  monkeypatch.setattr(begun_with, 'fingerprints', lambda *_: now)
  own = Own(task=Task(lambda outputs, targets: outputs))
  begun_with.note_parts(tmp_path, CONFIGS, dataset)
  assert not path.exists()
  for known, said in (
    ({'jax': '1', 'model': 'a', 'task': 'c'}, ''),
    ({'jax': '2', 'model': 'a', 'task': 'c'}, 'with another model of that name'),
    ({'jax': '2', 'model': 'a', 'task': 'd'}, 'with another model and task of that name'),
  ):
    records.write_json(path, known)
    refused = pytest.raises(ConfigError, match=said) if said else contextlib.nullcontext()
    with refused:
      begun_with.refuse_other_parts(tmp_path, own, dataset)
    begun_with.note_parts(tmp_path, own, dataset)
    assert records.read_json(path) == known  # that with which the study was begun
  assert caplog.text.count('was begun with JAX 1, this is 2') == 1


@pytest.mark.parametrize(
  ('left', 'summary', 'asked'),
  [
    (
      [Shard(2, 3), Shard(3, 3)],
      False,
      ['Shard 1/3 has ended; the report follows after 2/3, 3/3.'],
    ),
    ([], False, ['checkpoints', 'rows', ('ended', '3 cores')]),
    ([], True, ['checkpoints', 'finished']),  # another has merged them
    ([Shard(2, 3)], True, ['finished']),  # whose folder was removed since
  ],
)
def test_the_last_shard_to_end_makes_one_study_of_all(left, summary, asked, tmp_path, monkeypatch):
  done = []
  if summary:
    (tmp_path / 'summary.json').write_text('{}')
  monkeypatch.setattr(training.shards, 'missing', lambda _: left)
  monkeypatch.setattr(training.shards, 'hardware', lambda _: '3 cores')
  monkeypatch.setattr(training.shards, 'merge', lambda _: done.append('rows'))
  monkeypatch.setattr(
    training.shard_run, 'merge_checkpoints', lambda *_: done.append('checkpoints')
  )
  made = types.SimpleNamespace(
    **{'_turn': contextlib.nullcontext, 'whole': tmp_path, 'config': small()},
    console=types.SimpleNamespace(print=done.append),
    shard=Shard(1, 3),
    _say_finished=lambda _: done.append('finished'),
    _say_ended=lambda _, hardware, __: done.append(('ended', hardware)),
  )
  Training._gather(made, plan.make_plan(small(), 150), Mirrors([]))
  assert done == asked
