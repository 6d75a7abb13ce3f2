"""Loss and metrics of a lane over whole splits, in evaluation mode: sums and counts, by class."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Int, Key, Num, PyTree

from bsjax.data import stream
from bsjax.engine.averages import AveragedState
from bsjax.engine.device_axis import over_shares, own_share
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.lanes import (
  LaneSpec,
  LaneState,
  Weights,
  count_of,
  training_outputs,
)
from bsjax.models.own import own_statistics
from bsjax.models.task import Inputs, Outputs, Targets, Task


@struct.dataclass
class Sums:
  """What a split's examples add up to; divide by counts once, on the host (`means`)."""

  loss: Any  # float32
  metrics: Any  # {name: int32 or float32}
  count: Any  # int32
  # Of metrics that are taken by class; without any, no classes are counted.
  class_metrics: Any  # {name: int32 or float32 [class]}
  class_count: Any  # int32 [class], or None


@struct.dataclass
class Evaluation:
  """What is known of a lane at one moment."""

  train: Sums
  validation: Sums
  # With BatchNorm, the same with statistics re-estimated on the training split at these parameters:
  # running averages lag, the more so the fewer updates a lane has made (a confound of batch size).
  reestimated: dict[str, Sums]
  finite: Any  # bool, whether all parameters are
  # Where weights are averaged, the same of their average; BatchNorm's statistics are re-estimated
  # for it, as the running ones are of other weights.
  averaged: dict[str, Sums] = struct.field(default_factory=dict)


@struct.dataclass
class Chunk:
  """Neighbours of a split that stays on the host, and which batches are taken from them."""

  split: DeviceSplit
  start: Any  # int32, the first of these examples
  first: Any  # int32, where the first batch begins
  batches: Any  # int32
  examples: Any  # int32, of the whole split


def evaluate(
  spec: LaneSpec, batch_size: int, state: LaneState, train: DeviceSplit, validation: DeviceSplit
) -> Evaluation:
  """Evaluates one lane on both splits, `batch_size` examples at a time."""
  splits, empty = {'train': train, 'validation': validation}, empty_sums(spec, state, train)

  def sums(weights: Weights, name: str) -> Sums:
    return sums_over(spec, weights, splits[name], batch_size, empty)

  def statistics(weights: Weights) -> PyTree:
    return reestimate(spec, weights, train, batch_size)

  return evaluated(state, sums, statistics, finite(state.params))


def evaluated(
  state: LaneState,
  sums: Callable[[Weights, str], Sums],
  statistics: Callable[[Weights], PyTree],
  finite: Bool[Array, '...'],
) -> Evaluation:
  """Returns what sums over the splits of these names say of a lane, or of lanes `[device, seat]`.

  `statistics` re-estimates those of BatchNorm.
  """
  names = 'train', 'validation'
  plain, reestimated, of_average = {name: sums(state, name) for name in names}, {}, {}
  if state.batch_stats:
    fresh = state.replace(batch_stats=statistics(state))
    reestimated = {name: sums(fresh, name) for name in names}
  if isinstance(state, AveragedState):
    average = state.averaged()
    if state.batch_stats:
      average = average.replace(batch_stats=statistics(average))
    of_average = {name: sums(average, name) for name in names}
  return Evaluation(**plain, reestimated=reestimated, finite=finite, averaged=of_average)


def finite(params: PyTree) -> Bool[Array, '']:
  """Whether all parameters are."""
  return jnp.stack(jax.tree.leaves(jax.tree.map(lambda x: jnp.isfinite(x).all(), params))).all()


def sums_over(
  spec: LaneSpec, state: Weights, split: DeviceSplit, batch_size: int, empty: Sums
) -> Sums:
  """What the examples of a split add up to."""
  size = min(batch_size, count_of(split.images))
  batches = -(-count_of(split.images) // size)
  # Devices that share a lane take as many batches each; those beyond the split count nothing.
  begin, mine = own_share(0, spec.shares * -(-batches // spec.shares), spec.shares)

  def add(sums: Sums, first: Int[Array, '']) -> tuple[Sums, None]:
    return jax.tree.map(jnp.add, sums, _sums_of(spec, state, *_batch(split, first, size))), None

  sums = jax.lax.scan(add, empty, (begin + jnp.arange(mine)) * size)[0]
  return over_shares(jax.lax.psum, sums, spec.shares)


def add_chunk(spec: LaneSpec, batch_size: int, state: Weights, sums: Sums, chunk: Chunk) -> Sums:
  """Returns the sums of a lane after the batches of a chunk, in the order of a split at once."""
  size = min(batch_size, count_of(chunk.split.images))

  def add(number: Int[Array, ''], sums: Sums) -> Sums:
    batch = _batch(chunk.split, chunk.first + number * size, size, chunk)
    return jax.tree.map(jnp.add, sums, _sums_of(spec, state, *batch))

  return jax.lax.fori_loop(0, chunk.batches, add, sums)


def empty_sums(spec: LaneSpec, state: Weights, split: DeviceSplit) -> Sums:
  """The sums over no examples."""
  shapes = jax.eval_shape(lambda: _sums_of(spec, state, *_batch(split, jnp.int32(0), 1)))
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def _sums_of(
  spec: LaneSpec,
  state: Weights,
  images: Inputs,
  targets: Targets,
  new: Bool[Array, ' batch'],
) -> Sums:
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  outputs = spec.model.apply(variables, _inputs(spec, images), train=False)
  return _batch_sums(spec.task, outputs, targets, new)


def _batch_sums(task: Task, outputs: Outputs, targets: Targets, new: Bool[Array, ' batch']) -> Sums:
  """What the examples of a batch add up to that no batch before it had."""
  values = {name: task.measure(name, outputs, targets) for name in task.metrics}
  by_class = [name for name, metric in task.metrics.items() if metric.by_class]
  member = None
  if by_class:
    member = new[:, None] & (targets[:, None] == jnp.arange(outputs.shape[-1]))
  return Sums(
    loss=jnp.where(new, task.loss(outputs, targets), 0.0).sum(),
    metrics={name: _sum(new, value) for name, value in values.items()},
    count=new.sum(dtype=jnp.int32),
    class_metrics={name: _sum(member, values[name][:, None]) for name in by_class},
    class_count=None if member is None else member.sum(0, dtype=jnp.int32),
  )


def _sum(
  counted: Bool[Array, ' batch *class'],
  values: Num[Array, ' batch *one'] | Bool[Array, ' batch *one'],
) -> Num[Array, '*class']:
  """Sums over the examples that count; of whole numbers exactly."""
  if values.dtype == jnp.bool_:
    return (counted & values).sum(0, dtype=jnp.int32)
  kind = jnp.int32 if jnp.issubdtype(values.dtype, jnp.integer) else jnp.float32
  return jnp.where(counted, values, 0).sum(0, dtype=kind)


def means(name: str, sums: Sums) -> dict[str, Any]:
  """Returns the columns of records for a split of that name: the mean loss, and metrics.

  The balanced metric is the mean over the classes that the split has; those of each class, with
  None for one it has not, are given of validation splits.
  """
  count = int(sums.count)
  columns = {f'{name}_loss': float(sums.loss) / count}
  for metric, total in sums.metrics.items():
    columns[f'{name}_{metric}'] = np.asarray(total).item() / count
  if sums.class_count is None:
    return columns
  class_count = np.asarray(sums.class_count)
  present = class_count > 0
  seen = int(np.count_nonzero(present))
  for metric, totals in sums.class_metrics.items():
    recall = np.asarray(totals, np.float64) / np.maximum(class_count, 1)
    columns[f'{name}_balanced_{metric}'] = float(np.add.reduce(recall[present]) / seen)
    if name.endswith('val'):
      pairs = zip(recall.tolist(), present, strict=True)
      columns[f'{name}_class_{metric}'] = [x if counted else None for x, counted in pairs]
  return columns


def _batch(
  split: DeviceSplit, first: Int[Array, ''], size: int, chunk: Chunk | None = None
) -> tuple[Inputs, Targets, Bool[Array, ' batch']]:
  """Returns a batch from `first` on, and which of its examples no batch before it had.

  The last batch is moved back to end with the split, so every batch is full.
  """
  start = jnp.minimum(first, (chunk.examples if chunk else count_of(split.images)) - size)
  place = start - chunk.start if chunk else start
  images, labels = jax.tree.map(
    lambda x: jax.lax.dynamic_slice_in_dim(x, place, size), (split.images, split.labels)
  )
  return images, labels, start + jnp.arange(size) >= first


def reestimate(spec: LaneSpec, state: Weights, train: DeviceSplit, batch_size: int) -> PyTree:
  """Returns BatchNorm statistics of the training split at the lane's parameters.

  Means and second moments are averaged over batches (Hoffer et al. 2017 and others call the
  practice re-estimated or "precise" statistics); a shorter last batch is left out.
  """
  size = min(batch_size, count_of(train.images))
  batches = count_of(train.images) // size

  def add(sums: PyTree, first: Int[Array, '']) -> tuple[PyTree, None]:
    images, _, _ = _batch(train, first, size)
    return jax.tree.map(jnp.add, sums, _moments_of(spec, state, images, first)), None

  zero = jax.tree.map(jnp.zeros_like, state.batch_stats)
  sums = jax.lax.scan(add, zero, jnp.arange(batches) * size)[0]
  return statistics_of(sums, batches)


def add_moments(
  spec: LaneSpec, batch_size: int, state: Weights, sums: PyTree, chunk: Chunk
) -> PyTree:
  """Returns sums of moments after the batches of a chunk; `statistics_of` makes use of them."""
  size = min(batch_size, count_of(chunk.split.images))

  def add(number: Int[Array, ''], sums: PyTree) -> PyTree:
    first = chunk.first + number * size
    images, _, _ = _batch(chunk.split, first, size, chunk)
    return jax.tree.map(jnp.add, sums, _moments_of(spec, state, images, first))

  return jax.lax.fori_loop(0, chunk.batches, add, sums)


def _moments_of(spec: LaneSpec, state: Weights, images: Inputs, first: Int[Array, '']) -> PyTree:
  """What BatchNorm sees of a batch that begins at example `first`."""
  own_outputs = hasattr(spec.model, 'training_outputs')  # from outside
  model = spec.model if own_outputs else spec.model.clone(batch_norm_momentum=0.0)
  of_batch = own_statistics if own_outputs else training_outputs
  variables = {'params': state.params, 'batch_stats': state.batch_stats}

  def keys() -> Key[Array, ' 1']:  # for a model with dropout, the same in all lanes
    return jax.random.fold_in(jax.random.key(spec.seed), first)[None]

  return _moments(of_batch(model, variables, _inputs(spec, images), keys)[1])


def statistics_of(sums: PyTree, batches: int) -> PyTree:
  """Returns BatchNorm statistics from the sums of the moments of so many batches."""
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
  return jax.tree.map(function, tree, is_leaf=_is_layer)


def _is_layer(node: PyTree) -> bool:
  return isinstance(node, dict) and set(node) == {'mean', 'var'}


def _inputs(spec: LaneSpec, images: Inputs) -> Inputs:
  return stream.normalize(images, spec.mean, spec.std)
