"""Lanes that diverge: trained once more with care, and left where their last good update left them.

To ask in every tick whether all of a gradient is finite would cost a small model a tenth of its
time and more. So a stretch of training is asked once, at its end, whether each lane still is
finite, which no lane is again that has ever taken a step that was not. Where one is not, the
stretch is repeated from its start with a question in every tick; of what comes of that only the
lanes that were lost are taken, so all others are what they would have been without them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int, PyTree

from bsjax.engine.lanes import (
  LaneParams,
  LaneSpec,
  LaneState,
  MicroBatch,
  Source,
  loss_and_gradients,
)
from bsjax.engine.tick import tick

# Why the update that would have come next was not made; 0: it was.
WHY = ('', 'loss_not_finite', 'gradient_not_finite', 'update_not_finite')
LOSS, GRADIENT, UPDATE = range(1, len(WHY))
NOT_FINITE = 'state_not_finite'  # found at the end of a stretch only


@struct.dataclass
class Watched:
  """A lane whose every tick is looked at."""

  state: LaneState
  good: LaneState  # after its last update
  examples: Any  # int32, of its stream, where it was lost
  because: Any  # int32, place in WHY


def watched(state: LaneState) -> Watched:
  """Returns a lane that has just updated, from which on it is looked at."""
  zero = jnp.zeros((), jnp.int32)
  return Watched(state, state, zero, zero)


def watched_tick(
  spec: LaneSpec,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  lane: Watched,
  lane_params: LaneParams,
  source: Source,
  index: Int[Array, ''],
  batch: MicroBatch,
) -> Watched:
  """As `tick`, but that a lane with a number that is not finite goes back to its last update."""
  before, start = lane.state, index * spec.micro_batch
  loss, grads, _ = loss_and_gradients(spec, before, lane_params.trial, start, *batch)
  after = tick(spec, any_lane, before, lane_params, source, index, batch)
  because = jnp.where(finite(after), 0, UPDATE)
  because = jnp.where(all_finite(grads), because, GRADIENT)
  because = jnp.where(jnp.isfinite(loss), because, LOSS)
  because = jnp.where(lane.because > 0, lane.because, because)
  lost_now = (because > 0) & (lane.because == 0)
  return Watched(
    state=_select(because > 0, lane.good, after),
    good=_select((because == 0) & (after.count == 0), after, lane.good),
    examples=jnp.where(lost_now, start - before.count * spec.micro_batch, lane.examples),
    because=because,
  )


def finite(state: LaneState) -> Bool[Array, '']:
  """Whether all numbers are finite that a lane goes on with after an update."""
  return all_finite((state.params, state.batch_stats, state.opt_state))


def all_finite(tree: PyTree) -> Bool[Array, '']:
  """Whether all numbers of a tree are finite."""
  leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
  return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def choose(flags: Bool[Array, ' seat'], there: PyTree, here: PyTree) -> PyTree:
  """Returns lanes `[seat, ...]`, those with a flag from the first of two trees."""
  return jax.vmap(_select)(flags, there, here)


def _select(flag: Bool[Array, ''], there: PyTree, here: PyTree) -> PyTree:
  return jax.tree.map(lambda a, b: jnp.where(flag, a, b), there, here)
