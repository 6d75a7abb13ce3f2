"""Loss and metrics of a lane over whole splits, in evaluation mode: sums and counts, by class."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Int, Key, Num, PyTree

from bsjax.data import stream
from bsjax.engine.device_axis import over_shares, own_share
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.lanes import LaneSpec, LaneState, count_of, training_outputs
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


def evaluate(
  spec: LaneSpec, batch_size: int, state: LaneState, train: DeviceSplit, validation: DeviceSplit
) -> Evaluation:
  """Evaluates one lane on both splits, `batch_size` examples at a time."""
  splits, empty = {'train': train, 'validation': validation}, _empty(spec, state, train)
  sums = {name: _sums(spec, state, split, batch_size, empty) for name, split in splits.items()}
  reestimated = {}
  if state.batch_stats:
    fresh = state.replace(batch_stats=reestimate(spec, state, train, batch_size))
    reestimated = {
      name: _sums(spec, fresh, split, batch_size, empty) for name, split in splits.items()
    }
  finite = jax.tree.map(lambda x: jnp.isfinite(x).all(), state.params)
  return Evaluation(
    **sums, reestimated=reestimated, finite=jnp.stack(jax.tree.leaves(finite)).all()
  )


def _sums(
  spec: LaneSpec, state: LaneState, split: DeviceSplit, batch_size: int, empty: Sums
) -> Sums:
  size = min(batch_size, count_of(split.images))
  batches = -(-count_of(split.images) // size)
  # Devices that share a lane take as many batches each; those beyond the split count nothing.
  begin, mine = own_share(0, spec.shares * -(-batches // spec.shares), spec.shares)

  def add(sums: Sums, first: Int[Array, '']) -> tuple[Sums, None]:
    return jax.tree.map(jnp.add, sums, _sums_of(spec, state, *_batch(split, first, size))), None

  sums = jax.lax.scan(add, empty, (begin + jnp.arange(mine)) * size)[0]
  return over_shares(jax.lax.psum, sums, spec.shares)


def _empty(spec: LaneSpec, state: LaneState, split: DeviceSplit) -> Sums:
  """The sums over no examples."""
  shapes = jax.eval_shape(lambda: _sums_of(spec, state, *_batch(split, jnp.int32(0), 1)))
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def _sums_of(
  spec: LaneSpec,
  state: LaneState,
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
  for metric, totals in sums.class_metrics.items():
    recall = np.asarray(totals, np.float64) / np.maximum(class_count, 1)
    columns[f'{name}_balanced_{metric}'] = float(recall[present].mean())
    if name.endswith('val'):
      pairs = zip(recall, present, strict=True)
      columns[f'{name}_class_{metric}'] = [float(x) if counted else None for x, counted in pairs]
  return columns


def _batch(
  split: DeviceSplit, first: Int[Array, ''], size: int
) -> tuple[Inputs, Targets, Bool[Array, ' batch']]:
  """Returns a batch from `first` on, and which of its examples no batch before it had.

  The last batch is moved back to end with the split, so every batch is full.
  """
  start = jnp.minimum(first, count_of(split.images) - size)
  images, labels = jax.tree.map(
    lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), (split.images, split.labels)
  )
  return images, labels, start + jnp.arange(size) >= first


def reestimate(spec: LaneSpec, state: LaneState, train: DeviceSplit, batch_size: int) -> PyTree:
  """Returns BatchNorm statistics of the training split at the lane's parameters.

  Means and second moments are averaged over batches (Hoffer et al. 2017 and others call the
  practice re-estimated or "precise" statistics); a shorter last batch is left out.
  """
  own = hasattr(spec.model, 'training_outputs')  # from outside
  model = spec.model if own else spec.model.clone(batch_norm_momentum=0.0)
  of_batch = own_statistics if own else training_outputs
  size = min(batch_size, count_of(train.images))
  batches = count_of(train.images) // size
  variables = {'params': state.params, 'batch_stats': state.batch_stats}

  def add(sums: PyTree, first: Int[Array, '']) -> tuple[PyTree, None]:
    images, _, _ = _batch(train, first, size)

    def keys() -> Key[Array, ' 1']:  # for a model with dropout, the same in all lanes
      return jax.random.fold_in(jax.random.key(spec.seed), first)[None]

    _, batch_stats = of_batch(model, variables, _inputs(spec, images), keys)
    return jax.tree.map(jnp.add, sums, _moments(batch_stats)), None

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
  return jax.tree.map(function, tree, is_leaf=_is_layer)


def _is_layer(node: PyTree) -> bool:
  return isinstance(node, dict) and set(node) == {'mean', 'var'}


def _inputs(spec: LaneSpec, images: Inputs) -> Inputs:
  return stream.normalize(images, spec.mean, spec.std)
