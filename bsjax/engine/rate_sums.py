"""Sums of learning rates over the updates that lanes have made, in float64 on the host."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from bsjax.optim.schedules import Schedule
from bsjax.plan.lanes import Lane


class RateSums(NamedTuple):
  """Each lane's sum of learning rates over its updates up to a tick, by the lane's number."""

  tick: int
  sums: dict[int, float]


def factors(schedule: Schedule, length: int, micro_batch: int) -> Float[np.ndarray, ' tick']:
  """Returns the schedule at the start of every tick of so many examples, and at the end."""
  starts = np.arange(0, length + 1, micro_batch, dtype=np.int32)
  return np.asarray(jax.vmap(schedule)(starts), np.float64)


def none(lanes: Sequence[Lane]) -> RateSums:
  """Returns the sums of lanes before their first tick."""
  return RateSums(0, {lane.lane: 0.0 for lane in lanes})


def after(
  before: RateSums, by_tick: Float[np.ndarray, ' tick'], tick: int, lanes: Sequence[Lane]
) -> RateSums:
  """Returns the sums at a tick, of lanes that have kept batch size and learning rate since.

  `by_tick` are `factors`. Every update has the factor of the position where its batch began.
  """
  past = by_tick[before.tick : tick]
  since = {
    lane.lane: lane.learning_rate * float(past[:: lane.accumulation].sum()) for lane in lanes
  }
  return RateSums(tick, {lane: before.sums[lane] + rates for lane, rates in since.items()})
