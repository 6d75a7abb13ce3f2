"""Loss and accuracy of a lane over whole splits, in evaluation mode: sums and counts, by class."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Num, PyTree

from bsjax.data import stream
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.lanes import LaneState, Recipe


@struct.dataclass
class Sums:
  """What a split's examples add up to; divide by counts once, on the host."""

  loss: Any  # float32
  correct: Any  # int32
  count: Any  # int32
  class_correct: Any  # int32 [class]
  class_count: Any  # int32 [class]


@struct.dataclass
class Evaluation:
  """What is known of a lane at one moment."""

  train: Sums
  validation: Sums
  # With BatchNorm, the same with statistics re-estimated on the training split at these parameters:
  # running averages lag, the more so the fewer updates a lane has made (a confound of batch size).
  reestimated: dict[str, Sums]
  finite: Any  # bool, whether all parameters are


def evaluate(
  recipe: Recipe, batch_size: int, state: LaneState, train: DeviceSplit, validation: DeviceSplit
) -> Evaluation:
  """Evaluates one lane on both splits, `batch_size` examples at a time."""
  splits = {'train': train, 'validation': validation}
  sums = {name: _sums(recipe, state, split, batch_size) for name, split in splits.items()}
  reestimated = {}
  if state.batch_stats:
    fresh = state.replace(batch_stats=reestimate(recipe, state, train, batch_size))
    reestimated = {name: _sums(recipe, fresh, split, batch_size) for name, split in splits.items()}
  finite = jax.tree.map(lambda x: jnp.isfinite(x).all(), state.params)
  return Evaluation(
    **sums, reestimated=reestimated, finite=jnp.stack(jax.tree.leaves(finite)).all()
  )


def _sums(recipe: Recipe, state: LaneState, split: DeviceSplit, batch_size: int) -> Sums:
  size = min(batch_size, split.labels.shape[0])
  variables = {'params': state.params, 'batch_stats': state.batch_stats}

  def add(sums: Sums, first: Int[Array, '']) -> tuple[Sums, None]:
    images, labels, new = _batch(split, first, size)
    logits = recipe.model.apply(variables, _inputs(recipe, images), train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    correct = logits.argmax(-1) == labels
    member = new[:, None] & (labels[:, None] == jnp.arange(logits.shape[-1]))
    return Sums(
      loss=sums.loss + jnp.where(new, losses, 0.0).sum(),
      correct=sums.correct + (new & correct).sum(dtype=jnp.int32),
      count=sums.count + new.sum(dtype=jnp.int32),
      class_correct=sums.class_correct + (member & correct[:, None]).sum(0, dtype=jnp.int32),
      class_count=sums.class_count + member.sum(0, dtype=jnp.int32),
    ), None

  zero, by_class = jnp.zeros((), jnp.int32), jnp.zeros(recipe.model.num_classes, jnp.int32)
  empty = Sums(jnp.zeros((), jnp.float32), zero, zero, by_class, by_class)
  firsts = jnp.arange(0, split.labels.shape[0], size)
  return jax.lax.scan(add, empty, firsts)[0]


def _batch(
  split: DeviceSplit, first: Int[Array, ''], size: int
) -> tuple[Num[Array, 'batch height width channel'], Int[Array, ' batch'], Bool[Array, ' batch']]:
  """Returns a batch from `first` on, and which of its examples no batch before it had.

  The last batch is moved back to end with the split, so every batch is full.
  """
  start = jnp.minimum(first, split.labels.shape[0] - size)
  images = jax.lax.dynamic_slice_in_dim(split.images, start, size)
  labels = jax.lax.dynamic_slice_in_dim(split.labels, start, size)
  return images, labels, start + jnp.arange(size) >= first


def reestimate(recipe: Recipe, state: LaneState, train: DeviceSplit, batch_size: int) -> PyTree:
  """Returns BatchNorm statistics of the training split at the lane's parameters.

  Means and second moments are averaged over batches (Hoffer et al. 2017 and others call the
  practice re-estimated or "precise" statistics); a shorter last batch is left out.
  """
  model = recipe.model.clone(batch_norm_momentum=0.0)
  size = min(batch_size, train.labels.shape[0])
  batches = train.labels.shape[0] // size
  variables = {'params': state.params, 'batch_stats': state.batch_stats}

  def add(sums: PyTree, first: Int[Array, '']) -> tuple[PyTree, None]:
    images, _, _ = _batch(train, first, size)
    _, changed = model.apply(
      variables, _inputs(recipe, images), train=True, mutable=['batch_stats']
    )
    return jax.tree.map(jnp.add, sums, _moments(changed['batch_stats'])), None

  zero = jax.tree.map(jnp.zeros_like, state.batch_stats)
  sums = jax.lax.scan(add, zero, jnp.arange(batches) * size)[0]
  return _statistics(jax.tree.map(lambda x: x / batches, sums))


def _moments(statistics: PyTree) -> PyTree:
  """Turns every {mean, var} into {mean, var + mean^2}: moments can be averaged, variances not."""
  return _map_statistics(
    lambda s: {'mean': s['mean'], 'var': s['var'] + s['mean'] ** 2}, statistics
  )


def _statistics(moments: PyTree) -> PyTree:
  return _map_statistics(
    lambda s: {'mean': s['mean'], 'var': jnp.maximum(s['var'] - s['mean'] ** 2, 0.0)}, moments
  )


def _map_statistics(function, tree: PyTree) -> PyTree:
  is_layer = lambda node: isinstance(node, dict) and set(node) == {'mean', 'var'}
  return jax.tree.map(function, tree, is_leaf=is_layer)


def _inputs(
  recipe: Recipe, images: Num[Array, 'batch height width channel']
) -> Float[Array, 'batch height width channel']:
  return stream.normalize(images, recipe.mean, recipe.std)
