"""Lanes that are given up stay what they were then, and leave all others what they would be."""

import pytest
from helpers.small import largest_difference, small_config

from bsjax import data
from bsjax.engine import device_lanes, fed_data
from bsjax.plan import plan

KEYS = {'batch_sizes': (8, 32), 'model__name': 'mlp', 'trials': 1}
OUT = [1, 2]


def made(**overrides):
  config = small_config(**KEYS | overrides)
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  (group,) = device_lanes.create(config, dataset, study)
  return group, fed_data.create(config, dataset, study), study


def advance(group, on_device, end):
  while group.position < end:
    group.advance(on_device, (end - group.position) // 32)


def states(group, lanes=range(4)):
  return device_lanes.take(group.to_host().replace(grad_sum=()), list(lanes))


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
  assert largest_difference(states(group, OUT), device_lanes.take(before, OUT)) == 0
  assert largest_difference(states(group, [0, 3]), states(whole, [0, 3])) == 0
  assert group.given_up == dict.fromkeys(OUT, 96)
  assert [group.rates()[1][lane] for lane in OUT] == [rates[lane] for lane in OUT]
  again, on_device, _ = made(execution__strategy=how)
  again.load(held, 128 // again.group.micro_batch)
  again.given_up = dict.fromkeys(OUT, 96)
  advance(again, on_device, study.total_examples)
  assert largest_difference(states(again), states(group)) == 0
