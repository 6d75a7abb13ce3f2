"""Throughput of compiled steps on a device that has nothing else to do."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.stages import Compiled

from bsjax.native_cost.step import State, Training, random_batch
from bsjax.progress import now

SECONDS = 0.2  # that a repetition lasts at least
# The clock must not depend on where training leads: so the network stays as it was initialized.
RATE = 0.0


def stepper(
  compiled: Compiled, training: Training, state: State, batch_size: int
) -> Callable[[int], None]:
  """Returns what makes so many updates on whole batches, and waits for them."""
  batch, rate = jax.device_put(random_batch(training, batch_size)), jnp.float32(RATE)

  def run(updates: int) -> None:
    nonlocal state
    for _ in range(updates):
      state = compiled(state, batch, rate)
    jax.block_until_ready(state)

  return run


def gatherer(
  compiled: Compiled, training: Training, state: State, micro: int, accumulation: int
) -> Callable[[int], None]:
  """Returns what makes so many updates of `accumulation` micro-batches each, and waits for them."""
  batch, rate = jax.device_put(random_batch(training, micro)), jnp.float32(RATE)
  carried = state, jax.tree.map(jnp.zeros_like, state.trained)
  count = jnp.float32(accumulation)
  flags = [jnp.bool_(False)] * (accumulation - 1) + [jnp.bool_(True)]

  def run(updates: int) -> None:
    nonlocal carried
    for last in flags * updates:
      carried = compiled(carried, batch, rate, count, last)
    jax.block_until_ready(carried)

  return run


def throughput(
  run: Callable[[int], None], batch_size: int, repeats: int
) -> tuple[dict[str, Any], float]:
  """Returns examples a second and how many cores the process kept busy meanwhile.

  The median of so many repetitions, their lowest and highest, and how many they were. What a device
  computes ahead of the host is waited for. The batch is on the device: reading, decoding and
  sending it is not part of this.
  """
  run(1)  # whatever is made at first
  begun = now()
  run(1)
  updates = max(1, math.ceil(SECONDS / max(now() - begun, 1e-6)))
  rates = []
  begun_all, cpu = now(), time.process_time()
  for _ in range(repeats):
    begun = now()
    run(updates)
    rates.append(updates * batch_size / (now() - begun))
  busy = (time.process_time() - cpu) / (now() - begun_all)
  found = {'median': statistics.median(rates), 'low': min(rates), 'high': max(rates)}
  return found | {'n': repeats}, busy
