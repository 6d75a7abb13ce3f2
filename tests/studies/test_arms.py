"""Studies made of studies: arms, and weights that one lends, from one call to a report."""

import json

import numpy as np
import pytest
from helpers.interrupted import terminated_in_call
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.engine.validate import validate
from bsjax.plan import arms, stages
from bsjax.storage import checkpoint, records
from bsjax.train import study_run


def two_arms(**overrides):
  config = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), **overrides)
  arms.add(config, 'narrow', {'model': {'width': 4}})
  arms.add(config, 'wide', {'model': {'width': 16}, 'learning_rates': (0.05,)})
  return config


@pytest.mark.slow
def test_arms_are_whole_studies_with_a_page_that_compares_them(tmp_path):
  config = two_arms()
  assert study_run.run_study(config, tmp_path)
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert [arm['name'] for arm in summary['arms']] == ['narrow', 'wide']
  for name, width in (('narrow', 4), ('wide', 16)):
    own = tmp_path / 'arms' / name
    assert json.loads((own / 'config.json').read_text())['model']['width'] == width
    assert {row['trial'] for row in records.read_plan(own / 'plan.csv')} == {0, 1}
    assert (own / 'report.html').exists() and (own / 'methodology.txt').exists()
  page = (tmp_path / 'report.html').read_text()
  assert 'arms/narrow/report.html' in page and 'arms/wide/report.html' in page
  assert all(claim['verdict'] for claim in summary['claims'])
  # A second call finds everything done, and the same arms with another key are another study.
  before = (tmp_path / 'arms' / 'wide' / 'records.jsonl').stat().st_mtime_ns
  assert study_run.run_study(config, tmp_path)
  assert (tmp_path / 'arms' / 'wide' / 'records.jsonl').stat().st_mtime_ns == before
  config.arms.wide.model.width = 20
  with pytest.raises(ConfigError, match=r'arms\.wide\.model\.width: 16 there, 20 now'):
    study_run.run_study(config, tmp_path)


def test_only_the_arms_in_order_are_run(tmp_path):
  config = two_arms()
  config.arms.order = ('wide',)
  assert list(arms.configs(config)) == ['wide']
  assert arms.configs(config)['wide'].arms.order == ()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'model': {'name': 'mlpp'}}, "arms.odd: .*model.name='mlpp' is unknown"),
    ({'modell': {'name': 'mlp'}}, 'arms.odd changes a key that it cannot'),
    ({'epochs': 'many'}, 'arms.odd changes a key that it cannot'),
    (
      {'optimizer': {'momentun': 0.9}},
      r'arms.odd .*"momentun" .* locked\. Did you mean "momentum"',
    ),
  ],
)
def test_a_wrong_arm_is_refused_before_any_is_trained(tmp_path, changes, message):
  config = two_arms()
  arms.add(config, 'odd', changes)
  with pytest.raises(ConfigError, match=f'(?s){message}'):
    study_run.run_study(config, tmp_path / 'w')
  assert not (tmp_path / 'w').exists()
  config.arms.order = ('narrow', 'nrrow')
  with pytest.raises(ConfigError, match=r"arms\.order='nrrow' is unknown"):
    validate(config)


def test_lanes_begin_with_the_weights_of_the_best_lane_lent(tmp_path, blank_figures):
  config = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), trials=2)
  with config.unlocked():
    config.pretrain = {'learning_rates': (0.01, 0.2), 'batch_sizes': (8,), 'trials': 1}
  assert study_run.run_study(config, tmp_path)
  lender = tmp_path / 'pretrain'
  rows = records.read(lender / 'records.jsonl')
  last = {row['lane']: row['val_accuracy'] for row in rows}
  best = max(last, key=lambda lane: (last[lane], -lane))
  with checkpoint.open_to_read(lender) as manager:
    lent, _ = checkpoint.restore_weights(manager, manager.latest_step())
  # A lane that trains nothing shows what it began with.
  still = small_config(batch_sizes=(8,), learning_rates=(1e-12,), trials=1)
  still.transfer.workdir = str(lender)
  study_run.run_study(still, tmp_path / 'still')
  with checkpoint.open_to_read(tmp_path / 'still') as manager:
    found, _ = checkpoint.restore_weights(manager, manager.latest_step())
  own, given = found[0]['params'], lent[0]['params']
  np.testing.assert_allclose(own['Dense_0']['kernel'][0], given['Dense_0']['kernel'][best], 1e-6)
  assert np.abs(own['Dense_1']['kernel'][0] - given['Dense_1']['kernel'][best]).max() > 0.01
  still.transfer.workdir = str(tmp_path / 'nothing')
  with pytest.raises(ConfigError, match='holds no checkpoints'):
    study_run.run_study(still, tmp_path / 'never')


def test_stopped_while_it_pretrains_a_study_is_unfinished(tmp_path, monkeypatch, blank_figures):
  """What it returns makes the exit code 75."""
  config = small_config(batch_sizes=(8,), learning_rates=(0.1,), trials=1)
  with config.unlocked():
    config.pretrain = {'seed': 1}
  with terminated_in_call(monkeypatch, 1):
    assert study_run.run_study(config, tmp_path) is False
  assert (tmp_path / 'pretrain' / 'checkpoints').is_dir()
  assert not (tmp_path / 'pretrain' / 'summary.json').exists()
  assert not (tmp_path / 'records.jsonl').exists()
  assert study_run.run_study(config, tmp_path)
  for workdir in (tmp_path, tmp_path / 'pretrain'):
    assert {row['lane'] for row in records.read(workdir / 'records.jsonl')} == {0}
    assert (workdir / 'summary.json').exists()


def test_what_fits_no_model_is_refused_before_anything_is_trained(tmp_path):
  """In the last of the arms, and in what is trained after its pretraining."""
  config = two_arms()
  stages.add(config, 'only', epochs=2.0)
  with config.unlocked():
    config.arms.wide.stages = {'only': {'trainable': ('Danse_1',)}}
  with pytest.raises(ConfigError, match=r"arm wide: .*'Danse_1'.* match none"):
    study_run.run_study(config, tmp_path)
  assert not list(tmp_path.iterdir())  # the workdir is free for what was meant
  config = small_config(batch_sizes=(8,))
  stages.add(config, 'only', epochs=2.0, trainable=('Danse_1',))
  with config.unlocked():
    config.pretrain = {'epochs': 1.0}
  with pytest.raises(ConfigError, match=r"'Danse_1'.* match none"):
    study_run.run_study(config, tmp_path)
  assert not (tmp_path / 'pretrain').exists()
