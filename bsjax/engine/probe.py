"""The gradient noise of a lane from single examples: nothing of it depends on the lane's batches.

All gradients are those of the loss in evaluation mode, at the same parameters: what BatchNorm sees
is its running statistics, and each example's gradient is its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from bsjax.data import stream
from bsjax.data.stream import trial_key
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.lanes import LaneParams, LaneSpec, LaneState, count_of, evaluation_losses
from bsjax.models import convolution
from bsjax.models.task import Inputs, Targets
from bsjax.noise import entries, per_example

CHUNK = 32  # examples whose single gradients are held at a time
PROBE = 3  # what a trial's key is folded with to choose examples; see INIT, and stream.py


@struct.dataclass
class Probe:
  """Products of gradients at one moment of a lane, for `noise/exact.py` to make noise scales of."""

  products: Any  # {kind of length: Products}, values float32 [example]
  curvature: Any  # float32 [block block block], g_k' H_j g_l of blocks of examples; or None


def probe(
  spec: LaneSpec,
  examples: int,
  blocks: int,
  state: LaneState,
  lane_params: LaneParams,
  train: DeviceSplit,
  position: Int[Array, ''],
) -> Probe:
  """Measures a lane on `examples` training examples, drawn anew for each trial and position.

  With `blocks` above 0 also the products with the Hessian, of the gradients of so many blocks.
  """
  drawn = chosen(spec, examples, lane_params.trial, position)
  return probe_of(spec, examples, blocks, state, train, drawn)


def probe_of(
  spec: LaneSpec,
  examples: int,
  blocks: int,
  state: LaneState,
  train: DeviceSplit,
  drawn: Int[Array, ' {examples}'],
) -> Probe:
  """Measures a lane on the training examples at these places."""
  images, labels = jax.tree.map(lambda x: x[drawn], (train.images, train.labels))
  images = stream.normalize(images, spec.mean, spec.std)
  mean = _gradient(spec, state, images, labels)
  padded = jnp.arange(-(-examples // CHUNK) * CHUNK) % examples
  chunks = jax.tree.map(lambda x: x[padded].reshape(-1, CHUNK, *x.shape[1:]), (images, labels))
  model = spec.model
  if hasattr(model, 'conv'):  # whose gradient for each of many examples is one batched product
    model = model.clone(conv=convolution.conv('im2col'))
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  products_of = {}
  for kind, scaling in _scalings(spec, state).items():
    products = per_example.products(model, spec.task.loss, variables, mean, scaling, *chunks)
    products_of[kind] = jax.tree.map(lambda x: x[:examples], products)
  return Probe(products_of, _curvature(spec, blocks, state, images, labels) if blocks else None)


def chosen(
  spec: LaneSpec, examples: int, trial: Int[Array, ''], position: Int[Array, '']
) -> Int[Array, ' {examples}']:
  """The training examples that a trial's lanes are measured on at a position."""
  # Shuffled even if all are taken: blocks of a set that is sorted by class would each be one class.
  key = jax.random.fold_in(trial_key(spec.seed, trial), PROBE)
  order = jax.random.permutation(jax.random.fold_in(key, position), spec.train_examples)
  return order[:examples]


def _scalings(spec: LaneSpec, state: LaneState) -> dict[str, PyTree | None]:
  scalings = {entries.PLAIN: None}
  if spec.preconditioner is not None:
    # By the optimizer's own count, which begins anew with a fresh state of it, unlike `updates`.
    scaling = spec.preconditioner(state.opt_state, state.opt_state.count)
    scalings[entries.PRECONDITIONED] = scaling
  return scalings


def _loss(
  spec: LaneSpec, state: LaneState, params: PyTree, images: Inputs, targets: Targets
) -> Float[Array, '']:
  variables = {'params': params, 'batch_stats': state.batch_stats}
  return evaluation_losses(spec, variables, images, targets).mean()


def _gradient(
  spec: LaneSpec,
  state: LaneState,
  images: Inputs,
  labels: Targets,
) -> PyTree:
  """The mean gradient, from sums over chunks."""
  count = count_of(images)
  size = min(8 * CHUNK, count)
  whole = count // size * size

  def total(params: PyTree, images: Inputs, labels: Targets) -> Array:
    return count_of(images) * _loss(spec, state, params, images, labels)

  def add(sums: PyTree, chunk: tuple) -> tuple[PyTree, None]:
    return jax.tree.map(jnp.add, sums, jax.grad(total)(state.params, *chunk)), None

  chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, size, *x.shape[1:]), (images, labels))
  sums = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, state.params), chunks)[0]
  if whole < count:
    sums = add(sums, jax.tree.map(lambda x: x[whole:], (images, labels)))[0]
  return jax.tree.map(lambda x: x / count, sums)


def _curvature(
  spec: LaneSpec,
  blocks: int,
  state: LaneState,
  images: Inputs,
  labels: Targets,
) -> Float[Array, '{blocks} {blocks} {blocks}']:
  """g_k' H_j g_l, with the Hessian of the loss of block j; examples beyond whole blocks are left.

  One Hessian for each block, so that it can be independent of both gradients it stands between.
  """
  size = count_of(images) // blocks
  cut = jax.tree.map(
    lambda x: x[: blocks * size].reshape(blocks, size, *x.shape[1:]), (images, labels)
  )

  def gradient(params: PyTree, block: tuple) -> PyTree:
    return jax.grad(lambda params: _loss(spec, state, params, *block))(params)

  grads = jax.lax.map(lambda block: gradient(state.params, block), cut)

  def products(block: tuple) -> Float[Array, 'block block']:
    _, hessian_product = jax.linearize(lambda params: gradient(params, block), state.params)
    curved = jax.lax.map(hessian_product, grads)
    pairs = zip(jax.tree.leaves(grads), jax.tree.leaves(curved), strict=True)
    return sum(a.reshape(blocks, -1) @ b.reshape(blocks, -1).T for a, b in pairs)

  return jax.lax.map(products, cut)
