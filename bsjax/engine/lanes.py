"""Training runs as lanes of one program: what they share, their state, and their gradients."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from bsjax.data import stream
from bsjax.data.stream import stream_key, trial_key
from bsjax.noise import online
from bsjax.optim import freezing
from bsjax.optim.preconditioners import Preconditioner
from bsjax.optim.schedules import Schedule

# What a trial's key is folded with to draw its parameters; stream.py draws example orders.
INIT = 0


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What all lanes of a group share, fixed when their program is compiled."""

  model: Any  # nn.Module, or frozen_features.Suffix
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
  measure_every: int  # ticks; of those updates that begin in so many, the first is measured
  with_replacement: bool = False  # how the sampler draws examples
  # Of a study with stages; positions below are examples seen since the stream at hand began.
  stream: int = 0  # its number
  trainable: frozenset[str] | None = None  # paths of parameters; None: all
  # Whether all lanes update in every tick, from the first to the last: no gradient is summed then.
  every_tick: bool = False

  @property
  def population(self) -> int | None:
    """How many examples an epoch draws from without replacement; None where it does with it."""
    return None if self.with_replacement else self.train_examples


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
  grad_sum: PyTree  # of the micro-batches since the last update; where there is none, meaningless
  count: Any  # int32, how many those are
  updates: Any  # int32, made so far
  noise: online.LaneNoise


@struct.dataclass
class Source:
  """The training set on a device, and the orders in which trials go through it."""

  images: Any  # uint8 [example, height, width, channel]
  labels: Any  # int32 [example]
  orders: Any  # int32 [trial, epoch, place], examples
  first_epoch: Any  # int32, the epoch of orders[:, 0]


MicroBatch = tuple[Float[Array, 'micro height width channel'], Int[Array, ' micro']]


def init(recipe: Recipe, setting: Setting, image_shape: tuple[int, int, int]) -> LaneState:
  """Returns a lane before its first tick."""
  key = jax.random.fold_in(trial_key(recipe.seed, setting.trial), INIT)
  variables = recipe.model.init(key, jnp.zeros((1, *image_shape)), train=False)
  params = variables['params']
  trainable, _ = freezing.split(params, recipe.trainable)
  return LaneState(
    params=params,
    batch_stats=variables.get('batch_stats', {}),
    opt_state=recipe.optimizer.init(trainable),
    grad_sum=jax.tree.map(jnp.zeros_like, trainable),
    count=jnp.zeros((), jnp.int32),
    updates=jnp.zeros((), jnp.int32),
    noise=online.empty(recipe.preconditioner is not None),
  )


def read(
  recipe: Recipe, setting: Setting, source: Source, start: Int[Array, ''], size: int | None = None
) -> MicroBatch:
  """Returns the examples of the lane's trial from position `start` on, ready for the model.

  They are `size` examples, without it a micro-batch.
  """
  images, labels = stream.micro_batch(
    source.images,
    source.labels,
    source.orders[setting.trial],
    source.first_epoch,
    start,
    size or recipe.micro_batch,
  )
  key = stream_key(recipe.seed, setting.trial, recipe.stream)
  images = stream.augment(key, start, images, recipe.crop, recipe.flip)
  return stream.normalize(images, recipe.mean, recipe.std), labels


def read_ticks(
  recipe: Recipe, setting: Setting, source: Source, first: Int[Array, ''], count: int
) -> tuple[Float[Array, '{count} micro height width channel'], Int[Array, '{count} micro']]:
  """Returns the micro-batches of `count` ticks from tick `first` on, `[count, micro, ...]`.

  Read at once, and the same as if read one by one.
  """
  batches = read(recipe, setting, source, first * recipe.micro_batch, count * recipe.micro_batch)
  split = lambda x: x.reshape(count, recipe.micro_batch, *x.shape[1:])
  return jax.tree.map(split, batches)


def gradients(
  recipe: Recipe,
  state: LaneState,
  images: Float[Array, 'micro height width channel'],
  labels: Int[Array, ' micro'],
) -> tuple[PyTree, PyTree]:
  """Returns the mean gradient over a micro-batch and the batch statistics after it.

  The gradient is that of the trainable parameters: nothing is propagated back beyond them.
  """
  trainable, frozen = freezing.split(state.params, recipe.trainable)

  def loss(trainable: PyTree) -> tuple[Float[Array, ''], PyTree]:
    params = freezing.join(trainable, frozen)
    variables = {'params': params, 'batch_stats': state.batch_stats}
    logits, changed = recipe.model.apply(variables, images, train=True, mutable=['batch_stats'])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), changed.get('batch_stats', {})

  return jax.grad(loss, has_aux=True)(trainable)
