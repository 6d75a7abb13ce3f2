"""The training step of one setting run alone: on a whole batch, or gathered from micro-batches.

As a user of one batch size writes it: no lanes, no measurement of noise, the state given away to
the step, convolutions in XLA's own form, which outside of loops is the fastest (convolution.py).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.stages import Compiled
from jaxtyping import Array, Bool, Float, Key, PyTree
from ml_collections import ConfigDict

from bsjax.data import Dataset, Split, stream
from bsjax.engine import lanes
from bsjax.engine.lanes import LaneSpec, Weights
from bsjax.engine.spec import lane_spec
from bsjax.engine.strategies import STRATEGIES
from bsjax.optim import freezing
from bsjax.plan.lanes import StagePlan

NUMBER, FLAG = jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.bool_)


@dataclasses.dataclass(frozen=True)
class Training:
  """What a step is made of, whatever its batch size."""

  spec: LaneSpec  # of the lanes of the stage; here without micro-batches and measurements
  image_shape: tuple[int, int, int]


@struct.dataclass
class State(Weights):
  """What a step takes and gives back; only trainable parameters have an optimizer state."""

  opt_state: PyTree


@struct.dataclass
class Batch:
  """Images as they are stored, 8 bits a pixel, and the place of the first in the stream."""

  images: Any  # uint8 [example, height, width, channel]
  labels: Any  # int32 [example]
  start: Any  # int32, what augmentation draws from


def create(config: ConfigDict, dataset: Dataset, study: StagePlan) -> Training:
  """Returns the training of a stage: its model, trainable parameters, image size and augmentation.

  Raises ConfigError where the stage does not fit the model.
  """
  assert isinstance(dataset.train.images, np.ndarray)  # studies with other inputs are refused
  size, (height, width, channels) = study.stage.image_size, dataset.train.images.shape[1:]
  shape = (size, size, channels) if size else (height, width, channels)
  # As large as the images of the stage would be, without making them.
  images = np.broadcast_to(np.uint8(0), (len(dataset.train.labels), *shape))
  resized = dataclasses.replace(dataset, train=Split(images, dataset.train.labels))
  native = STRATEGIES['map-native']
  return Training(lane_spec(config, resized, study, study.groups[0], native), shape)


def init(training: Training, key: Key[Array, '']) -> State:
  """Returns the state before the first step."""
  spec, images = training.spec, jnp.zeros((1, *training.image_shape))
  variables = spec.model.init(key, images, train=False)
  params = variables['params']
  opt_state = spec.optimizer.init(trained(training, params))
  return State(params, variables.get('batch_stats', {}), opt_state)


def trained(training: Training, params: PyTree) -> PyTree:
  """The parameters that the optimizer updates."""
  return freezing.split(params, training.spec.trainable)[0]


def state_shapes(training: Training) -> State:
  """The state as shapes: nothing is computed."""
  return jax.eval_shape(functools.partial(init, training), jax.random.key(0))


def random_batch(training: Training, size: int) -> Batch:
  """A batch of noise, the same in every call: time and memory do not depend on what is seen."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (size, *training.image_shape), np.uint8)
  return Batch(images, np.zeros(size, np.int32), np.int32(0))


def step(training: Training, state: State, batch: Batch, rate: Float[Array, '']) -> State:
  """Takes an optimizer step on a whole batch."""
  grads, state = _gradients(training, state, batch)
  return _updated(training, state, grads, rate)


def gather(
  training: Training,
  carried: tuple[State, PyTree],
  batch: Batch,
  rate: Float[Array, ''],
  accumulation: Float[Array, ''],
  last: Bool[Array, ''],
) -> tuple[State, PyTree]:
  """Adds a micro-batch's gradient to the sum, and with the `last` of `accumulation` takes a step.

  `carried` is the state and the sum of gradients, zero where a batch begins and after it has ended.
  """
  state, grad_sum = carried
  grads, state = _gradients(training, state, batch)
  grad_sum = jax.tree.map(jnp.add, grad_sum, grads)

  def finish(state: State, grad_sum: PyTree) -> tuple[State, PyTree]:
    mean = jax.tree.map(lambda g: g / accumulation, grad_sum)
    return _updated(training, state, mean, rate), jax.tree.map(jnp.zeros_like, grad_sum)

  return jax.lax.cond(last, finish, lambda *same: same, state, grad_sum)


def _gradients(training: Training, state: State, batch: Batch) -> tuple[PyTree, State]:
  """The mean gradient over a batch, of what is trained, and the state with its statistics."""
  spec = training.spec
  images = stream.augment(jax.random.key(0), batch.start, batch.images, spec.crop, spec.flip)
  images = stream.normalize(images, spec.mean, spec.std)
  grads, batch_stats = lanes.gradients(spec, state, jnp.int32(0), batch.start, images, batch.labels)
  return grads, dataclasses.replace(state, batch_stats=batch_stats)


def _updated(training: Training, state: State, grads: PyTree, rate: Float[Array, '']) -> State:
  params, opt_state = lanes.step(training.spec, state.params, state.opt_state, grads, rate)
  return dataclasses.replace(state, params=params, opt_state=opt_state)


def compile_step(training: Training, size: int) -> Compiled:
  """The step of a batch size, for the first device, without running anything."""
  arguments = state_shapes(training), shapes(training, size), NUMBER
  return _compiled(functools.partial(step, training), arguments)


def compile_gather(training: Training, micro: int) -> Compiled:
  """The gathering step of a micro-batch, for the first device, without running anything."""
  state = state_shapes(training)
  carried = state, trained(training, state.params)
  arguments = carried, shapes(training, micro), NUMBER, NUMBER, FLAG
  return _compiled(functools.partial(gather, training), arguments)


def shapes(training: Training, size: int) -> Batch:
  """A batch as shapes, however large."""
  shape = jax.ShapeDtypeStruct
  images, labels = shape((size, *training.image_shape), np.uint8), shape((size,), np.int32)
  return Batch(images, labels, shape((), np.int32))


def _compiled(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Compiled:
  return jax.jit(function, donate_argnums=0).lower(*arguments).compile()
