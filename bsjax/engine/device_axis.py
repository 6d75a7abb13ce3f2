"""The device axis: one per-device function on every device, each with its own lanes.

Where there are fewer lanes than devices, or a micro-batch is too big for one, several devices share
each lane: devices are a grid `[row, share]`, lanes are dealt to its rows, and those of a row hold
the same and train on shares of every micro-batch (`own_share`, `over_shares`).
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import ArrayLike, Int, PyTree, Shaped

from bsjax.config.errors import ConfigError, Problem
from bsjax.engine import processes

AXIS, SHARE = 'device', 'share'

# Devices of this process: a list, or where several share a lane a grid.
Devices = list[jax.Device] | Shaped[np.ndarray, 'row share']


def devices(count: int, most: int | None = None) -> list[jax.Device]:
  """Returns the first `count` devices of this process, or all of them for 0.

  All processes have equally many, and together no more than it takes to have `most`: a device
  without a lane of its own would only be in the way, as cores of a CPU share their threads.
  """
  most = None if most is None else -(-most // processes.count())
  return _local_devices()[: count or None][:most]


def _local_devices() -> list[jax.Device]:
  """Those of this process; raises ConfigError where the platform that is asked for has none."""
  try:
    return jax.local_devices()
  except (AssertionError, RuntimeError) as error:  # JAX raises either
    why = ' '.join(str(error).split()) or type(error).__name__
    raise ConfigError(
      f'JAX finds no devices of JAX_PLATFORMS={jax.config.jax_platforms!r} ({why}); unset it, or '
      "set it to a platform that is here, such as 'cpu'"
    ) from None


def spread_over(devices: Devices) -> int:
  """Returns over how many devices, or rows of them, lanes are dealt in all processes together."""
  return len(devices) * processes.count()


def describe(devices: Devices) -> str:
  """Returns a line for people, such as '2 CPU cores' or '1 x NVIDIA H200'."""
  every = list(_grid(devices).ravel())
  number = spread_over(every)
  if every[0].platform == 'cpu':
    return f'{number} CPU core{"s" * (number > 1)}'
  return f'{number} x {every[0].device_kind}'


def shares(devices: Devices) -> int:
  """Returns how many devices share a lane."""
  return _grid(devices).shape[1]


def own_share(start: Int[ArrayLike, ''], size: int, shares: int) -> tuple[Int[ArrayLike, ''], int]:
  """Returns where the share of this device begins of `size` examples from `start` on, and its size.

  For use in a program that runs on devices of which so many share a lane.
  """
  if shares == 1:
    return start, size
  return start + jax.lax.axis_index(SHARE) * (size // shares), size // shares


def over_shares(reduce: Callable, tree: PyTree, shares: int) -> PyTree:
  """Returns `reduce`, such as `jax.lax.pmean`, of what the devices have that share a lane."""
  return tree if shares == 1 else reduce(tree, SHARE)


def replicate(
  function: Callable, backend: str, devices: Devices, in_axes: tuple, donate: tuple = ()
) -> Callable:
  """Runs `function` on every device, over the leading device axis of arguments with in_axis 0.

  Arguments whose in_axis is None are the same on all devices. Lanes need nothing from one another,
  so there is no communication but within a row of devices that share lanes, for which there is
  `shard_map` alone; all backends compute the same.
  """
  backend = backend if shares(devices) == 1 else 'shard_map'
  return BACKENDS[backend](function, devices, in_axes, donate)


def _pmap(function: Callable, devices: Devices, in_axes: tuple, donate: tuple) -> Callable:
  devices = list(_grid(devices)[:, 0])
  return jax.pmap(function, axis_name=AXIS, in_axes=in_axes, devices=devices, donate_argnums=donate)


def _shard_map(function: Callable, devices: Devices, in_axes: tuple, donate: tuple) -> Callable:
  def on_device(*arguments: Any) -> Any:
    local = [
      jax.tree.map(lambda x: x[0], argument) if axis == 0 else argument
      for argument, axis in zip(arguments, in_axes, strict=True)
    ]
    return jax.tree.map(lambda x: x[None], function(*local))

  specs = tuple(PartitionSpec(AXIS) if axis == 0 else PartitionSpec() for axis in in_axes)
  # check_vma off: with it on XLA gathers around grouped convolutions, though lanes need nothing of
  # one another. Devices of a row end with the same, as all that they share passes `over_shares`.
  mapped = jax.shard_map(
    on_device,
    mesh=mesh(devices),
    in_specs=specs,
    out_specs=PartitionSpec(AXIS),
    check_vma=False,
  )
  return jax.jit(mapped, donate_argnums=donate)


BACKENDS = {'pmap': _pmap, 'shard_map': _shard_map}


def spread(tree: PyTree, devices: Devices) -> PyTree:
  """Puts arrays with a leading device axis on the devices, one row on each, or each row of them."""
  return jax.device_put(tree, NamedSharding(mesh(devices), PartitionSpec(AXIS)))


def copy_to_all(tree: PyTree, devices: Devices) -> PyTree:
  """Puts a copy of every array on each device, behind a new leading device axis."""
  return spread(
    jax.tree.map(lambda x: np.broadcast_to(x, (len(devices), *np.shape(x))), tree), devices
  )


def deal(num_lanes: int, num_devices: int) -> Int[np.ndarray, 'device seat']:
  """Returns which lane sits where, dealt to the devices like cards.

  Dealt rather than cut, because neighbours in a plan cost about the same (a small batch size
  updates often) and no device should get all the dear ones. Seats left over repeat the first lane.
  """
  order = np.concatenate([np.arange(num_lanes), np.zeros(-num_lanes % num_devices, int)])
  return order.reshape(-1, num_devices).T


def deal_by_trial(
  trials: Int[np.ndarray, ' lane'], num_devices: int
) -> tuple[Int[np.ndarray, 'device seat'], int]:
  """Returns which lane sits where, and of how many rows: the lanes of a row are of one trial.

  Lanes are dealt as in `deal`, whole columns of trials or whole rows to a device. Where that would
  leave seats over, rows are single lanes.
  """
  rows = [np.flatnonzero(trials == trial) for trial in np.unique(trials)]
  if len({len(row) for row in rows}) > 1:
    return deal(len(trials), num_devices), -(-len(trials) // num_devices)
  table = np.stack(rows)
  if table.shape[1] % num_devices == 0:
    return np.stack([table[:, d::num_devices].ravel() for d in range(num_devices)]), len(table)
  if len(table) % num_devices == 0:
    per_device = len(table) // num_devices
    return np.stack([table[d::num_devices].ravel() for d in range(num_devices)]), per_device
  return deal(len(trials), num_devices), -(-len(trials) // num_devices)


def seat(tree: PyTree, order: Int[np.ndarray, 'device seat']) -> PyTree:
  """Arranges host arrays `[lane, ...]` as `[device, seat, ...]`, for devices of this process."""
  own_rows = np.split(order, processes.count())[jax.process_index()]
  return jax.tree.map(lambda x: np.asarray(x)[own_rows], tree)


def collect(tree: PyTree, order: Int[np.ndarray, 'device seat']) -> PyTree:
  """Returns device arrays `[device, seat, ...]` of all processes as host arrays `[lane, ...]`."""
  _, first = np.unique(order, return_index=True)

  def of_lanes(leaf: jax.Array) -> np.ndarray:
    return processes.gather(np.asarray(leaf)).reshape(-1, *leaf.shape[2:])[first]

  return jax.tree.map(of_lanes, tree)


def count_conflicts(count: int) -> list[Problem]:
  """Says whether more devices are asked for than this process has."""
  present = _local_devices()
  if count <= len(present):
    return []
  sentence = (
    f'execution.devices={count} must be at least 0 (all) and at most {len(present)}, the '
    f'{present[0].platform} devices of this process'
  )
  return [Problem(sentence, 'execution.devices')]


def _grid(devices: Devices) -> Shaped[np.ndarray, 'row share']:
  return np.array(devices).reshape(len(devices), -1)


def mesh(devices: Devices) -> Mesh:
  """Returns the devices with names for their axes."""
  return Mesh(_grid(devices), (AXIS, SHARE))
