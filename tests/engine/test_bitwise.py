"""Bitwise the same: a lane alone, another way to replicate, another pace, a second run.

Programs are optimized here as a user's are; test_equivalence.py has what is equal but for rounding.
"""

import jax
import numpy as np
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.engine import device_data, stage_lanes

pytestmark = pytest.mark.optimized


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native', 'unrolled-canonical'])
def test_lane_alone_equals_lane_in_a_crowd(how):
  crowd = small_config(execution__strategy=how)
  _, (group,), _ = trained(crowd)
  states = group.to_host()
  for i in (0, 5, 11):
    lane = group.group.lanes[i]
    alone = small_config(
      execution__strategy=how,
      batch_sizes=(lane.batch_size, 32) if lane.batch_size < 32 else (32,),
      learning_rates=(lane.learning_rate,),
      micro_batch=8,
    )
    _, (few,), _ = trained(alone)
    same = [
      j
      for j, other in enumerate(few.group.lanes)
      if (other.batch_size, other.trial) == (lane.batch_size, lane.trial)
    ]

    def pick(tree, j):
      return jax.tree.map(lambda x: x[j], tree)

    difference = largest_difference(pick(states.params, i), pick(few.to_host().params, same[0]))
    assert difference <= (0 if how == 'map-canonical' else 1e-6), lane


def test_pmap_equals_shard_map_equals_one_device():
  states = {}
  for backend, devices in (('pmap', 2), ('shard_map', 2), ('pmap', 1), ('shard_map', 1)):
    config = small_config(execution__replicate=backend, execution__devices=devices)
    _, (group,), _ = trained(config)
    assert len(group.devices) == devices
    states[backend, devices] = group.to_host()
  for devices in (1, 2):
    assert largest_difference(states['pmap', devices], states['shard_map', devices]) == 0
  # On a CPU the number of devices changes how a matrix product is split, so its last bit.
  one, two = (states['pmap', devices] for devices in (1, 2))
  assert largest_difference(one.params, two.params) < 1e-5
  np.testing.assert_allclose(
    *(state.noise.windows['plain'].updates.trace for state in (one, two)), rtol=1e-3
  )


def test_the_pace_of_the_host_changes_nothing():
  config = small_config()
  study, (whole,), _ = trained(config)
  dataset = data.load(config.data, config.seed)
  on_device = device_data.DeviceData(dataset, config, study)
  (slow,) = stage_lanes.create(config, dataset, study)
  while slow.position < study.total_examples:
    slow.advance(on_device, 1)
  assert largest_difference(whole.to_host(), slow.to_host()) == 0


def test_trials_differ_and_repeat():
  _, (first,), _ = trained(small_config())
  _, (again,), _ = trained(small_config())
  states = first.to_host()
  assert largest_difference(states, again.to_host()) == 0
  lane = {(x.batch_size, x.learning_rate, x.trial): x.lane for x in first.group.lanes}
  kernel = jax.tree.leaves(states.params)[-1]
  for size, rate in {(x.batch_size, x.learning_rate) for x in first.group.lanes}:
    assert np.abs(kernel[lane[size, rate, 0]] - kernel[lane[size, rate, 1]]).max() > 0.01
  _, (other_seed,), _ = trained(small_config(seed=1))
  assert largest_difference(states.params, other_seed.to_host().params) > 0.01


def test_trials_share_initialization_across_settings():
  config = small_config()
  dataset = data.load(config.data, config.seed)
  _, (group,), _ = trained(config, dataset, examples=0)
  states = group.to_host()
  for trial in range(2):
    same = [lane.lane for lane in group.group.lanes if lane.trial == trial]
    for leaf in jax.tree.leaves(states.params):
      assert (leaf[same] == leaf[same[0]]).all()
