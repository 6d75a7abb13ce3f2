"""Extended studies are those run at once, bit by bit, with programs as users compile them."""

import jax
import numpy as np
import pytest
from helpers.extended import config_of, stored
from helpers.interrupted import terminated_in_call
from helpers.results import same

from bsjax import Study, arms, stages
from bsjax.config.errors import ConfigError
from bsjax.engine import device_lanes
from bsjax.storage import records
from bsjax.train import transfer
from bsjax.train.extension import extend
from bsjax.train.study_run import run_study

pytestmark = [pytest.mark.usefixtures('blank_figures'), pytest.mark.optimized, pytest.mark.slow]


def test_trials_then_rates_that_diverge_then_batch_sizes_are_the_study_at_once(
  tmp_path, monkeypatch
):
  workdir = tmp_path / 'study'
  assert run_study(config_of(), workdir)
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
    weights = transfer.read(workdir, lane), transfer.read(tmp_path / 'whole', lane)
    jax.tree.map(np.testing.assert_array_equal, *weights)


def with_stages_and_lender():
  config = config_of(batch_sizes=(8, 16), trials=1, evaluations=4)
  stages.add(config, 'first', epochs=0.64)
  stages.add(config, 'last', epochs=0.64, batch_size=('multiply:2', 'keep'), reset_optimizer=True)
  with config.unlocked():
    config.pretrain = {'epochs': 0.64}
  return config


def test_stages_branches_arms_and_pretraining_are_extended(tmp_path, monkeypatch):
  """Of a study that was not finished, and an arm that had not begun."""
  config = with_stages_and_lender()
  arms.add(config, 'one', {})
  arms.add(config, 'two', {'schedule': {'name': 'cosine'}})
  with terminated_in_call(monkeypatch, 3):
    assert not run_study(config, tmp_path / 'study')
  config.trials = 2
  with pytest.raises(ConfigError, match=r"arms.order=\('one',\), and .* has the arm two"):
    extend(one_arm(config), tmp_path / 'study')
  assert extend(config, tmp_path / 'study', [((16,), (0.2,), 1)])
  whole = stored(tmp_path / 'study', config)
  assert whole.arms.one.pretrain.trials == 1
  assert run_study(whole, tmp_path / 'whole')
  for arm in ('one', 'two'):
    same(tmp_path / 'study/arms' / arm, tmp_path / 'whole/arms' / arm)
  assert (tmp_path / 'study/report.html').exists()


@pytest.mark.parametrize('finished', [True, False])
def test_more_epochs_go_on_where_lanes_are_when_nothing_up_to_there_changes(
  tmp_path, monkeypatch, capsys, finished
):
  """Of a study that was finished, or was not; interrupted in the middle, and then with trials."""
  even = {'evaluation__positions': 'even', 'schedule__warmup_epochs': 0.5}
  config, workdir = config_of(**even), tmp_path / 'study'
  more = config_of(**even, epochs=2.56, evaluations=4)
  calls = trained_examples(monkeypatch)
  with terminated_in_call(monkeypatch, 99 if finished else 2):
    assert run_study(config, workdir) == finished
  there = sum(calls)  # of a study that was stopped it depends on the clock
  assert there == 192 * 4 if finished else 0 < there < 192 * 4
  before = (workdir / 'records.jsonl').read_bytes()
  with terminated_in_call(monkeypatch, 2):
    assert not extend(more, workdir)
  assert extend(more, workdir)
  assert 'lanes go on from where those in' in capsys.readouterr().out
  assert sum(calls) == 384 * 4  # none twice
  assert (workdir / 'extensions/1/before/records.jsonl').read_bytes() == before
  assert (workdir / 'records.jsonl').read_bytes().startswith(before)
  assert run_study(more, tmp_path / 'whole')
  same(workdir, tmp_path / 'whole')
  jax.tree.map(
    np.testing.assert_array_equal, *(transfer.read(x, 3) for x in (workdir, tmp_path / 'whole'))
  )
  assert extend(more, workdir)  # there is nothing to add


def trained_examples(monkeypatch):
  """The examples of each call of those that train, of all lanes together."""
  advance, calls = device_lanes.Lanes.advance, []

  def counted(self, on_device, blocks):
    done = advance(self, on_device, blocks)
    calls.append(done * self.group.block_ticks * self.group.micro_batch * len(self.group.lanes))
    return done

  monkeypatch.setattr(device_lanes.Lanes, 'advance', counted)
  return calls


@pytest.mark.parametrize(
  ('begun', 'more', 'because'),
  [
    ({}, {'evaluations': 3}, 'they are evaluated, or stages end, at other positions'),
    (
      {'schedule__name': 'cosine', 'evaluation__positions': 'even'},
      {'epochs': 2.56, 'evaluations': 4},
      'the learning rate goes by the length of training',
    ),
    ({}, {'evaluations': 3, 'trials': 3}, 'there are other settings besides'),
  ],
)
def test_else_all_lanes_are_trained_again_and_what_was_there_is_kept(
  tmp_path, monkeypatch, capsys, begun, more, because
):
  workdir, more = tmp_path / 'study', config_of(**begun | more)
  assert run_study(config_of(**begun), workdir)
  before = (workdir / 'records.jsonl').read_bytes()
  assert extend(more, workdir, dry_run=True)
  assert f'trained again from their beginning, because {because}' in flat(capsys)
  with terminated_in_call(monkeypatch, 2):
    assert not extend(more, workdir)
  assert (workdir / 'records.jsonl').read_bytes() == before
  assert extend(more, workdir)
  assert (workdir / 'extensions/1/before/records.jsonl').read_bytes() == before
  assert run_study(more, tmp_path / 'whole')
  same(workdir, tmp_path / 'whole')


def flat(capsys):
  return ' '.join(capsys.readouterr().out.split())


def test_stages_and_a_lender_are_longer_too(tmp_path, monkeypatch):
  config = with_stages_and_lender()
  with terminated_in_call(monkeypatch, 7):
    assert not run_study(config, tmp_path / 'study')
  lent = (tmp_path / 'study/pretrain/records.jsonl').read_bytes()
  config.stages.last.epochs, config.evaluations = 1.28, 6
  with terminated_in_call(monkeypatch, 2):
    assert not extend(config, tmp_path / 'study')
  assert extend(config, tmp_path / 'study')
  assert (tmp_path / 'study/pretrain/records.jsonl').read_bytes() == lent
  whole = stored(tmp_path / 'study', config)
  assert whole.pretrain.evaluations == 4
  assert run_study(whole, tmp_path / 'whole')
  same(tmp_path / 'study', tmp_path / 'whole')


def one_arm(config):
  only = config.copy_and_resolve_references()
  only.arms.order = ('one',)
  return only
