"""The loss that sharpness is measured on: a mean over given examples, in evaluation mode.

Every derivative is a sum over chunks of examples, divided once, so that the memory is that of a
chunk and not that of all examples.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from bsjax.data import stream
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.lanes import LaneSpec, LaneState, evaluation_losses


class Objective(NamedTuple):
  """A function of parameters, with what is needed of its derivatives."""

  value: Callable[[PyTree], Float[Array, '']]
  gradient: Callable[[PyTree], PyTree]
  hvp: Callable[[PyTree, PyTree], PyTree]  # (params, vector) -> Hessian times vector


def mean_over_chunks(
  loss_sum: Callable[[PyTree, PyTree], Float[Array, '']], chunks: PyTree, count: int
) -> Objective:
  """Returns sum over chunks of `loss_sum(params, chunk)`, divided by `count`.

  `chunks` are arrays `[chunk, ...]`. Each derivative is taken chunk by chunk: the derivative of the
  whole sum would keep what reverse differentiation needs of every chunk at once.
  """

  def mean(of_chunk: Callable[[PyTree], PyTree]) -> PyTree:
    like = jax.eval_shape(of_chunk, jax.tree.map(lambda x: x[0], chunks))
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)

    def add(sums: PyTree, chunk: PyTree) -> tuple[PyTree, None]:
      return jax.tree.map(jnp.add, sums, of_chunk(chunk)), None

    return jax.tree.map(lambda x: x / count, jax.lax.scan(add, zero, chunks)[0])

  gradient = jax.grad(loss_sum)

  def hvp(params: PyTree, vector: PyTree) -> PyTree:
    def along(chunk: PyTree) -> PyTree:
      return jax.jvp(lambda p: gradient(p, chunk), (params,), (vector,))[1]

    return mean(along)

  return Objective(
    value=lambda params: mean(lambda chunk: loss_sum(params, chunk)),
    gradient=lambda params: mean(lambda chunk: gradient(params, chunk)),
    hvp=hvp,
  )


def lane_objective(
  spec: LaneSpec, state: LaneState, examples: DeviceSplit, chunk_size: int
) -> Objective:
  """Returns a lane's mean loss over `examples`, without augmentation or weight decay.

  BatchNorm uses the lane's running statistics, which are constants here: every example's loss is
  then its own, and nothing in the lane changes.
  """
  count = examples.labels.shape[0]

  def loss_sum(params: PyTree, chunk: tuple[Array, ...]) -> Float[Array, '']:
    images, labels, counted = chunk
    variables = {'params': params, 'batch_stats': state.batch_stats}
    inputs = stream.normalize(images, spec.mean, spec.std)
    losses = evaluation_losses(spec, variables, inputs, labels)
    return jnp.where(counted, losses, 0.0).sum()

  return mean_over_chunks(loss_sum, _chunks(examples, min(chunk_size, count)), count)


def _chunks(examples: DeviceSplit, size: int) -> tuple[Array, Array, Array]:
  """Images, labels and which of them count, `[chunk, example, ...]`: the last chunk is filled."""
  count = examples.labels.shape[0]

  def cut(x: Array) -> Array:
    filled = jnp.pad(x, [(0, -count % size)] + [(0, 0)] * (x.ndim - 1))
    return filled.reshape(-1, size, *x.shape[1:])

  return cut(examples.images), cut(examples.labels), cut(jnp.ones(count, bool))
