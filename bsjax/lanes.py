"""Training runs as lanes of one program: their state, and the tick that moves it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from bsjax import lane_noise, noise_scale, stream
from bsjax.optimizer import Preconditioner, Schedule, with_learning_rate

# What a trial's key is folded with to draw its parameters; stream.py draws example orders.
INIT = 0


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What all lanes of a group share, fixed when their program is compiled."""

  model: nn.Module
  optimizer: optax.GradientTransformationExtraArgs
  schedule: Schedule  # factor on the learning rate, of examples seen
  seed: int
  micro_batch: int
  train_examples: int
  mean: np.ndarray  # per channel, in raw pixel units
  std: np.ndarray
  crop: int  # pixels
  flip: bool
  probe_every: int  # ticks; 0: never
  preconditioner: Preconditioner | None  # how the optimizer scales coordinates, if it does
  online_noise: bool  # whether ticks measure the noise scale


# Fields of the structs below are arrays of one lane inside the program; they have leading axes
# `lane` on the host and `device lane` on the devices. They carry no shape annotations because jax
# rebuilds the structs around other things too.


@struct.dataclass
class Setting:
  """What makes a lane itself: data, not shape, so lanes of any batch size share a program."""

  learning_rate: Any  # float32
  accumulation: Any  # int32, ticks an update
  trial: Any  # int32


@struct.dataclass
class LaneState:
  """Everything a lane carries from one tick to the next."""

  params: PyTree
  batch_stats: PyTree
  opt_state: PyTree
  grad_sum: PyTree  # of the micro-batches since the last update
  count: Any  # int32, how many those are
  updates: Any  # int32, made so far
  noise: lane_noise.LaneNoise


@struct.dataclass
class Source:
  """The training set on a device, and the orders in which trials go through it."""

  images: Any  # uint8 [example, height, width, channel]
  labels: Any  # int32 [example]
  orders: Any  # int32 [trial, epoch, example]
  first_epoch: Any  # int32, the epoch of orders[:, 0]


def trial_key(seed: int, trial: Int[Array, '']) -> Key[Array, '']:
  """The key that lanes of one trial share, whatever their batch size and learning rate."""
  return jax.random.fold_in(jax.random.key(seed), trial)


def init(recipe: Recipe, setting: Setting, image_shape: tuple[int, int, int]) -> LaneState:
  """Returns a lane before its first tick."""
  key = jax.random.fold_in(trial_key(recipe.seed, setting.trial), INIT)
  variables = recipe.model.init(key, jnp.zeros((1, *image_shape)), train=False)
  params = variables['params']
  return LaneState(
    params=params,
    batch_stats=variables.get('batch_stats', {}),
    opt_state=recipe.optimizer.init(params),
    grad_sum=jax.tree.map(jnp.zeros_like, params),
    count=jnp.zeros((), jnp.int32),
    updates=jnp.zeros((), jnp.int32),
    noise=lane_noise.empty(recipe.preconditioner is not None),
  )


def tick(
  recipe: Recipe,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  setting: Setting,
  source: Source,
  index: Int[Array, ''],
) -> LaneState:
  """Trains a lane on the micro-batch of one tick; updates it when its batch is complete.

  `any_lane` tells whether a flag is set in any lane that runs side by side with this one: where
  both sides of a condition on one lane would be computed, one on all lanes skips the work.
  """
  start = index * recipe.micro_batch
  grads, batch_stats = gradients(recipe, state, *read(recipe, setting, source, start))
  state = state.replace(batch_stats=batch_stats)
  state = _probe(recipe, any_lane, state, setting, source, index, grads)
  state = _accumulate(recipe, state, grads, start)
  update = functools.partial(_update, recipe, setting, start + recipe.micro_batch)
  due = state.count >= setting.accumulation
  update_if_due = lambda state: jax.lax.cond(due, update, _same, state)
  return jax.lax.cond(any_lane(due), update_if_due, _same, state)


def _same(state: LaneState) -> LaneState:
  return state


def read(
  recipe: Recipe, setting: Setting, source: Source, start: Int[Array, '']
) -> tuple[Float[Array, 'micro height width channel'], Int[Array, ' micro']]:
  """Returns the micro-batch of the lane's trial from position `start` on, ready for the model."""
  images, labels = stream.micro_batch(
    source.images,
    source.labels,
    source.orders[setting.trial],
    source.first_epoch,
    start,
    recipe.micro_batch,
  )
  key = trial_key(recipe.seed, setting.trial)
  images = stream.augment(key, start, images, recipe.crop, recipe.flip)
  return stream.normalize(images, recipe.mean, recipe.std), labels


def gradients(
  recipe: Recipe,
  state: LaneState,
  images: Float[Array, 'micro height width channel'],
  labels: Int[Array, ' micro'],
) -> tuple[PyTree, PyTree]:
  """Returns the mean gradient over a micro-batch and the batch statistics after it."""

  def loss(params: PyTree) -> tuple[Float[Array, ''], PyTree]:
    variables = {'params': params, 'batch_stats': state.batch_stats}
    logits, changed = recipe.model.apply(variables, images, train=True, mutable=['batch_stats'])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), changed.get('batch_stats', {})

  return jax.grad(loss, has_aux=True)(state.params)


def _accumulate(
  recipe: Recipe, state: LaneState, grads: PyTree, start: Int[Array, '']
) -> LaneState:
  state = state.replace(
    grad_sum=jax.tree.map(jnp.add, state.grad_sum, grads), count=state.count + 1
  )
  if not recipe.online_noise:
    return state
  factor = noise_scale.variance_factor(start, recipe.micro_batch, recipe.train_examples)
  noise = lane_noise.add_micro_batch(state.noise, _scaled(recipe, state, grads), factor)
  return state.replace(noise=noise)


def _update(recipe: Recipe, setting: Setting, end: Int[Array, ''], state: LaneState) -> LaneState:
  """Takes an optimizer step with the mean of the micro-batches that end before position `end`."""
  grads = jax.tree.map(lambda g: g / state.count, state.grad_sum)
  start = end - state.count * recipe.micro_batch
  rate = setting.learning_rate * recipe.schedule(start)
  opt_state = with_learning_rate(state.opt_state, rate)
  updates, opt_state = recipe.optimizer.update(grads, opt_state, state.params)
  return state.replace(
    params=optax.apply_updates(state.params, updates),
    opt_state=opt_state,
    grad_sum=jax.tree.map(jnp.zeros_like, grads),
    count=jnp.zeros((), jnp.int32),
    updates=state.updates + 1,
    noise=_noise_of_update(recipe, state, grads, start, end),
  )


def _noise_of_update(
  recipe: Recipe, state: LaneState, grads: PyTree, start: Int[Array, ''], end: Int[Array, '']
) -> lane_noise.LaneNoise:
  if not recipe.online_noise:
    return state.noise
  factor = noise_scale.variance_factor(start, end - start, recipe.train_examples)
  scaled = _scaled(recipe, state, grads)
  return lane_noise.add_update(state.noise, scaled, state.count, factor, state.updates > 0)


def _scaled(recipe: Recipe, state: LaneState, grads: PyTree) -> dict[str, PyTree]:
  """The gradient in the kinds of length whose noise is measured, before this batch's update."""
  if recipe.preconditioner is None:
    return lane_noise.scaled(grads, None)
  return lane_noise.scaled(grads, recipe.preconditioner(state.opt_state, state.updates))


def _probe(
  recipe: Recipe,
  any_lane: Callable[[Bool[Array, '']], Bool[Array, '']],
  state: LaneState,
  setting: Setting,
  source: Source,
  index: Int[Array, ''],
  grads: PyTree,
) -> LaneState:
  """Lets lanes that update every tick compare two micro-batches at the same parameters.

  The second is the one the lane trains on next, so nothing is held out.
  """
  if not recipe.probe_every:
    return state
  size = recipe.micro_batch
  start = index * size

  alone = setting.accumulation == 1

  def probe(state: LaneState) -> LaneState:
    other, _ = gradients(recipe, state, *read(recipe, setting, source, start + size))
    factor = lambda *draw: noise_scale.variance_factor(*draw, recipe.train_examples)
    factors = (factor(start, size) + factor(start + size, size)) / 2, factor(start, 2 * size)
    pair = _scaled(recipe, state, grads), _scaled(recipe, state, other)
    warm = state.updates > 0
    return state.replace(noise=lane_noise.add_pair(state.noise, *pair, factors, alone, warm))

  due = (index % recipe.probe_every == 0) & any_lane(alone)
  return jax.lax.cond(due, probe, _same, state)
