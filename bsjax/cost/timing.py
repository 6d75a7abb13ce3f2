"""Throughput of compiled steps, each with the device to itself, in rounds.

Machines drift, and what is timed in one stretch hides it: so every step is timed once per round,
and the range of its repetitions holds the drift.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.stages import Compiled

from bsjax.console import now
from bsjax.cost.step import State, Training, random_batch, trained

SECONDS = 0.2  # that a repetition lasts at least
# The clock must not depend on where training leads: so the network stays as it was initialized.
RATE = 0.0

Run = Callable[[int], None]  # makes so many updates, and waits for them


def stepper(compiled: Compiled, training: Training, state: State, batch_size: int) -> Run:
  """Updates on whole batches."""
  batch, rate = jax.device_put(random_batch(training, batch_size)), jnp.float32(RATE)

  def run(updates: int) -> None:
    nonlocal state
    for _ in range(updates):
      state = compiled(state, batch, rate)
    jax.block_until_ready(state)

  return run


def gatherer(
  compiled: Compiled, training: Training, state: State, micro: int, accumulation: int
) -> Run:
  """Updates of `accumulation` micro-batches each."""
  batch, rate = jax.device_put(random_batch(training, micro)), jnp.float32(RATE)
  carried = state, jax.tree.map(jnp.zeros_like, trained(training, state.params))
  count = jnp.float32(accumulation)
  flags = [jnp.bool_(False)] * (accumulation - 1) + [jnp.bool_(True)]

  def run(updates: int) -> None:
    nonlocal carried
    for last in flags * updates:
      carried = compiled(carried, batch, rate, count, last)
    jax.block_until_ready(carried)

  return run


@dataclasses.dataclass
class Timed:
  """A step, and what was measured of it so far."""

  row: dict[str, Any]  # where the measurements belong
  batch_size: int
  start: Callable[[], Run]  # puts a state and a batch on the device
  updates: int = 0  # of a repetition; 0: not known yet
  rates: list[float] = dataclasses.field(default_factory=list)  # examples per second
  busy: list[float] = dataclasses.field(default_factory=list)  # cores

  def repeat(self) -> None:
    """Times the step once more; its state is on the device meanwhile and not longer."""
    run = self.start()
    run(1)
    if not self.updates:
      begun = now()
      run(1)
      self.updates = max(1, math.ceil(SECONDS / max(now() - begun, 1e-6)))
    begun, cpu = now(), time.process_time()
    run(self.updates)
    seconds = now() - begun
    self.rates.append(self.updates * self.batch_size / seconds)
    self.busy.append((time.process_time() - cpu) / seconds)

  def throughput(self) -> dict[str, Any]:
    """Examples per second: the median of the repetitions, the lowest, the highest, their number."""
    rates = self.rates
    ends = {'low': min(rates), 'high': max(rates)}
    return {'median': statistics.median(rates), **ends, 'n': len(rates)}
