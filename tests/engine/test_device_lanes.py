"""Lanes on devices: compiled functions are fixed, and where lanes are is theirs to say."""

import dataclasses

import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax.engine.rate_sums import RateSums


def test_lanes_are_placed_by_themselves_alone():
  _, (group,), _ = trained(small_config(trials=1), examples=32)
  before, sums = group.to_host(), {lane.lane: 0.5 for lane in group.group.lanes}
  assert (group.ticks, group.position) == (4, 32)
  for name in ('ticks', 'rates_before'):
    with pytest.raises(AttributeError):
      setattr(group, name, None)
  group.place(8, RateSums(8, sums))
  assert (group.ticks, group.position) == (8, 64)
  assert group.rates()[1] == sums
  assert largest_difference(group.to_host(), before) == 0
  group.place(0)
  assert group.rates()[1] == dict.fromkeys(sums, 0.0)


def test_compiled_functions_are_fixed_and_made_once():
  _, (group,), _ = trained(small_config(trials=1), examples=0)
  with pytest.raises(dataclasses.FrozenInstanceError):
    group.programs.train = None
  assert group.programs.train(3) is group.programs.train(3)
  assert group.programs.train(3) is not group.programs.train(1)
