"""Device memory: what a compiled program takes, what there is, and what to do where it is short."""

import math
import os

import jax
import numpy as np
from jaxtyping import PyTree

from bsjax.config.errors import ConfigError
from bsjax.engine import device_axis, processes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.device_lanes import Lanes
from bsjax.engine.part import Part
from bsjax.format import GIB

# As a runtime, a compiler (TPU) and an allocator (CPU) say it.
WORDS_OF_NO_ROOM = ('resource_exhausted', 'out of memory', 'bad_alloc')


def out_of_memory(error: Exception) -> bool:
  """Whether an error of the runtime says that a device has no room."""
  said = str(error).lower()
  return any(words in said for words in WORDS_OF_NO_ROOM)


def temporary_bytes(lanes: Lanes, part: Part, data: DeviceData) -> int | None:
  """Returns what training a part takes on a device besides its arguments, as compiled.

  None: it has no room, which the compiler of a TPU says itself.
  """
  known, shape = lanes.temporary_bytes, (part.rows, *part.order.shape)
  if shape not in known:
    try:
      known[shape] = lanes.lower(part, data).compile().memory_analysis().temp_size_in_bytes
    except jax.errors.JaxRuntimeError as error:
      if not out_of_memory(error):
        raise
      known[shape] = None
  return known[shape]


def bytes_per_lane(lanes: Lanes, data: DeviceData) -> int | None:
  """Returns what a lane takes on a device: its state, once more for a copy, and its share of the
  compiled program; None where that has no room.
  """
  part = lanes.parts[0]
  seats = len(lanes.devices) * part.order.shape[1]
  state = (_nbytes(part.states) + _nbytes(part.states.replace(grad_sum=()))) // seats
  temporary = temporary_bytes(lanes, part, data)
  return None if temporary is None else state + temporary // part.order.shape[1]


def _nbytes(tree: PyTree) -> int:
  return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def free_bytes(device: jax.Device, bound_gib: float) -> int | None:
  """Returns what is left on a device for temporaries, or None if it does not tell what it has.

  `bound_gib` above 0 takes the place of what the device has.
  """
  statistics = device.memory_stats() or {}
  bound = bound_gib * GIB or statistics.get('bytes_limit')
  if bound is None:
    return None
  # By shapes: the data of a shard, once asked for, are an array that lives and would count again.
  held = sum(
    math.prod(array.sharding.shard_shape(array.shape)) * array.dtype.itemsize
    for array in jax.live_arrays()
    if device in array.sharding.addressable_devices
  )
  return int(bound) - held


def refuse_too_large(params: PyTree, lanes: int, count: int) -> None:
  """Raises ConfigError where the parameters of all lanes alone exceed what the machine has.

  `params` are those of a lane, or their shapes; `count` is `execution.devices`.
  """
  numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  needed = lanes * sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(params))
  limits = [(d.memory_stats() or {}).get('bytes_limit') for d in device_axis.devices(count)]
  present = sum(limits) if all(limits) else os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  present *= processes.count()
  if needed > present:
    raise ConfigError(
      f'{lanes:,} lanes of {numbers:,} parameters are {needed / GIB:,.0f} GiB, and the devices '
      f'have {present / GIB:,.0f}; use a smaller model (model.name, model.width, model.depth) or '
      'fewer lanes',
      *('model.width', 'model.depth', 'model.name'),
    )


def fit(lanes: Lanes, data: DeviceData, bound_gib: float) -> list[str]:
  """Cuts a group into parts that fit a device one at a time; returns what to tell a person."""
  if lanes.programs.strategy.vectorize == 'map':
    return []  # a lane at a time: nothing to gain by parts
  said = []
  while (free := free_bytes(np.ravel(lanes.devices)[0], bound_gib)) is not None:
    copies = sum(_nbytes(part.states.replace(grad_sum=())) for part in lanes.parts)
    taken = [temporary_bytes(lanes, part, data) for part in lanes.parts]
    without_room = None in taken
    needed = max(size or 0 for size in taken) + copies // len(lanes.devices)
    if not any(processes.exchange(without_room or needed > free)):  # the same parts everywhere
      break
    sizes = sorted({lane.batch_size for lane in lanes.group.lanes})
    told = 'more than the device has' if without_room else f'{needed / GIB:.2f} GiB'
    if not lanes.split():
      said.append(
        f'Batch sizes {sizes} need {told} even with one lane at a time; '
        'execution.devices_per_lane splits their micro-batches over devices.'
      )
      break
    said.append(
      f'Batch sizes {sizes} need {told} at once and {max(free, 0) / GIB:.2f} GiB are '
      f'free on a device: their lanes take turns, in {len(lanes.parts)} parts.'
    )
  return said
