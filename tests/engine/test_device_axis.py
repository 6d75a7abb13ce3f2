"""Dealing lanes to devices and collecting them again."""

import jax
import numpy as np
import pytest

from bsjax.engine import device_axis, processes


@pytest.mark.parametrize('num_devices', [1, 2])
@pytest.mark.parametrize('num_lanes', [1, 2, 5, 6])
def test_collect_undoes_deal(num_lanes, num_devices):
  devices = device_axis.devices(num_devices)
  tree = {'a': np.arange(num_lanes), 'b': np.random.default_rng(0).normal(size=(num_lanes, 3, 2))}
  order = device_axis.deal(num_lanes, num_devices)
  dealt = device_axis.seat(tree, order)
  assert dealt['a'].shape == (num_devices, -(-num_lanes // num_devices))
  collected = device_axis.collect(device_axis.spread(dealt, devices), order)
  np.testing.assert_array_equal(collected['a'], tree['a'])
  np.testing.assert_allclose(collected['b'], tree['b'], rtol=1e-6)


def test_neighbours_go_to_different_devices():
  np.testing.assert_array_equal(device_axis.deal(6, 2), [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize('backend', list(device_axis.BACKENDS))
def test_each_device_computes_its_own_row(backend):
  devices = device_axis.devices(2)
  own = device_axis.spread(np.arange(8.0).reshape(2, 4), devices)

  def function(own, shared):
    return {'sum': own.sum() * shared, 'row': own}

  out = device_axis.replicate(function, backend, devices, in_axes=(0, None))(own, 10.0)
  np.testing.assert_array_equal(out['sum'], [60, 220])
  assert {shard.device for shard in out['row'].addressable_shards} == set(devices)


def test_devices_are_described_for_people():
  assert device_axis.describe(device_axis.devices(2)) == '2 CPU cores'
  assert device_axis.describe(device_axis.devices(1)) == '1 CPU core'


def test_all_devices_by_default():
  assert device_axis.devices(0) == jax.local_devices()


def test_lanes_are_dealt_to_the_devices_of_all_processes(monkeypatch):
  monkeypatch.setattr(processes, 'count', lambda: 3)
  assert device_axis.spread_over(device_axis.devices(2)) == 6
  assert device_axis.describe(device_axis.devices(2)) == '6 CPU cores'
  # Of two devices in each of three processes four are wanted: two there, and so two everywhere.
  assert [len(device_axis.devices(0, most)) for most in (1, 3, 4, 9)] == [1, 1, 2, 2]
