"""The gradient noise scale in a JAX training loop of one's own.

Where gradients of micro-batches are at hand, `observe` adds what those of one update say to a
window. Where they come one by one, as with gradient accumulation, `accumulate` wraps an optimizer
and keeps the window in its state. `estimate` reads windows, on the host.
"""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from bsjax.noise import estimators, pooling
from bsjax.noise.estimators import Scalar, Window
from bsjax.stats.estimate import Estimate


def observe(
  grads: PyTree[Float[Array, '...']],
  examples: int,
  window: Window | None = None,
  population: int | None = None,
  axis_name: str | None = None,
) -> Window:
  """Returns a window with what the micro-batches of one update say; pure, to be jitted.

  Args:
    grads: mean gradients of micro-batches of one size at the same parameters, `[micro, ...]` in
      every leaf. With `axis_name` those of one replica, whose leading axis may have the length 1.
    examples: how many examples a micro-batch has.
    window: what earlier updates said; None: nothing yet. A new one now and then (each epoch, say)
      tells how the noise scale changes.
    population: the number of training examples, where an epoch draws each of them once; None: they
      are drawn with replacement, or are too many for it to matter.
    axis_name: the axis of `pmap`, `shard_map` or `vmap` along which replicas lie.

  Raises ValueError for a single micro-batch, which cannot tell noise from gradient.
  """
  counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(grads)}
  if len(counts) != 1 or None in counts:
    raise ValueError(
      f'grads have the leading axes {sorted(map(str, counts))}: give every leaf one entry per'
      ' micro-batch first, as jnp.stack or jax.vmap(grad) make it'
    )
  count = counts.pop()
  mean = jax.tree.map(lambda leaf: leaf.astype(jnp.float32).mean(0), grads)
  sq_norm = estimators.tree_sq_norm(grads) / count
  if axis_name is not None:
    mean, sq_norm = jax.lax.pmean((mean, sq_norm), axis_name)
    count *= jax.lax.psum(1, axis_name)
  if count < 2:
    raise ValueError(
      'grads hold one micro-batch, which cannot tell noise from gradient: cut the batch into two'
      ' or more, or name the axis of replicas as axis_name'
    )
  measurement = estimators.from_micro_batches(
    sq_norm, estimators.tree_sq_norm(mean), count, examples, population
  )
  return estimators.observe(start() if window is None else window, measurement, 1)


def start() -> Window:
  """Returns a window of no updates, for loops that carry one through `jax.lax.scan` or `jit`."""
  return estimators.zero_window()


def estimate(*windows: Window, confidence: float = 0.95) -> Estimate:
  """Returns the noise scale, in examples, over one or more windows of a run, with its interval.

  B_simple = tr(Sigma) / |G|^2 as the ratio of means, with Fieller's interval from the spread of
  measurements within windows; `unbounded` where the data allow any value above `low`. Leaves of a
  window with a leading axis (of lanes or replicas) are to be indexed first.
  """
  summaries = [estimators.window_summary(jax.device_get(window)) for window in windows]
  return pooling.measured_interval(summaries, confidence)


class AccumulationState(NamedTuple):
  """State of `accumulate`; read its `window` with `estimate`."""

  window: Window
  inner: PyTree
  grad_sum: PyTree
  sq_norm_sum: Scalar
  count: Int[Array, '']  # micro-batches since the last update


def accumulate(
  optimizer: optax.GradientTransformation,
  micro_batches: int,
  examples: int,
  population: int | None = None,
) -> optax.GradientTransformationExtraArgs:
  """Returns an optimizer that updates once in `micro_batches` calls, and measures the noise scale.

  It takes the place of `optax.MultiSteps`: every call gets the mean gradient of one micro-batch of
  `examples` examples, and returns updates of zero until the last one, which returns those of
  `optimizer` for the mean. `population` as for `observe`.
  """
  if micro_batches < 2:
    raise ValueError(
      f'micro_batches={micro_batches}: it takes two or more per update to tell noise from gradient'
    )
  inner = optax.with_extra_args_support(optimizer)

  def init(params: PyTree) -> AccumulationState:
    zeros = jax.tree.map(lambda x: jnp.zeros_like(x, jnp.float32), params)
    zero = jnp.zeros((), jnp.float32)
    window = estimators.zero_window()
    return AccumulationState(window, inner.init(params), zeros, zero, jnp.zeros((), jnp.int32))

  def update(
    grads: PyTree, state: AccumulationState, params: PyTree | None = None, **extra: Any
  ) -> tuple[PyTree, AccumulationState]:
    grad_sum = jax.tree.map(operator.add, state.grad_sum, grads)
    sq_norm_sum = state.sq_norm_sum + estimators.tree_sq_norm(grads)
    gathered = state._replace(grad_sum=grad_sum, sq_norm_sum=sq_norm_sum, count=state.count + 1)

    def wait() -> tuple[PyTree, AccumulationState]:
      return jax.tree.map(jnp.zeros_like, grads), gathered

    def step() -> tuple[PyTree, AccumulationState]:
      mean = jax.tree.map(lambda total: total / micro_batches, grad_sum)
      measurement = estimators.from_micro_batches(
        sq_norm_sum / micro_batches,
        estimators.tree_sq_norm(mean),
        micro_batches,
        examples,
        population,
      )
      mean = jax.tree.map(lambda x, grad: x.astype(grad.dtype), mean, grads)
      updates, inner_state = inner.update(mean, state.inner, params, **extra)
      updates = jax.tree.map(lambda x, grad: x.astype(grad.dtype), updates, grads)
      return updates, AccumulationState(
        estimators.observe(state.window, measurement, 1),
        inner_state,
        jax.tree.map(jnp.zeros_like, grad_sum),
        jnp.zeros_like(sq_norm_sum),
        jnp.zeros_like(state.count),
      )

    return jax.lax.cond(gathered.count == micro_batches, step, wait)

  return optax.GradientTransformationExtraArgs(init, update)
