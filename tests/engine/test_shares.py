"""Devices that share lanes, each with a part of every micro-batch: the same study as on one."""

import dataclasses
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest
from helpers import same_programs
from helpers.interrupted import terminated_in_call
from helpers.small import small_config, trained

from bsjax import arms, data, stages
from bsjax.config.errors import ConfigError
from bsjax.engine import device_data, processes
from bsjax.engine.validate import validate
from bsjax.plan import plan
from bsjax.storage import records
from bsjax.train import stage_check
from bsjax.train.study_run import run_study

pytestmark = pytest.mark.usefixtures('blank_figures')
# Sums over a micro-batch are taken in another order; over the 40 updates of these studies that
# comes to 2e-6 of the largest number of a tree, and to more of a single small one.
CLOSE = 1e-5
TWO = {'execution__devices': 2, 'execution__devices_per_lane': 2}
ONE = {'execution__devices': 1}
HOW = {
  'plain': {'noise_scale__exact_examples': 32, 'batch_sizes': (8, 16)},
  'adam, side by side, augmented': {
    **{'execution__strategy': 'vmap-im2col', 'optimizer__name': 'adam'},
    **{'learning_rates': (0.01,), 'data__crop': 1, 'data__flip': True},
  },
  'no sum': {
    **{'batch_sizes': (16,), 'learning_rates': (0.1,), 'model__name': 'mlp'},
    'execution__strategy': 'unrolled-canonical',
  },
}


def distance(a, b):
  """The largest difference between two trees of arrays, in each of the largest number of it."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  arrays = [(np.asarray(x, float), np.asarray(y, float)) for x, y in pairs]
  differences = [
    float(np.abs(x - y).max(initial=0)) / max(np.abs(y).max(initial=0), 1e-9) for x, y in arrays
  ]
  return max(differences, default=0.0)


class Dropped(nn.Module):
  """A hidden layer, half of it dropped in training."""

  @nn.compact
  def __call__(self, x, train):
    x = nn.relu(nn.Dense(16)(x.reshape(len(x), -1)))
    return nn.Dense(10)(nn.Dropout(0.5, deterministic=not train)(x))


@pytest.mark.parametrize('how', HOW)
def test_lanes_are_those_of_one_device(how):
  ends = []
  for where in (ONE, TWO):
    _, (group,), on_device = trained(small_config(**{'trials': 1, **where, **HOW[how]}))
    ends.append((group.evaluate(on_device)(), group.to_host(), group.devices.shape))
  (one, one_states, _), (two, two_states, grid) = ends
  assert grid == (1, 2)
  np.testing.assert_array_equal(one.updates, two.updates)
  for split in ('train', 'validation'):
    a, b = getattr(one.evaluation, split), getattr(two.evaluation, split)
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_array_equal(a.class_count, b.class_count)
  assert np.asarray(one.noise['plain'].updates.count).min() > 0
  for field in ('params', 'opt_state', 'noise'):
    assert distance(getattr(two_states, field), getattr(one_states, field)) < CLOSE, field
  for field in ('evaluation', 'noise', 'early_noise', 'probe'):
    assert distance(getattr(two, field), getattr(one, field)) < CLOSE, field


def test_what_a_model_draws_is_drawn_for_the_same_examples():
  ends = []
  for where in (ONE, TWO):
    config = small_config(trials=1, learning_rates=(0.05,), **where)
    ends.append(trained(config, model=Dropped())[1][0].to_host().params)
  assert distance(*ends) < CLOSE


def study(**overrides):
  keys = {'learning_rates': (0.1, 1e30), 'trials': 1, 'epochs': 1.0, 'micro_batch': 8}
  keys |= {'model__name': 'mlp', 'batch_sizes': (8, 16), 'evaluations': 4}
  config = small_config(**{**keys, 'checkpoint__seconds': 0.0, **overrides})
  stages.add(config, 'first', epochs=1.0)
  stages.add(config, 'last', epochs=1.0, trainable=('Dense_1',), batch_size=('multiply:2',))
  arms.add(config, 'only', {})
  return config


def assert_same_rows(workdir, other):
  rows, others = (records.read(path / 'arms/only/records.jsonl') for path in (workdir, other))
  assert len(rows) == len(others) > 0
  for row, expected in zip(rows, others, strict=True):
    assert row.keys() == expected.keys()
    for name in ('lane', 'examples', 'updates', 'diverged', 'stage', 'batch_size'):
      assert row[name] == expected[name]
    assert row.get('diverged_at') == expected.get('diverged_at')
    assert row.get('diverged_because') == expected.get('diverged_because')
    if not row['diverged']:
      assert row['train_loss'] == pytest.approx(expected['train_loss'], rel=CLOSE)
      assert row['val_loss'] == pytest.approx(expected['val_loss'], rel=CLOSE)
      trace, other = (x['noise']['trace'] for x in (row, expected))
      assert (trace, other) == (None, None) or trace == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_studies_are_the_same_and_go_on_with_other_devices(tmp_path, monkeypatch, capsys):
  """Stages, an arm, a layer that is frozen, lanes that are lost; stopped twice in their midst."""
  alone, shared, mixed = (tmp_path / name for name in ('alone', 'shared', 'mixed'))
  with same_programs.shared(monkeypatch):
    assert run_study(study(**ONE), alone)
    capsys.readouterr()
    assert run_study(study(**TWO), shared)
    assert 'Every lane runs on 2 devices' in capsys.readouterr().out
    assert_same_rows(shared, alone)
    rows = records.read(shared / 'arms/only/records.jsonl')
    assert {row['lane'] for row in rows if row['diverged']}
    for where in (TWO, ONE):
      with terminated_in_call(monkeypatch, 3):
        assert not run_study(study(**where), mixed)
    assert run_study(study(**TWO), mixed)
    assert_same_rows(mixed, alone)


@pytest.mark.parametrize(
  ('keys', 'words'),
  [
    ({'model__normalization': 'batch'}, 'takes its statistics of the whole micro-batch'),
    ({'execution__devices_per_lane': 3}, 'at most 2'),
    ({'execution__devices': 1}, 'at most 1'),
    ({'execution__devices_per_lane': -1}, 'devices_per_lane=-1'),
  ],
)
def test_what_cannot_be_shared_is_refused(keys, words):
  with pytest.raises(ConfigError, match=words):
    validate(small_config(**TWO | keys))


def test_shares_are_equal_or_refused():
  config = small_config(**TWO, batch_sizes=(9, 27))
  with pytest.raises(ConfigError, match=r'does not divide the micro-batches \[9\]'):
    stage_check.check(config, data.load(config.data, config.seed), plan.make_plan(config, 150))


@pytest.mark.parametrize(
  ('platform', 'devices', 'lanes', 'micro_batches', 'shares'),
  [
    ('tpu', 8, 2, [128], 4),  # of 32 examples
    ('tpu', 8, 2, [128, 64], 2),
    ('tpu', 8, 2, [32], 1),  # too few to be worth a device
    ('tpu', 5, 2, [128], 2),
    ('tpu', 3, 1, [128], 2),  # of which three have no equal shares
    ('tpu', 8, 8, [128], 1),
    ('tpu', 1, 5, [128], 1),
    ('cpu', 8, 2, [128], 1),
  ],
)
def test_devices_without_a_lane_share_those_of_others(
  platform, devices, lanes, micro_batches, shares
):
  assert device_data.shares_left_open(platform, devices, lanes, micro_batches) == shares


TPU = [SimpleNamespace(platform='tpu') for _ in range(8)]
FOUR = {'batch_sizes': (64, 128), 'learning_rates': (0.1,), 'trials': 2, 'micro_batch': 64}


@pytest.mark.parametrize(
  ('keys', 'own', 'shape'),
  [
    ({}, {}, (4, 2)),
    ({'execution__devices_per_lane': 1}, {}, (4, 1)),
    ({'execution__devices_per_lane': 4}, {}, (2, 4)),
    ({'trials': 1, 'execution__devices_per_lane': 2}, {}, (2, 2)),
    ({'model__normalization': 'batch'}, {}, (4, 1)),  # examples meet
    ({}, {'model': {'name': 'M'}}, (4, 1)),
    ({}, {'task': {'metrics': []}}, (4, 1)),
    ({}, {'data': {'name': 'D'}}, (4, 2)),
  ],
)
def test_which_devices_a_study_uses(keys, own, shape):
  config = small_config(**FOUR | keys)
  with config.unlocked():
    config.own = own
  first = plan.make_plan(config, 1000).first
  grid = device_data.grid(config, first, TPU)
  assert grid.shape == shape and list(grid.ravel()) == TPU[: grid.size]


def test_the_largest_group_and_all_processes_say_how_many_devices_are_used(monkeypatch):
  config = small_config(**FOUR | {'micro_batch': 'batch'})
  first = plan.make_plan(config, 1000).first
  large, small = first.groups
  small = dataclasses.replace(small, lanes=small.lanes[:1])
  uneven = dataclasses.replace(first, groups=(large, small))
  assert device_data.grid(config, uneven, TPU).shape == (2, 2)
  three = plan.make_plan(small_config(**FOUR | {'batch_sizes': (64, 128, 256), 'trials': 1}), 1000)
  monkeypatch.setattr(processes, 'count', lambda: 2)
  assert device_data.grid(config, three.first, TPU).shape == (2, 2)  # of three lanes two here
