"""What runs side by side shares what it can, and skips what no lane needs."""

import jax
import numpy as np
import optax
import pytest
from helpers.small import small_config, trained

from bsjax import data
from bsjax.engine import device_axis, spec, stage_lanes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.strategies import STRATEGIES
from bsjax.plan import plan


def lowered(**keys):
  """The text of a group's program before compilation, and its seats a device."""
  _, (group,), on_device = trained(small_config(**keys), examples=0)
  part = group.parts[0]
  return group.lower(part, on_device).as_text(), part.order.shape[1]


def test_lanes_of_a_trial_read_and_augment_their_examples_once():
  """12 lanes on 2 devices: 2 trials of 3 lanes each, a row a trial."""
  text, seats = lowered(execution__strategy='vmap-native', data__crop=1, data__flip=True)
  assert seats == 6
  assert '2x8x8x8x1xf32' in text  # trial, micro-batch, image
  assert '6x8x8x8x1xf32' not in text and '2x3x8x8x8x1xf32' not in text


@pytest.mark.parametrize('model', ['mlp', 'cnn'])
def test_the_first_layer_is_one_product_for_all_lanes_of_a_trial(model):
  keys = {'trials': 1, 'execution__strategy': 'vmap-im2col', 'model__name': model}
  text, seats = lowered(**keys, model__width=12, batch_sizes=(8, 16), epochs=1.0)
  assert seats == 2
  inputs = {'mlp': '8x64', 'cnn': '8x8x8x9'}[model]  # micro-batch, pixels; or a patch of 3x3
  products = [line for line in text.splitlines() if 'dot_general' in line]
  forward = [line for line in products if f'tensor<1x{inputs}xf32>' in line]
  assert forward, 'the input is copied for every lane'
  assert not [line for line in products if f'2x{inputs}xf32>' in line]


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native', 'unrolled-native'])
def test_the_optimizer_runs_only_in_ticks_in_which_a_lane_updates(how, monkeypatch):
  """Lanes of batch sizes 16 and 32, at 8 a tick: an update of some lane every other tick."""
  calls = []

  def create(*_):
    def counted(updates, state, params=None):
      return (
        jax.debug.callback(lambda: calls.append(1)),
        (updates, state),
      )[1]

    counting = optax.GradientTransformation(lambda params: optax.EmptyState(), counted)
    return optax.inject_hyperparams(lambda learning_rate: optax.chain(counting, optax.sgd(1e-3)))(
      learning_rate=0.0
    )

  monkeypatch.setattr(spec.optimizers, 'create', create)
  keys = {'batch_sizes': (16, 32), 'micro_batch': 8, 'learning_rates': (0.1,), 'trials': 1}
  config = small_config(**keys, execution__strategy=how, execution__devices=1)
  study, (group,), _ = trained(config)
  group.wait()
  jax.effects_barrier()
  ticks = study.total_examples // 8
  updates = ticks // 2 + ticks // 4
  side_by_side = ticks // 2  # one call for both lanes wherever one updates
  assert len(calls) == (side_by_side if how == 'vmap-native' else updates)


def test_seats_of_a_row_are_of_one_trial():
  trials = np.tile([0, 1, 2], 4)  # 4 settings of 3 trials
  for devices, rows in ((1, 3), (2, 3), (3, 1), (4, 3)):
    order, found = device_axis.deal_by_trial(trials, devices)
    assert found == rows
    assert sorted(order.ravel()) == list(range(12))
    for row in trials[order].reshape(devices * rows, -1):
      assert len(set(row)) == 1
  order, rows = device_axis.deal_by_trial(trials, 5)  # neither divides: every seat a row of its own
  assert order.shape == (5, 3) and rows == 3
  order, rows = device_axis.deal_by_trial(np.array([0, 0, 1]), 1)
  assert order.shape == (1, 3) and rows == 3


def test_the_noise_can_be_left_unmeasured():
  config = small_config(noise_scale__online=False, noise_scale__probe_every=1)
  _, (group,), on_device = trained(config)
  snapshot = group.evaluate(on_device)()
  assert not snapshot.noise['plain'].updates.count.any()
  _, (measured,), _ = trained(small_config(noise_scale__probe_every=1))
  for a, b in zip(
    *map(jax.tree.leaves, (group.to_host().params, measured.to_host().params)), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_every_strategy_is_one_of_the_lanes_and_of_the_convolution():
  assert all(name == f'{s.vectorize}-{s.conv}' for name, s in STRATEGIES.items())
  assert len(STRATEGIES) == 12


def test_a_training_call_gives_its_buffers_back():
  config = small_config()
  dataset = data.load(config.data, config.seed)
  stage_plan = plan.make_plan(config, 150).first
  (group,) = stage_lanes.create(config, dataset, stage_plan)
  on_device = DeviceData(dataset, config, stage_plan)
  before = group.parts[0].states
  group.advance(on_device, 1)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
