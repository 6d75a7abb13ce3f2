"""The training step of one setting run alone: on a whole batch, or gathered from micro-batches.

As a user of one batch size writes it: no lanes, no measurement of noise, the state given away to
the step, convolutions in XLA's own form, which outside of loops is the fastest (ops.py).
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.stages import Compiled
from jaxtyping import Array, Bool, Float, Float32, Key, PyTree
from ml_collections import ConfigDict

from bsjax import models, ops, optimizer, stream
from bsjax.data import Dataset
from bsjax.optimizer import with_learning_rate


@dataclasses.dataclass(frozen=True)
class Training:
  """What a step is made of, whatever its batch size."""

  model: nn.Module
  optimizer: optax.GradientTransformationExtraArgs
  mean: Float32[np.ndarray, ' channel']
  std: Float32[np.ndarray, ' channel']
  crop: int  # pixels
  flip: bool
  image_shape: tuple[int, int, int]
  trainable: tuple[
    str, ...
  ]  # patterns of the paths of parameters, such as 'Dense_*/kernel'; (): all


NUMBER, FLAG = jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.bool_)


@struct.dataclass
class State:
  """What a step takes and gives back."""

  trained: PyTree  # the parameters that the optimizer updates
  frozen: PyTree  # those that stay as they are: neither gradient nor optimizer state
  batch_stats: PyTree
  opt_state: PyTree


@struct.dataclass
class Batch:
  """Images as they are stored, 8 bits a pixel, and the place of the first in the stream."""

  images: Any  # uint8 [example, height, width, channel]
  labels: Any  # int32 [example]
  start: Any  # int32, what augmentation draws from


def create(
  config: ConfigDict, dataset: Dataset, trainable: Sequence[str] = (), image_size: int = 0
) -> Training:
  """Returns the training of a study's model; `image_size` above 0 is that of another side.

  Raises ValueError where `trainable` matches no parameter.
  """
  *sides, channels = dataset.image_shape
  found = Training(
    model=models.create(config.model, dataset.num_classes, conv=ops.conv('native')),
    optimizer=optimizer.create(config.optimizer),
    mean=dataset.mean,
    std=dataset.std,
    crop=config.data.crop,
    flip=config.data.flip,
    image_shape=(*([image_size] * 2 if image_size else sides), channels),
    trainable=tuple(trainable),
  )
  if not state_shapes(found).trained:
    raise ValueError(f'trainable={found.trainable} matches no parameter of {config.model.name}')
  return found


def init(training: Training, key: Key[Array, '']) -> State:
  """Returns the state before the first step."""
  images = jnp.zeros((1, *training.image_shape))
  variables = training.model.init(key, images, train=False)
  flat = flatten_dict(variables['params'], sep='/')
  trained = {path: x for path, x in flat.items() if _trains(training, path)}
  frozen = {path: x for path, x in flat.items() if path not in trained}
  return State(
    trained=trained,
    frozen=frozen,
    batch_stats=variables.get('batch_stats', {}),
    opt_state=training.optimizer.init(trained),
  )


def _trains(training: Training, path: str) -> bool:
  patterns = training.trainable or ('*',)
  return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


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
  key = jax.random.key(0)
  images = stream.augment(key, batch.start, batch.images, training.crop, training.flip)
  images = stream.normalize(images, training.mean, training.std)

  def loss(trained: PyTree) -> tuple[Float[Array, ''], PyTree]:
    params = unflatten_dict({**state.frozen, **trained}, sep='/')
    variables = {'params': params, 'batch_stats': state.batch_stats}
    logits, changed = training.model.apply(variables, images, train=True, mutable=['batch_stats'])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    return losses.mean(), changed.get('batch_stats', {})

  grads, batch_stats = jax.grad(loss, has_aux=True)(state.trained)
  return grads, state.replace(batch_stats=batch_stats)


def _updated(training: Training, state: State, grads: PyTree, rate: Float[Array, '']) -> State:
  opt_state = with_learning_rate(state.opt_state, rate)
  updates, opt_state = training.optimizer.update(grads, opt_state, state.trained)
  return state.replace(trained=optax.apply_updates(state.trained, updates), opt_state=opt_state)


def compile_step(training: Training, size: int) -> Compiled:
  """The step of a batch size, for the first device, without running anything."""
  arguments = state_shapes(training), shapes(training, size), NUMBER
  return _compiled(functools.partial(step, training), arguments)


def compile_gather(training: Training, micro: int) -> Compiled:
  """The gathering step of a micro-batch, for the first device, without running anything."""
  state = state_shapes(training)
  arguments = (state, state.trained), shapes(training, micro), NUMBER, NUMBER, FLAG
  return _compiled(functools.partial(gather, training), arguments)


def shapes(training: Training, size: int) -> Batch:
  """A batch as shapes, however large."""
  shape = jax.ShapeDtypeStruct
  images, labels = shape((size, *training.image_shape), np.uint8), shape((size,), np.int32)
  return Batch(images, labels, shape((), np.int32))


def _compiled(function, arguments: tuple) -> Compiled:
  return jax.jit(function, donate_argnums=0).lower(*arguments).compile()
