"""The device memory of a step, as XLA states it, and the largest micro-batch that has room."""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.stages import Compiled
from jaxtyping import PyTree

from bsjax.cost.step import Batch, State
from bsjax.format import GIB

UNIT = 2**10  # bytes, of /proc/meminfo


def of_step(
  compiled: Compiled, state: State, batch: Batch, grad_sum: PyTree = ()
) -> dict[str, int]:
  """Bytes that a step takes on its device.

  'total' is what must be there at once: 'arguments' (the state and the batch, on the device before
  the step), 'outputs' (the new state) and 'temporaries' (activations kept for the backward pass,
  gradients, workspaces: the most that XLA's plan holds at a time), less 'aliased', the outputs that
  take the place of arguments given away. 'parameters', 'optimizer_state', 'batch_statistics',
  'gradient_sum' (where micro-batches are gathered) and 'batch' say what the arguments are made of.

  Not in it: the training set and batches prepared ahead, the machine code and the runtime's own
  needs, memory lost between allocations, and on a CPU what its libraries take for themselves.
  """
  plan = compiled.memory_analysis()
  arguments, outputs = plan.argument_size_in_bytes, plan.output_size_in_bytes
  aliased, temporaries = plan.alias_size_in_bytes, plan.temp_size_in_bytes
  return {
    'total': arguments + outputs - aliased + temporaries,
    'arguments': arguments,
    'outputs': outputs,
    'aliased': aliased,
    'temporaries': temporaries,
    'parameters': tree_bytes(state.params),
    'optimizer_state': tree_bytes(state.opt_state),
    'batch_statistics': tree_bytes(state.batch_stats),
    'gradient_sum': tree_bytes(grad_sum),
    'batch': tree_bytes((batch.images, batch.labels)),
  }


def tree_bytes(tree: PyTree) -> int:
  """Bytes of arrays, or of what has the shape of some."""
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def limit(device: jax.Device, bound_gib: float) -> int | None:
  """The bytes that a program may take on a device: the bound, or without one what there is.

  That is what an accelerator reports and, as a CPU reports nothing, the memory of the machine; None
  where neither can be told.
  """
  if bound_gib:
    return int(bound_gib * GIB)
  reported = _statistics(device).get('bytes_limit')
  if reported is None and device.platform == 'cpu':
    return _of_machine('MemTotal')
  return reported


def free(device: jax.Device) -> int | None:
  """The bytes of a device that nothing else holds at this moment; None where it does not tell."""
  statistics = _statistics(device)
  if 'bytes_limit' in statistics:
    return statistics['bytes_limit'] - statistics.get('bytes_in_use', 0)
  return _of_machine('MemAvailable') if device.platform == 'cpu' else None


def _statistics(device: jax.Device) -> Mapping[str, int]:
  return device.memory_stats() or {}


def _of_machine(name: str) -> int | None:
  try:
    lines = Path('/proc/meminfo').read_text().splitlines()
    return next(int(line.split()[1]) * UNIT for line in lines if line.startswith(f'{name}:'))
  except (OSError, ValueError, StopIteration):  # not Linux
    total = name == 'MemTotal' and 'SC_PHYS_PAGES' in getattr(os, 'sysconf_names', {})
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') if total else None


def line(totals: Mapping[int, int]) -> Callable[[int], float]:
  """Bytes as a straight line of the batch size, through those of two sizes or more."""
  slope, intercept = np.polyfit(list(totals), list(totals.values()), 1)
  return lambda size: float(intercept + slope * size)


def largest_micro_batch(
  batch_size: int, predict: Callable[[int], float], most: int, fits: Callable[[int], bool]
) -> int | None:
  """The largest proper divisor of a batch size that `fits`, asked near where a line says so.

  `predict` gives the bytes of a micro-batch and `most` bounds them. The next larger divisor has
  been asked too, so that a line that promises too little costs nothing. None: not even one example.
  """
  divisors = [m for m in range(1, batch_size // 2 + 1) if batch_size % m == 0]
  if not divisors:
    return None
  place = max((i for i, m in enumerate(divisors) if predict(m) <= most), default=0)
  if fits(divisors[place]):
    while place + 1 < len(divisors) and fits(divisors[place + 1]):
      place += 1
    return divisors[place]
  return next((m for m in reversed(divisors[:place]) if fits(m)), None)
