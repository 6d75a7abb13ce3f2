"""Lanes that are given up stay what they were then, and leave all others what they would be."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers.small import largest_difference, small_config

from bsjax import data
from bsjax.engine import device_axis, fed_data, seats, stage_lanes
from bsjax.plan import plan

KEYS = {'batch_sizes': (8, 32), 'model__name': 'mlp', 'trials': 1}
OUT = [1, 2]


def made(**overrides):
  config = small_config(**KEYS | overrides)
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  (group,) = stage_lanes.create(config, dataset, study)
  return group, fed_data.create(config, dataset, study), study


def advance(group, on_device, end):
  while group.position < end:
    group.advance(on_device, (end - group.position) // 32)


def states(group, lanes=range(4)):
  return stage_lanes.take(group.to_host().replace(grad_sum=()), list(lanes))


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-im2col', 'unrolled-canonical'])
def test_lanes_given_up_stay_what_they_are(how):
  whole, on_device, study = made(execution__strategy=how)
  advance(whole, on_device, study.total_examples)
  group, on_device, _ = made(execution__strategy=how)
  advance(group, on_device, 96)
  before, rates = states(group), group.rates()[1]
  group.give_up([*OUT, 77])
  assert group.given_up == dict.fromkeys(OUT, 96)
  advance(group, on_device, 128)
  held = group.to_host()
  group.give_up(OUT)
  advance(group, on_device, study.total_examples)
  assert largest_difference(states(group, OUT), stage_lanes.take(before, OUT)) == 0
  assert largest_difference(states(group, [0, 3]), states(whole, [0, 3])) == 0
  assert group.given_up == dict.fromkeys(OUT, 96)
  assert [group.rates()[1][lane] for lane in OUT] == [rates[lane] for lane in OUT]
  again, on_device, _ = made(execution__strategy=how)
  again.load(held, 128 // again.group.micro_batch)
  again.given_up = dict.fromkeys(OUT, 96)
  advance(again, on_device, study.total_examples)
  assert largest_difference(states(again), states(group)) == 0


@pytest.mark.parametrize(('lanes', 'devices'), [(1, 1), (3, 2), (8, 2), (7, 3), (12, 4)])
def test_devices_have_as_few_live_lanes_as_they_can(lanes, devices):
  """Whichever are out, of lanes that are not the first of their group."""
  rng = np.random.default_rng(0)
  order = 5 + device_axis.deal(lanes, devices)
  for share in (0.0, 0.3, 0.6, 0.9, 1.0):
    out = np.concatenate([np.ones(5, bool), rng.random(lanes) < share])
    after = seats.evened(order, out)
    assert after.shape == order.shape and (np.unique(after) == np.unique(order)).all()
    assert (~out)[after].sum(axis=1).max() == -(-(~out).sum() // devices)
    assert seats.evened(after, out) is after
    if not out[5:].any():
      assert after is order


def evaluated(group, on_device):
  """What an evaluation finds, and which lanes the compiled function was to look at."""
  flags, (part,) = [], group.parts
  function = group.programs.evaluate

  def noted(states, lane_params, *splits):
    flags.append(device_axis.collect(lane_params.live, part.order))
    return function(states, lane_params, *splits)

  group.programs = dataclasses.replace(group.programs, evaluate=noted)
  snapshot = group.evaluate(on_device)()
  group.programs = dataclasses.replace(group.programs, evaluate=function)
  found = snapshot.evaluation, snapshot.updates
  return found, [int(lane) for live in flags for lane in np.flatnonzero(live)]


def same(one, other, lanes):
  return largest_difference(*(as_floats(stage_lanes.take(tree, lanes)) for tree in (one, other)))


def as_floats(tree):
  return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.mark.parametrize('keys', [{'execution__replicate': 'pmap'}, {'execution__data': 'host'}])
def test_lanes_that_are_out_do_nothing_and_others_share_the_devices(keys):
  """Lanes 1 and 3 have a device of their own, until both are out."""
  alone, on_one, study = made(execution__devices=1)
  advance(alone, on_one, study.total_examples)
  expected, _ = evaluated(alone, on_one)
  group, on_device, _ = made(execution__devices=2, **keys)
  (part,) = group.parts
  assert part.order.tolist() == [[0, 2], [1, 3]]
  advance(group, on_device, 64)
  group.give_up([1, 3])
  assert part.order.tolist() == [[0, 1], [2, 3]]
  assert np.asarray(part.turn(group.programs, ~group.out).live).tolist() == [[True, False]] * 2
  before = group.to_host()
  first, of_all = evaluated(group, on_device)
  advance(group, on_device, study.total_examples)
  again, of_live = evaluated(group, on_device)
  if 'execution__data' not in keys:  # data on the host have functions of their own
    assert (sorted(of_all), of_live) == ([0, 1, 2, 3], [0, 2])
  assert same(again, expected, [0, 2]) == 0
  assert same(again, first, [1, 3]) == 0
  # Sums of gradients too: a lane that is passed over does nothing at all.
  after = group.to_host()
  held = [(state.params, state.opt_state, state.grad_sum) for state in (before, after)]
  assert same(*held, [1, 3]) == 0 and same(*held, [0]) > 0 and same(*held, [2]) > 0


def test_lanes_that_are_loaded_are_evaluated_anew():
  """Also where all of them are out, whose evaluations are kept."""
  group, on_device, _ = made()
  advance(group, on_device, 32)
  group.give_up(range(4))
  before = group.evaluate(on_device)().evaluation.train.loss
  np.testing.assert_array_equal(group.evaluate(on_device)().evaluation.train.loss, before)
  held = group.to_host()
  group.load(held.replace(params=jax.tree.map(lambda x: 2 * x, held.params)), group.ticks)
  assert (group.evaluate(on_device)().evaluation.train.loss != before).all()
