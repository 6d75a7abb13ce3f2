"""Training runs as lanes of one program: what they share, their state, and their gradients."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped

from bsjax.data import stream
from bsjax.data.dataset import InputShape
from bsjax.data.stream import stream_key, trial_key
from bsjax.engine.device_axis import over_shares, own_share
from bsjax.models.task import CLASSIFICATION, Inputs, Outputs, Targets, Task
from bsjax.noise import online
from bsjax.optim import freezing
from bsjax.optim.optimizers import with_learning_rate
from bsjax.optim.preconditioners import Preconditioner
from bsjax.optim.schedules import Schedule

# What a trial's key is folded with to draw its parameters, and that of its stream to draw what the
# model does to an example, such as dropout; probe.py and stream.py have others.
INIT, MODEL = 0, 4


@dataclasses.dataclass(frozen=True)
class LaneSpec:
  """What all lanes of a group share, fixed when their program is compiled."""

  model: Any  # nn.Module, frozen_features.Suffix or models.own.OwnModel
  optimizer: optax.GradientTransformationExtraArgs
  schedule: Schedule  # factor on the learning rate, of examples seen
  seed: int
  micro_batch: int
  train_examples: int
  mean: np.ndarray | None  # per channel, in raw pixel units; None: inputs are no images
  std: np.ndarray | None
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
  task: Task = CLASSIFICATION
  shares: int = 1  # devices that each train on a share of every micro-batch
  # Key of `config.optimizer` -> argument of the optimizer, of those that lanes may differ in.
  arguments: Mapping[str, str] = dataclasses.field(default_factory=dict)
  average_half_life: float = 0.0  # examples; of the average of weights; 0: there is none

  @property
  def population(self) -> int | None:
    """How many examples an epoch draws from without replacement; None where it does with it."""
    return None if self.with_replacement else self.train_examples


# Fields of the structs below are arrays of one lane inside the program; they have leading axes
# `lane` on the host and `device lane` on the devices. They carry no shape annotations because jax
# rebuilds the structs around other things too.


@struct.dataclass
class LaneParams:
  """What makes a lane itself: data, not shape, so lanes of any batch size share a program."""

  learning_rate: Any  # float32
  accumulation: Any  # int32, ticks per update
  trial: Any  # int32
  # float32, by key of `config.optimizer`: those besides the learning rate that lanes differ in.
  hyperparameters: Any = struct.field(default_factory=dict)
  live: Any = True  # bool; where lanes run one after the other, one that is not costs nothing


@struct.dataclass
class Weights:
  """What a model computes with."""

  params: PyTree
  batch_stats: PyTree


@struct.dataclass
class LaneState(Weights):
  """Everything a lane carries from one tick to the next."""

  opt_state: PyTree
  grad_sum: PyTree  # of the micro-batches since the last update; where there is none, meaningless
  count: Any  # int32, how many those are
  updates: Any  # int32, made so far
  noise: online.LaneNoise


@struct.dataclass
class Source:
  """The training set on a device, and the orders in which trials go through it."""

  images: Any  # the inputs: uint8 [example, height, width, channel], or somebody's own
  labels: Any  # the targets: int32 [example], or somebody's own
  orders: Any  # int32 [trial, epoch, place], examples
  first_epoch: Any  # int32, the epoch of orders[:, 0]


MicroBatch = tuple[PyTree[Shaped[Array, 'micro ...']], PyTree[Shaped[Array, 'micro ...']]]


def blank(shape: InputShape) -> Inputs:
  """One example of zeros, as a model gets it."""
  if isinstance(shape, tuple):
    return jnp.zeros((1, *shape))
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)


def init(spec: LaneSpec, lane_params: LaneParams, shape: InputShape) -> LaneState:
  """Returns a lane before its first tick."""
  key = jax.random.fold_in(trial_key(spec.seed, lane_params.trial), INIT)
  variables = spec.model.init(key, blank(shape), train=False)
  params = variables['params']
  trainable, _ = freezing.split(params, spec.trainable)
  return LaneState(
    params=params,
    batch_stats=variables.get('batch_stats', {}),
    opt_state=spec.optimizer.init(trainable),
    grad_sum=jax.tree.map(jnp.zeros_like, trainable),
    count=jnp.zeros((), jnp.int32),
    updates=jnp.zeros((), jnp.int32),
    noise=online.empty(spec.preconditioner is not None, trainable),
  )


def read(
  spec: LaneSpec,
  lane_params: LaneParams,
  source: Source,
  start: Int[Array, ''],
  size: int | None = None,
) -> MicroBatch:
  """Returns the examples of the lane's trial from position `start` on, ready for the model.

  They are `size` examples, without it this device's share of a micro-batch.
  """
  if size is None:
    start, size = own_share(start, spec.micro_batch, spec.shares)
  images, labels = stream.micro_batch(
    source.images,
    source.labels,
    source.orders[lane_params.trial],
    source.first_epoch,
    start,
    size,
  )
  if spec.mean is None:  # no images
    return images, labels
  key = stream_key(spec.seed, lane_params.trial, spec.stream)
  images = stream.augment(key, start, images, spec.crop, spec.flip)
  return stream.normalize(images, spec.mean, spec.std), labels


def read_ticks(
  spec: LaneSpec, lane_params: LaneParams, source: Source, first: Int[Array, ''], count: int
) -> MicroBatch:
  """Returns the micro-batches of `count` ticks from tick `first` on, `[count, micro, ...]`.

  Read at once, and the same as if read one by one.
  """
  if spec.shares > 1:
    starts = (first + jnp.arange(count)) * spec.micro_batch
    return jax.vmap(lambda start: read(spec, lane_params, source, start))(starts)
  batches = read(spec, lane_params, source, first * spec.micro_batch, count * spec.micro_batch)
  return jax.tree.map(lambda x: x.reshape(count, spec.micro_batch, *x.shape[1:]), batches)


def gradients(
  spec: LaneSpec,
  state: Weights,
  trial: Int[Array, ''],
  start: Int[Array, ''],
  images: Inputs,
  targets: Targets,
) -> tuple[PyTree, PyTree]:
  """Returns the mean gradient over a micro-batch and the batch statistics after it.

  The gradient is that of the trainable parameters: nothing is propagated back beyond them. Trial
  and position of the micro-batch's first example say what a model with dropout draws. Images and
  targets are this device's share of it; what is returned is of the whole.
  """
  return loss_and_gradients(spec, state, trial, start, images, targets)[1:]


def loss_and_gradients(
  spec: LaneSpec,
  state: Weights,
  trial: Int[Array, ''],
  start: Int[Array, ''],
  images: Inputs,
  targets: Targets,
) -> tuple[Float[Array, ''], PyTree, PyTree]:
  """Returns the mean loss of a micro-batch, and what `gradients` does."""
  trainable, frozen = freezing.split(state.params, spec.trainable)
  first, _ = own_share(start, spec.micro_batch, spec.shares)
  keys = functools.partial(example_keys, spec, trial, first, count_of(images))

  def mean_loss(trainable: PyTree) -> tuple[Float[Array, ''], PyTree]:
    params = freezing.join(trainable, frozen)
    variables = {'params': params, 'batch_stats': state.batch_stats}
    outputs, batch_stats = training_outputs(spec.model, variables, images, keys)
    return spec.task.loss(outputs, targets).mean(), batch_stats

  (loss, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(trainable)
  loss, grads = over_shares(jax.lax.pmean, (loss, grads), spec.shares)
  return loss, grads, batch_stats


def step(
  spec: LaneSpec,
  params: PyTree,
  opt_state: PyTree,
  grads: PyTree,
  rate: Float[Array, ''],
  hyperparameters: Mapping[str, Float[Array, '']] = MappingProxyType({}),
) -> tuple[PyTree, PyTree]:
  """Returns parameters and optimizer state after a step of a learning rate along mean gradients.

  `hyperparameters` are those of the lane that others may have otherwise.
  """
  values = {spec.arguments[key]: value for key, value in hyperparameters.items()}
  opt_state = with_learning_rate(opt_state, rate, values)
  trainable, frozen = freezing.split(params, spec.trainable)
  updates, opt_state = spec.optimizer.update(grads, opt_state, trainable)
  return freezing.join(optax.apply_updates(trainable, updates), frozen), opt_state


def example_keys(
  spec: LaneSpec, trial: Int[Array, ''], start: Int[Array, ''], count: int
) -> Key[Array, ' {count}']:
  """Returns what the model draws from for each example of a trial's stream, from `start` on.

  Lanes of one trial have the same keys whatever their batch size and micro-batch.
  """
  key = jax.random.fold_in(stream_key(spec.seed, trial, spec.stream), MODEL)
  return jax.vmap(lambda position: jax.random.fold_in(key, position))(start + jnp.arange(count))


def training_outputs(
  model: Any,
  variables: PyTree,
  images: Inputs,
  keys: Callable[[], Key[Array, ' micro']],
) -> tuple[Outputs, PyTree]:
  """Returns a model's outputs in training mode, and its batch statistics after them.

  A model that asks for a key 'dropout' is given `keys()`, and draws for each example apart. With
  BatchNorm, where examples meet, it draws for the whole micro-batch from the first key.
  """
  if hasattr(model, 'training_outputs'):  # one of somebody's own
    return model.training_outputs(variables, images, keys)

  def of_batch(rngs: dict[str, Array] | None) -> tuple[Outputs, PyTree]:
    outputs, changed = model.apply(
      variables, images, train=True, mutable=['batch_stats'], rngs=rngs
    )
    return outputs, changed.get('batch_stats', {})

  def of_example(image: Array, key: Array) -> Array:
    return model.apply(variables, image[None], train=True, rngs={'dropout': key})[0]

  try:
    return of_batch(None)
  except flax.errors.InvalidRngError:  # while it is traced: the model asks for a key
    if variables['batch_stats']:
      return of_batch({'dropout': keys()[0]})
    return jax.vmap(of_example)(images, keys()), {}


def count_of(examples: Inputs) -> int:
  """How many examples there are."""
  return len(jax.tree.leaves(examples)[0])


def shapes_of(examples: PyTree, count: int) -> PyTree:
  """As many such examples, inputs or targets, as shapes."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), examples)


def evaluation_losses(
  spec: LaneSpec,
  variables: PyTree,
  images: Inputs,
  targets: Targets,
) -> Float[Array, ' example']:
  """Returns the losses of single examples in evaluation mode."""
  return spec.task.loss(spec.model.apply(variables, images, train=False), targets)
