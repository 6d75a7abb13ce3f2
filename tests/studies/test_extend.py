"""Studies that get more settings in their workdir: they are the study run at once, bit by bit."""

import os
import shutil

import pytest
from helpers.interrupted import terminated_in_call
from helpers.results import results
from helpers.small import small_config

from bsjax import Study, arms, stages
from bsjax.config.errors import ConfigError
from bsjax.storage import records, workdirs
from bsjax.train import transfer
from bsjax.train.extension import extend
from bsjax.train.study_run import run_study

pytestmark = [pytest.mark.usefixtures('blank_figures'), pytest.mark.optimized]


def config_of(**overrides):
  """Batch sizes that update together every 32 examples, in a program of one lane after another."""
  small = {'batch_sizes': (8, 32), 'epochs': 1.28, 'micro_batch': 8, 'execution__devices': 1}
  return small_config(**small | {'learning_rates': (0.1,)} | overrides)


def stored(workdir, config):
  """The configuration of a workdir, run as `config`."""
  kept = workdirs.read_config(workdir)
  kept.execution = config.execution
  return kept


def same(workdir, whole):
  assert results(workdir) == results(whole)
  for name in ('plan.csv', 'config.json', 'data.json', 'methodology.txt'):
    assert (workdir / name).read_bytes() == (whole / name).read_bytes(), name
  assert (workdir / 'report.html').exists()


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  from matplotlib.figure import Figure

  from bsjax.report.figures import drawing

  with pytest.MonkeyPatch.context() as monkeypatch:
    monkeypatch.setattr(drawing, 'draw', lambda *_: Figure((1, 1)))
    workdir = tmp_path_factory.mktemp('first')
    assert run_study(config_of(), workdir)
  return workdir


def test_trials_then_rates_that_diverge_then_batch_sizes_are_the_study_at_once(
  tmp_path, first, monkeypatch
):
  workdir = shutil.copytree(first, tmp_path / 'study')
  before = (workdir / 'records.jsonl').read_bytes()
  more = config_of(trials=3)
  with terminated_in_call(monkeypatch, 2):
    assert not Study(more, workdir).extend()  # of which the command makes 75
  assert (workdir / 'records.jsonl').read_bytes() == before  # and the study there can be read
  assert Study(more, workdir).extend()
  assert run_study(more, workdir)  # it is finished
  assert (workdir / 'extensions/1/before/records.jsonl').read_bytes() == before
  # One trial at one batch size, lost at once: those of the others go on without it.
  assert extend(more, workdir, [((32,), (1e9,), 1)])
  assert extend(stored(workdir, more), workdir, [((16,), (0.1,), 3)])
  config = stored(workdir, more)
  assert config.rounds == [[[8, 32], [0.1], 3], [[32], [1e9], 1], [[16], [0.1], 3]]
  assert run_study(config, tmp_path / 'whole')
  same(workdir, tmp_path / 'whole')
  rows = records.read(workdir / 'records.jsonl')
  assert {row['lane'] for row in rows} == set(range(10)) and any(row['diverged'] for row in rows)
  for lane in (0, 5, 8):
    assert_same_weights(workdir, tmp_path / 'whole', lane)


def assert_same_weights(workdir, whole, lane):
  import jax
  import numpy as np

  weights = transfer.read(workdir, lane), transfer.read(whole, lane)
  jax.tree.map(np.testing.assert_array_equal, *weights)


def test_wherever_it_was_interrupted_the_next_call_goes_on(tmp_path, first, monkeypatch):
  """While what is there and what is new become one, and while that takes the workdir's place."""
  more, replace = config_of(trials=3), os.replace
  workdir = shutil.copytree(first, tmp_path / 'study')

  def interrupted(workdir, source, target):
    """Extends, until a file is about to be moved from one folder of the workdir to another."""

    def cut(here, there):
      if os.fspath(here) == os.fspath(workdir / source) and str(there) == str(workdir / target):
        raise KeyboardInterrupt
      replace(here, there)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(os, 'replace', cut)
      extend(more, workdir)

  made = 'extensions/1'
  # The lanes are trained; each cut goes on from there.
  interrupted(workdir, f'{made}/records.jsonl.tmp', f'{made}/records.jsonl')
  whole = shutil.copytree(workdir, tmp_path / 'whole', symlinks=True)
  assert extend(more, whole)
  for source, target, halfway in (
    (f'{made}/summary.json.tmp', f'{made}/summary.json', False),
    ('records.jsonl', f'{made}/before.part/records.jsonl', True),
    (f'{made}/before.part', f'{made}/before', True),
    (f'{made}/records.jsonl', 'records.jsonl', True),
    (f'{made}/config.json', 'config.json', True),
  ):
    one = shutil.copytree(workdir, tmp_path / 'one', symlinks=True)
    interrupted(one, source, target)
    if halfway:
      for config in (config_of(), more):
        with pytest.raises(ConfigError, match='was interrupted while it took its place; give'):
          run_study(config, one)
    else:
      assert run_study(config_of(), one)  # the study there is as it was
    assert extend(more, one)
    same(one, whole)
    assert transfer.read(one, 5)
    shutil.rmtree(one)


def refused(words, config, workdir, **given):
  with pytest.raises(ConfigError, match=words):
    extend(config, workdir, **given)


def test_what_would_not_be_the_study_at_once_is_refused(tmp_path, first):
  files = sorted(path.relative_to(first) for path in first.rglob('*'))
  with pytest.raises(ConfigError, match='choose another --workdir, with --extend to add to it'):
    run_study(config_of(trials=3), first)
  for words, keys in {
    r'trials=1, and the study there has 2: nothing is taken away': {'trials': 1},
    r'batch_sizes=\(8, 16\), and the study there has 32: nothing': {'batch_sizes': (8, 16)},
    r'give batch size 8 0 trials at learning rate 0.1': {'learning_rates': (0.2,)},
    r'epochs=2.0, and the study there has 1.28: a study gets more': {'epochs': 2.0},
    r'evaluations=3, and the study there has 2': {'evaluations': 3},
    r'every 64 examples, and the runs there were evaluated at 96': {'batch_sizes': (8, 32, 64)},
    r'would end at 128 examples, and the runs there ended it at 192': {'batch_sizes': (8, 32, 128)},
    r'micro_batch=8 does not divide the batch sizes \[4\]': {'batch_sizes': (4, 8, 32)},
    r'rounds have the trials 2, but trials=3': {'trials': 3, 'rounds': (((8, 32), (0.1,), 2),)},
    r'evaluation.subset=64: rows of a subset': {'trials': 3, 'evaluation__subset': 64},
  }.items():
    refused(words, config_of(**keys), first)
  refused('is no box: give', config_of(), first, boxes=[((8,), (), 2)])
  with pytest.raises(ConfigError, match='--shard=1/2: an extension is trained undivided'):
    Study(config_of(trials=3), first, shard='1/2').extend()
  assert extend(config_of(trials=3), first, dry_run=True)
  assert extend(config_of(), first)  # there is nothing to add
  assert sorted(path.relative_to(first) for path in first.rglob('*')) == files


def test_an_extension_is_finished_before_the_next(tmp_path, first, monkeypatch):
  workdir = shutil.copytree(first, tmp_path / 'study')
  with terminated_in_call(monkeypatch, 1):
    assert not extend(config_of(trials=3), workdir)
  refused(
    r'is unfinished, whose trials is 3 and not 4; finish that first', config_of(trials=4), workdir
  )


@pytest.mark.slow
def test_stages_branches_arms_and_pretraining_are_extended(tmp_path, monkeypatch):
  """Of a study that was not finished, and an arm that had not begun."""
  config = config_of(batch_sizes=(8, 16), trials=1, evaluations=4)
  stages.add(config, 'first', epochs=0.64)
  stages.add(config, 'last', epochs=0.64, batch_size=('multiply:2', 'keep'), reset_optimizer=True)
  with config.unlocked():
    config.pretrain = {'epochs': 0.64}
  arms.add(config, 'one', {})
  arms.add(config, 'two', {'schedule': {'name': 'cosine'}})
  with terminated_in_call(monkeypatch, 3):
    assert not run_study(config, tmp_path / 'study')
  config.trials = 2
  refused(r"arms.order=\('one',\), and .* has the arm two", one_arm(config), tmp_path / 'study')
  assert extend(config, tmp_path / 'study', [((16,), (0.2,), 1)])
  whole = stored(tmp_path / 'study', config)
  assert whole.arms.one.pretrain.trials == 1
  assert run_study(whole, tmp_path / 'whole')
  for arm in ('one', 'two'):
    same(tmp_path / 'study/arms' / arm, tmp_path / 'whole/arms' / arm)
  assert (tmp_path / 'study/report.html').exists()


def one_arm(config):
  only = config.copy_and_resolve_references()
  only.arms.order = ('one',)
  return only
