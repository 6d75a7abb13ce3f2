"""The tick that moves a lane: a micro-batch, its noise, and an update when a batch is complete."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PyTree

from bsjax.engine.lanes import LaneState, MicroBatch, Recipe, Setting, Source, gradients, read
from bsjax.noise import estimators, online
from bsjax.optim import freezing
from bsjax.optim.optimizers import with_learning_rate


def tick(
  recipe: Recipe,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  setting: Setting,
  source: Source,
  index: Int[Array, ''],
  batch: MicroBatch,
) -> LaneState:
  """Trains a lane on the micro-batch of one tick; updates it when its batch is complete.

  `any_lane` tells whether a flag is set in any lane that runs side by side with this one: where
  both sides of a condition on one lane would be computed, one on all lanes skips the work.
  """
  start = index * recipe.micro_batch
  grads, batch_stats = gradients(recipe, state, *batch)
  state = state.replace(batch_stats=batch_stats)
  noise = _noise(recipe, any_lane, state, setting, source, index, grads)
  # Tells XLA that the noise, which reads gradients and parameters, comes before what changes them
  # in place; otherwise it copies them in every tick. No sum of variance factors is below -1.
  count = jnp.where(noise.micro_factor > -1, state.count, 0)
  state = state.replace(noise=noise, count=count)
  kept, total = state.grad_sum, grads if recipe.every_tick else _sum(state, grads)
  state = state.replace(grad_sum=total, count=count + 1)
  due = state.count >= setting.accumulation
  update = functools.partial(_update, recipe, setting, start + recipe.micro_batch)
  same = lambda state: state
  finish = lambda state: jax.lax.cond(due, update, same, state)
  if recipe.every_tick:
    finish = update
  # Where all are always due it is asked all the same: without a condition in between, XLA changes
  # parameters in place while others are still read, and copies them before.
  state = jax.lax.cond(any_lane(due), finish, same, state)
  return state.replace(grad_sum=kept) if recipe.every_tick else state


def _sum(state: LaneState, grads: PyTree) -> PyTree:
  """The micro-batch gradients since the last update; what is left of those before is dropped."""
  first = state.count == 0
  return jax.tree.map(lambda sum, g: jnp.where(first, g, sum + g), state.grad_sum, grads)


def _update(recipe: Recipe, setting: Setting, end: Int[Array, ''], state: LaneState) -> LaneState:
  """Takes an optimizer step with the mean of the micro-batches that end before position `end`."""
  count = state.count
  mean = jax.tree.map(lambda g: g / count, state.grad_sum)
  rate = setting.learning_rate * recipe.schedule(end - count * recipe.micro_batch)
  opt_state = with_learning_rate(state.opt_state, rate)
  trainable, frozen = freezing.split(state.params, recipe.trainable)
  updates, opt_state = recipe.optimizer.update(mean, opt_state, trainable)
  return state.replace(
    params=freezing.join(optax.apply_updates(trainable, updates), frozen),
    opt_state=opt_state,
    count=jnp.zeros((), jnp.int32),
    updates=state.updates + 1,
  )


def _noise(
  recipe: Recipe,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  setting: Setting,
  source: Source,
  index: Int[Array, ''],
  grads: PyTree,
) -> online.LaneNoise:
  """Measures the noise in the ticks in which that is due; `state` is that from before the tick.

  Lanes of several micro-batches an update compare these with their mean, in the first update that
  begins in each `measure_every` ticks. Lanes of one compare it every `probe_every` ticks with the
  next they train on, so that nothing is held out.
  """
  if not recipe.online_noise:
    return state.noise
  alone = setting.accumulation == 1
  began = index - state.count
  measured = ~alone & (began % recipe.measure_every < setting.accumulation)
  probed = alone & (index % recipe.probe_every == 0) if recipe.probe_every else jnp.bool_(False)

  def measure(noise: online.LaneNoise) -> online.LaneNoise:
    if not recipe.every_tick:
      own = functools.partial(_measure_update, recipe, any_lane, state, setting, grads, index)
      noise = _when(measured, any_lane, own, noise)
    if not recipe.probe_every:
      return noise
    pair = functools.partial(_measure_pair, recipe, state, setting, source, grads, index)
    return _when(probed, any_lane, pair, noise)

  # Of the noise alone: a condition may copy all that goes through it.
  same = lambda noise: noise
  return jax.lax.cond(any_lane(measured | probed), measure, same, state.noise)


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

  return jax.lax.cond(any_lane(flag), apply, lambda tree: tree, tree)


def _measure_update(
  recipe: Recipe,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  setting: Setting,
  grads: PyTree,
  index: Int[Array, ''],
  noise: online.LaneNoise,
) -> online.LaneNoise:
  """Adds a micro-batch of an update, and with its last one the update."""
  size, examples = recipe.micro_batch, recipe.population
  start, count = index * size, state.count + 1
  factor = estimators.variance_factor(start, size, examples)
  noise = online.add_micro_batch(noise, _scaled(recipe, state, grads), factor, state.count == 0)

  def add_update(noise: online.LaneNoise) -> online.LaneNoise:
    mean = jax.tree.map(lambda g: g / count, _sum(state, grads))
    whole = estimators.variance_factor(start + size - count * size, count * size, examples)
    scaled = _scaled(recipe, state, mean)
    return online.add_update(noise, scaled, count, whole, _warm(state))

  return _when(count >= setting.accumulation, any_lane, add_update, noise)


def _measure_pair(
  recipe: Recipe,
  state: LaneState,
  setting: Setting,
  source: Source,
  grads: PyTree,
  index: Int[Array, ''],
  noise: online.LaneNoise,
) -> online.LaneNoise:
  """Adds two micro-batches at the same parameters: this one, and the next."""
  size = recipe.micro_batch
  start = index * size
  other, _ = gradients(recipe, state, *read(recipe, setting, source, start + size))
  factor = lambda *draw: estimators.variance_factor(*draw, recipe.population)
  factors = (factor(start, size) + factor(start + size, size)) / 2, factor(start, 2 * size)
  pair = _scaled(recipe, state, grads), _scaled(recipe, state, other)
  return online.add_pair(noise, *pair, factors, _warm(state))


def _scaled(recipe: Recipe, state: LaneState, grads: PyTree) -> dict[str, PyTree]:
  """The gradient in the kinds of length whose noise is measured, before this batch's update."""
  if recipe.preconditioner is None:
    return online.scaled(grads, None)
  return online.scaled(grads, recipe.preconditioner(state.opt_state, state.opt_state.count))


def _warm(state: LaneState) -> Bool[Array, '']:
  """Whether the optimizer has seen a gradient since its state was fresh."""
  return state.opt_state.count > 0
