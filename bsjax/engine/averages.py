"""An average of a lane's weights, kept beside them and evaluated as they are."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PyTree

from bsjax.engine.lanes import LaneSpec, LaneState, Weights


@struct.dataclass
class AveragedState(LaneState):
  """A lane beside whose weights their average is kept, which takes no part in training."""

  average: PyTree  # of the parameters after each update
  mass: Any  # float32, what the weights of these sum to: 0 before the first

  def after_update(self, half_lives: Float[Array, '']) -> 'AveragedState':
    """Returns the lane with its parameters taken into the average, and all before decayed.

    `half_lives` is how many the examples of the update are, often a tiny part of one.
    """
    weight = -jnp.expm1(-math.log(2) * half_lives)  # 1 - 2^-x would have no digits, or none but 0
    mass = self.mass + weight * (1 - self.mass)
    share = weight / mass  # so that the weights of all sum to one, and none is of zeros
    average = jax.tree.map(lambda a, p: a + share * (p - a), self.average, self.params)
    return self.replace(average=average, mass=mass)

  def averaged(self) -> Weights:
    """The average in place of the parameters, or these before the first update."""

    def one(average: Array, param: Array) -> Array:
      some = self.mass.reshape(self.mass.shape + (1,) * (param.ndim - self.mass.ndim)) > 0
      return jnp.where(some, average, param)

    return Weights(jax.tree.map(one, self.average, self.params), self.batch_stats)


def begin(spec: LaneSpec, state: LaneState) -> LaneState:
  """Returns a lane before its first tick with an average, where one is asked for."""
  if not spec.average_half_life:
    return state
  return AveragedState(**vars(state), average=state.params, mass=jnp.zeros(()))


def anew(state: LaneState) -> LaneState:
  """Returns lanes before their first tick, given other parameters, with an average of these."""
  return state.replace(average=state.params) if isinstance(state, AveragedState) else state
