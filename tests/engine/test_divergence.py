"""Lanes that diverge are frozen where their last good update left them, and disturb no other."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.engine import divergence, stage_lanes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.lanes import LaneState
from bsjax.engine.part import Run
from bsjax.noise import online
from bsjax.plan import plan, stages
from bsjax.train.stage_run import StageRun

WILD = 1e9
KEYS = {'batch_sizes': (8, 32), 'model__name': 'mlp', 'trials': 1}
BATCH_NORM = {'model__name': 'cnn', 'model__normalization': 'batch'}


def crowd(rate, **overrides):
  """Lanes that update in every tick and in every fourth, half of them at this learning rate."""
  return small_config(**KEYS | {'learning_rates': (0.1, rate)} | overrides)


def settled(config, **how):
  _, (group,), on_device = trained(config, **how)
  group.settle()
  return group, on_device


def states(group, lanes, keep=lambda state: state):
  whole = group.to_host()
  return keep(stage_lanes.take(whole.replace(grad_sum=()), lanes))


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-im2col', 'unrolled-canonical'])
def test_a_diverged_lane_is_frozen_alone(how):
  calm, _ = settled(crowd(0.11, execution__strategy=how))
  wild, on_device = settled(crowd(WILD, execution__strategy=how))
  lanes = wild.group.lanes
  lost = [i for i, lane in enumerate(lanes) if lane.learning_rate == WILD]
  others = sorted(set(range(len(lanes))) - set(lost))
  assert set(wild.diverged) == {lanes[i].lane for i in lost} and not calm.diverged
  assert largest_difference(states(wild, others), states(calm, others)) == 0
  frozen = states(wild, lost)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(frozen.params))
  assert not frozen.count.any()
  for i, updates in zip(lost, frozen.updates, strict=True):
    found = wild.diverged[lanes[i].lane]
    assert found.examples == updates * lanes[i].batch_size and found.frozen
    assert found.because in divergence.WHY[1:]
  windows = wild.evaluate(on_device)().noise['plain'].updates
  assert np.isfinite(windows.trace).all() and np.isfinite(windows.grad_sq).all()


def test_an_evaluation_on_the_subset_asks_first_which_lanes_were_lost():
  _, (group,), on_device = trained(crowd(WILD, evaluation__subset=40))
  assert not group.diverged  # nobody has asked yet
  evaluated, _ = group.evaluate_subset(on_device)()
  assert set(group.diverged) == {
    lane.lane for lane in group.group.lanes if lane.learning_rate == WILD
  }
  assert evaluated.finite.all()


@pytest.mark.parametrize('size', [8, 32])
def test_it_is_as_its_last_good_update_left_it(size, optimized_programs):
  """Parameters, optimizer, statistics, counts and noise; also with several micro-batches."""
  config = crowd(1e4, **BATCH_NORM, batch_sizes=(size,), micro_batch=8)
  group, _ = settled(config)
  ((lane, lost),) = group.diverged.items()
  assert 0 < lost.examples < 150 and lost.examples % size == 0
  until, _ = settled(config, examples=lost.examples)
  assert not until.diverged
  assert largest_difference(states(group, [lane]), states(until, [lane])) == 0


def test_a_stretch_in_several_calls_is_looked_through_as_one():
  """Pieces in which nothing is found come before and after that in which a lane is lost."""
  config = crowd(WILD)
  whole, _ = settled(config)
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train.labels)).first
  on_device = DeviceData(dataset, config, study)
  (group,) = stage_lanes.create(config, dataset, study)
  for blocks in (1, 1, 1):
    part = group.parts[0]
    run = Run(on_device.at(group.seen)[0], group.ticks, blocks)
    part.train(group.programs, run, group.out)
    group.place(group.ticks + blocks * group.group.block_ticks)
  assert part.pending == 3 and not group.diverged
  while group.position < study.total_examples:
    group.advance(on_device, 1)
  group.settle()
  assert group.diverged == whole.diverged != {}
  assert largest_difference(states(group, range(4)), states(whole, range(4))) == 0


def test_what_is_not_seen_in_any_tick_goes_back_to_the_start_of_the_stretch():
  config = crowd(WILD, batch_sizes=(8,))
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train.labels)).first
  on_device = DeviceData(dataset, config, study)
  (group,) = stage_lanes.create(config, dataset, study)
  before = states(group, [1])

  def blind(rows):
    def watch(lanes, *_):
      nothing = jnp.zeros(lanes.count.shape, jnp.int32)
      return divergence.Watched(lanes, lanes, nothing, nothing)

    return watch

  group.programs = dataclasses.replace(group.programs, watch=blind)
  while group.position < study.total_examples:
    group.advance(on_device, 10**6)
  assert largest_difference(states(group, [1]), before) == 0
  assert group.diverged[1][1:] == (0, 'state_not_finite', True)


def test_a_lane_frozen_in_a_stage_stays_so_in_the_next():
  config = crowd(1e30)
  stages.add(config, 'first', epochs=1.0)
  stages.add(config, 'second', epochs=1.0, batch_size=('multiply:2',), reset_optimizer=True)
  dataset = data.load(config.data, config.seed)
  run = StageRun(config, dataset, plan.make_plan(config, len(dataset.train.labels)), {}, print)
  run.start()
  passed = []
  while True:
    for group in run.groups:
      while group.position < run.plan.end:
        group.advance(run.data, (run.plan.end - group.position) // run.plan.block_examples)
    passed.append((stage_lanes.all_lanes(run.groups), run.diverged))
    sums = {lane: rate for group in run.groups for lane, rate in group.rates()[1].items()}
    if len(passed) == 2:
      break
    run.next()
  (first, lost), (second, still) = passed
  assert set(lost) == {1, 3} and still == lost
  frozen = [stage_lanes.take(state.params, [1, 3]) for state in (first, second)]
  assert largest_difference(*frozen) == 0
  assert (second.updates[[1, 3]] == first.updates[[1, 3]]).all()
  assert (second.updates[[0, 2]] > first.updates[[0, 2]]).all()
  assert [sums[lane] for lane in (1, 3)] == pytest.approx(1e30 * second.updates[[1, 3]])
  position = run.position(0, '')
  assert {one.lane for one in position.diverged} == {1, 3}


def lane_state(value, count=0, updates=0):
  value = jnp.float32(value)
  return LaneState({'w': value}, {}, {'m': value}, (), jnp.int32(count), jnp.int32(updates), NOISE)


NOISE = online.empty(False, {})


@pytest.mark.parametrize(
  ('loss', 'grad', 'after', 'why'),
  [
    (1.0, 1.0, 2.0, ''),
    (np.inf, 1.0, 2.0, 'loss_not_finite'),
    (np.inf, np.nan, np.nan, 'loss_not_finite'),
    (1.0, np.inf, 2.0, 'gradient_not_finite'),
    (1.0, 1.0, np.inf, 'update_not_finite'),
  ],
)
def test_what_is_not_finite_is_told_apart(loss, grad, after, why, monkeypatch):
  """Of a lane in the second micro-batch of an update, whose last began the tick before."""
  jaxtyping.config.update('jaxtyping_disable', True)  # what it is given is made up
  losses = jnp.float32(loss), {'w': jnp.float32(grad)}, {}
  monkeypatch.setattr(divergence, 'loss_and_gradients', lambda *_: losses)
  monkeypatch.setattr(divergence, 'tick', lambda *_: lane_state(after, 0, 8))
  good, zero = lane_state(1.0, 0, 7), jnp.int32(0)
  lane = divergence.Watched(lane_state(1.5, 1, 7), good, zero, zero)
  spec, params = SimpleNamespace(micro_batch=16), SimpleNamespace(trial=0)
  found = divergence.watched_tick(spec, None, lane, params, None, jnp.int32(9), ())
  assert divergence.WHY[int(found.because)] == why
  assert float(found.state.params['w']) == (1.0 if why else 2.0)
  assert int(found.state.updates) == (7 if why else 8)
  assert int(found.examples) == (8 * 16 if why else 0)
  later = divergence.watched_tick(spec, None, found, params, None, jnp.int32(10), ())
  if why:
    assert divergence.WHY[int(later.because)] == why
    assert (int(later.examples), float(later.state.params['w'])) == (8 * 16, 1.0)


@pytest.mark.parametrize('part', ['params', 'batch_stats', 'opt_state'])
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_lane_is_lost_by_any_number_that_it_goes_on_with(part, bad):
  state = lane_state(1.0).replace(batch_stats={'mean': jnp.ones(2)})
  counted = state.replace(opt_state={'m': jnp.ones(2), 'count': jnp.int32(3)})
  assert divergence.finite(counted)
  spoilt = {'one': jnp.ones(2), 'other': jnp.array([1.0, bad])}
  assert not divergence.finite(counted.replace(**{part: spoilt}))
  assert divergence.finite(counted.replace(grad_sum=spoilt))  # which an update has left behind
