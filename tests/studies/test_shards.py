"""Shards of a study, one after another here: together they are the undivided study, bit by bit."""

import os
import shutil

import jax
import numpy as np
import pytest
from helpers import blank
from helpers.interrupted import terminated_in_call
from helpers.results import results, same
from helpers.small import small_config

from bsjax import arms, load, stages
from bsjax.config.errors import ConfigError
from bsjax.report import arms_page, study_page
from bsjax.storage import checkpoint, lock, provenance, records, shards
from bsjax.storage.shards import Shard
from bsjax.train import transfer
from bsjax.train.study_run import run_study

pytestmark = pytest.mark.usefixtures('blank_figures')


def config_of(**overrides):
  """12 lanes in a program that runs lanes one after the other, whatever their number."""
  return small_config(
    **{'batch_sizes': (8, 16), 'trials': 3, 'epochs': 1.0, 'execution__devices': 1} | overrides
  )


def run_shards(config, workdir, count, order=None):
  for index in order or range(1, count + 1):
    assert run_study(config, workdir, shard=f'{index}/{count}')


@pytest.fixture(scope='module')
def undivided(tmp_path_factory):
  with pytest.MonkeyPatch.context() as monkeypatch:
    blank.figures(monkeypatch)
    workdir = tmp_path_factory.mktemp('undivided')
    assert run_study(config_of(), workdir)
  return workdir


@pytest.mark.slow
def test_the_last_shard_makes_the_undivided_study(tmp_path, undivided, monkeypatch, capsys):
  config, workdir = config_of(), tmp_path / 'study'
  assert run_study(config, workdir, shard='3/4')
  assert 'has ended; the report follows after 1/4, 2/4, 4/4' in capsys.readouterr().out
  assert not (workdir / 'records.jsonl').exists() and not (workdir / 'report.html').exists()
  with terminated_in_call(monkeypatch, 2):
    assert not run_study(config, workdir, shard='1/4')  # of which the command makes 75
  for shard, words in {'': 'in 4 shards: give each --shard=i/4', '1/3': 'in 4 shards, and'}.items():
    with pytest.raises(ConfigError, match=words):
      run_study(config, workdir, shard=shard)
  with pytest.raises(FileNotFoundError, match='shards 2/4, 4/4'):
    study_page.write(workdir)
  for shard in ('2/4', '4/4'):
    assert run_study(config, workdir, shard=shard)
  page = study_page.write(workdir).read_text()  # of what all have come to, while one is unfinished
  assert 'Unfinished' in page and not (workdir / 'summary.json').exists()
  assert len(load(workdir).records()) > 9
  assert run_study(config, workdir, dry_run=True, shard='1/4')
  assert 'Shard 1/4: 3 of the 12 lanes' in capsys.readouterr().out
  assert run_study(config, workdir, shard='1/4')
  same(workdir, undivided)
  starts = [start['shard'] for start in provenance.read(workdir)]
  assert sorted(starts) == ['1/4', '1/4', '2/4', '3/4', '4/4']  # one was continued
  # It is finished, and can be read and lend weights as any other.
  before = (workdir / 'records.jsonl').stat().st_mtime_ns
  for shard in ('', '2/4'):
    assert run_study(config, workdir, shard=shard)
  assert (workdir / 'records.jsonl').stat().st_mtime_ns == before
  for lane in range(12):
    weights = transfer.read(workdir, lane), transfer.read(undivided, lane)
    jax.tree.map(np.testing.assert_array_equal, *weights)


def test_what_is_begun_undivided_or_has_fewer_lanes_is_not_divided(tmp_path, undivided):
  with pytest.raises(ConfigError, match='begun undivided; continue it without --shard'):
    run_study(config_of(), undivided, shard='1/2')
  with pytest.raises(ConfigError, match='has 12 lanes; give no more shards'):
    run_study(config_of(), tmp_path / 'study', shard='1/13')
  assert not (tmp_path / 'study').exists()


def test_a_shard_is_trained_by_one_process_at_a_time(tmp_path):
  held = lock.held(Shard(1, 2).folder(tmp_path))
  with held, pytest.raises(ConfigError, match=r'shards/1-of-2 is in use by process'):
    run_study(config_of(), tmp_path, shard='1/2')


@pytest.mark.slow
def test_arms_stages_and_pretraining_in_shards_are_the_undivided_ones(tmp_path, capsys):
  """Whole batches that branches change, and batch sizes that follow a measurement."""
  config = config_of(trials=2, learning_rates=(0.1,), noise_scale__every=1)
  grows = {'epochs': 2.0, 'batch_size': ('noise:0.3', 'keep'), 'largest_batch_size': 64}
  stages.add(config, 'first', epochs=1.0)
  stages.add(config, 'last', batch_size=('multiply:2', 'keep'), reset_optimizer=True)
  with config.unlocked():
    config.pretrain = {'epochs': 1.0, 'trials': 1, 'batch_sizes': (16,), 'micro_batch': 16}
  arms.add(config, 'whole_batches', {'micro_batch': 'batch'})
  arms.add(config, 'follows', {'stages': {'last': grows}})
  assert run_study(config, tmp_path / 'whole')
  assert run_study(config, tmp_path / 'parts', shard='2/2')
  assert not (tmp_path / 'parts' / 'report.html').exists()
  assert capsys.readouterr().out.count('pretrain/report.html') == 4  # once for each arm of each
  assert run_study(config, tmp_path / 'parts', shard='1/2')
  lent = tmp_path / 'parts' / 'arms' / 'follows' / 'pretrain' / 'provenance.json'
  assert len(records.read_json(lent)['starts']) == 1  # the second shard takes what the first made
  assert 'Report of all arms' in capsys.readouterr().out
  for arm in ('whole_batches', 'follows'):
    pairs = zip(
      *(_rows(tmp_path / name / 'arms' / arm) for name in ('whole', 'parts')), strict=True
    )
    for whole, part in pairs:
      # A sum in other portions is rounded otherwise where batch sizes follow measurements.
      sums = [row.pop('learning_rate_sum') for row in (whole, part)]
      assert sums[1] == pytest.approx(sums[0], rel=1e-14, abs=0)
      assert part == whole
  summaries = [records.read_json(tmp_path / name / 'summary.json') for name in ('whole', 'parts')]
  assert summaries[0]['conditions'] == summaries[1]['conditions']
  (tmp_path / 'parts' / 'report.html').unlink()
  assert arms_page.write(tmp_path / 'parts').exists()


def _rows(workdir):
  return sorted(records.read(workdir / 'records.jsonl'), key=lambda r: (r['examples'], r['lane']))


MERGED = ('records.jsonl', 'provenance.json', 'summary.json', 'methodology.txt', 'report.html')


@pytest.mark.slow
def test_wherever_merging_was_interrupted_it_is_made_again(tmp_path, undivided, monkeypatch):
  """By any shard, or by the report where only that was left to do."""
  config, ended = config_of(), tmp_path / 'ended'
  for shard in ('1/2', '2/2'):
    assert run_study(config, ended, shard=shard)
  for name in MERGED:
    (ended / name).unlink()
  shutil.rmtree(ended / 'checkpoints')
  replace = os.replace
  for name in MERGED[::2]:
    workdir = shutil.copytree(ended, tmp_path / name)

    def cut(source, target, stop=workdir / name):
      if os.fspath(target) == os.fspath(stop):
        raise KeyboardInterrupt
      replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(os, 'replace', cut)
      run_study(config, workdir, shard='2/2')
    assert not (workdir / name).exists()
    assert run_study(config, workdir, shard='1/2')
    same(workdir, undivided)
    assert transfer.read(workdir, 0)
  assert study_page.write(ended).exists()
  assert results(ended) == results(undivided)
  (Shard(2, 2).folder(ended) / shards.DONE).unlink()  # as good as removed
  assert run_study(config, ended, shard='1/2')


def test_lanes_that_diverged_are_known_in_the_merged_checkpoint(tmp_path):
  """By which sharpness leaves them out, as in the undivided study."""
  config = config_of(batch_sizes=(8,), learning_rates=(0.1, 1e20), trials=2)
  run_shards(config, tmp_path / 'shards', 2)
  assert run_study(config, tmp_path / 'whole')
  lost = [_last_position(tmp_path / name).diverged for name in ('shards', 'whole')]
  assert lost[0] == lost[1] and [one.lane for one in lost[0]] == [2, 3]


def _last_position(workdir):
  with checkpoint.open_to_read(workdir) as manager:
    return checkpoint.restore_weights(manager, max(checkpoint.steps(manager).values()))[1]
