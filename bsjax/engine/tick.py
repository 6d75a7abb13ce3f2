"""The tick that moves a lane: a micro-batch, its noise, and an update when a batch is complete."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from bsjax.engine.averages import AveragedState
from bsjax.engine.lanes import (
  LaneParams,
  LaneSpec,
  LaneState,
  MicroBatch,
  Source,
  gradients,
  read,
  step,
)
from bsjax.noise import online


def tick(
  spec: LaneSpec,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  lane_params: LaneParams,
  source: Source,
  index: Int[Array, ''],
  batch: MicroBatch,
) -> LaneState:
  """Trains a lane on the micro-batch of one tick; updates it when its batch is complete.

  `any_lane` tells whether a flag is set in any lane that runs side by side with this one: where
  both sides of a condition on one lane would be computed, one on all lanes skips the work.
  """
  start = index * spec.micro_batch
  grads, batch_stats = gradients(spec, state, lane_params.trial, start, *batch)
  state = state.replace(batch_stats=batch_stats)
  noise = _noise(spec, any_lane, state, lane_params, source, index, grads)
  # Tells XLA that the noise, which reads gradients and parameters, comes before what changes them
  # in place; otherwise it copies them in every tick. No sum of variance factors is below -1.
  count = jnp.where(noise.micro_factor > -1, state.count, 0)
  state = state.replace(noise=noise, count=count)
  kept, total = state.grad_sum, grads if spec.every_tick else _sum(state, grads)
  state = state.replace(grad_sum=total, count=count + 1)
  due = state.count >= lane_params.accumulation
  update = functools.partial(_update, spec, lane_params, start + spec.micro_batch)

  def finish(state: LaneState) -> LaneState:
    return update(state) if spec.every_tick else jax.lax.cond(due, update, _unchanged, state)

  # Where all are always due it is asked all the same: without a condition in between, XLA changes
  # parameters in place while others are still read, and copies them before.
  state = jax.lax.cond(any_lane(due), finish, _unchanged, state)
  return state.replace(grad_sum=kept) if spec.every_tick else state


def _unchanged(tree: PyTree) -> PyTree:
  return tree


def _sum(state: LaneState, grads: PyTree) -> PyTree:
  """The micro-batch gradients since the last update; what is left of those before is dropped."""
  first = state.count == 0
  return jax.tree.map(lambda sum, g: jnp.where(first, g, sum + g), state.grad_sum, grads)


def _update(
  spec: LaneSpec, lane_params: LaneParams, end: Int[Array, ''], state: LaneState
) -> LaneState:
  """Takes an optimizer step with the mean of the micro-batches that end before position `end`."""
  count = state.count
  mean = jax.tree.map(lambda g: g / count, state.grad_sum)
  rate = lane_params.learning_rate * spec.schedule(end - count * spec.micro_batch)
  values = lane_params.hyperparameters
  params, opt_state = step(spec, state.params, state.opt_state, mean, rate, values)
  state = state.replace(
    params=params,
    opt_state=opt_state,
    count=jnp.zeros((), jnp.int32),
    updates=state.updates + 1,
  )
  if not isinstance(state, AveragedState):
    return state
  return state.after_update(count * spec.micro_batch / spec.average_half_life)


def _noise(
  spec: LaneSpec,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  lane_params: LaneParams,
  source: Source,
  index: Int[Array, ''],
  grads: PyTree,
) -> online.LaneNoise:
  """Measures the noise in the ticks in which that is due; `state` is that from before the tick.

  Lanes of several micro-batches per update compare these with their mean, in the first update that
  begins in each `measure_every` ticks. Lanes of one compare it every `probe_every` ticks with the
  next they train on, so that nothing is held out. Early in epochs both do so more often
  (`online.counted`).
  """
  if not spec.online_noise:
    return state.noise
  alone = lane_params.accumulation == 1
  updates = _counted(spec, lane_params, index - state.count, spec.measure_every, ~alone)
  pairs = _counted(spec, lane_params, index, spec.probe_every, alone)

  def measure(noise: online.LaneNoise) -> online.LaneNoise:
    if not spec.every_tick:
      update = functools.partial(
        _measure_update, spec, any_lane, state, lane_params, grads, index, updates
      )
      noise = _when(updates.anywhere, any_lane, update, noise)
    if not spec.probe_every:
      return noise
    pair = functools.partial(_measure_pair, spec, state, lane_params, source, grads, index, pairs)
    return _when(pairs.anywhere, any_lane, pair, noise)

  # Of the noise alone: a condition may copy all that goes through it.
  due = updates.anywhere | pairs.anywhere
  return jax.lax.cond(any_lane(due), measure, _unchanged, state.noise)


def _counted(
  spec: LaneSpec, lane_params: LaneParams, began: Int[Array, ''], every: int, of_lane: Any
) -> online.Counted:
  """Where what began in a tick counts, in a lane that is measured so; nowhere with `every` 0."""
  if not every:
    return online.Counted(jnp.bool_(False), jnp.bool_(False))
  where = online.counted(began, spec.micro_batch, lane_params.accumulation, every, spec.population)
  return online.Counted(*(of_lane & flag for flag in where))


def _when(
  flag: Bool[Array, ''],
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  function: Callable[[PyTree], PyTree],
  tree: PyTree,
) -> PyTree:
  """Applies a function in lanes with a flag; where no lane side by side has it, nothing is done.

  Lanes are selected afterwards: a condition on one lane would copy what they share for each.
  """

  def apply(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda new, old: jnp.where(flag, new, old), function(tree), tree)

  return jax.lax.cond(any_lane(flag), apply, _unchanged, tree)


def _measure_update(
  spec: LaneSpec,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  lane_params: LaneParams,
  grads: PyTree,
  index: Int[Array, ''],
  where: online.Counted,
  noise: online.LaneNoise,
) -> online.LaneNoise:
  """Adds a micro-batch of an update, and with its last one the update."""
  draw = _draw(spec, index - state.count, state.count + 1, lane_params.accumulation)
  noise = online.add_micro_batch(noise, _lengths(spec, state, grads), draw)

  def add_update(noise: online.LaneNoise) -> online.LaneNoise:
    mean = jax.tree.map(lambda g: g / draw.count, _sum(state, grads))
    return online.add_update(noise, _lengths(spec, state, mean), draw, _warm(state), where)

  return _when(draw.count >= lane_params.accumulation, any_lane, add_update, noise)


def _measure_pair(
  spec: LaneSpec,
  state: LaneState,
  lane_params: LaneParams,
  source: Source,
  grads: PyTree,
  index: Int[Array, ''],
  where: online.Counted,
  noise: online.LaneNoise,
) -> online.LaneNoise:
  """Adds two micro-batches at the same parameters: this one, and the next."""
  start = (index + 1) * spec.micro_batch
  batch = read(spec, lane_params, source, start)
  following, _ = gradients(spec, state, lane_params.trial, start, *batch)
  pair = _lengths(spec, state, grads), _lengths(spec, state, following)
  return online.add_pair(noise, *pair, _draw(spec, index, 2, 2), _warm(state), where)


def _draw(
  spec: LaneSpec, first: Int[Array, ''], count: Int[Array, ''] | int, accumulation: Any
) -> online.Draw:
  """The examples of an update that begins in tick `first`, after `count` of its micro-batches."""
  return online.Draw(
    first * spec.micro_batch, spec.micro_batch, count, accumulation, spec.population
  )


def _lengths(spec: LaneSpec, state: LaneState, grads: PyTree) -> dict[str, PyTree]:
  """The gradient as each estimator measures it, before this batch's update."""
  if spec.preconditioner is None:
    return online.lengths(grads, None)
  return online.lengths(grads, spec.preconditioner(state.opt_state, state.opt_state.count))


def _warm(state: LaneState) -> Bool[Array, '']:
  """Whether the optimizer has seen a gradient since its state was fresh."""
  return state.opt_state.count > 0
