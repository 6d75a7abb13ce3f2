"""The loss along lines and planes through parameters: random slices, and from lane to lane."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.evaluate import Sums, evaluate
from bsjax.engine.lanes import LaneSpec, LaneState

LINE = np.linspace(-1.0, 1.0, 41)
PLANE = np.linspace(-1.0, 1.0, 11)  # of either direction
BETWEEN = np.linspace(-1.0, 2.0, 25)  # 0: the first lane, 1: the second


def filter_normalized(direction: PyTree, params: PyTree) -> PyTree:
  """Scales every filter of a direction to the norm of the parameters' filter.

  Li et al. 2018 (arXiv:1712.09913, section 4): d_f |w_f| / |d_f|. A filter is all weights into one
  output unit: a column of a Dense kernel [in, out], the [height, width, in] of an output channel of
  a Conv kernel. Parameters with one axis, biases and those of normalization layers, get zeros.
  """

  def scaled(d: Array, w: Array) -> Array:
    if w.ndim < 2:
      return jnp.zeros_like(w)
    return d * _filter_norms(w) / jnp.maximum(_filter_norms(d), jnp.finfo(d.dtype).tiny)

  return jax.tree.map(scaled, direction, params)


def _filter_norms(x: Float[Array, '*inputs output']) -> Float[Array, '*ones output']:
  return jnp.sqrt(jnp.sum(x**2, axis=tuple(range(x.ndim - 1)), keepdims=True))


def random_direction(key: Key[Array, ''], params: PyTree) -> PyTree:
  """A normal direction, a key for every leaf, with the filter norms of the parameters."""
  leaves, structure = jax.tree.flatten(params)
  draws = [
    jax.random.normal(jax.random.fold_in(key, i), leaf.shape) for i, leaf in enumerate(leaves)
  ]
  return filter_normalized(jax.tree.unflatten(structure, draws), params)


def random_slice(
  spec: LaneSpec,
  batch_size: int,
  state: LaneState,
  keys: Key[Array, ' axis'],
  points: Float[Array, 'point axis'],
  *splits: DeviceSplit,
) -> dict[str, Sums]:
  """Both `splits` at w + sum over axes of point * direction, with the lane's running statistics.

  One key for each axis: one for a line, two for a plane. The directions are not made orthogonal;
  random ones nearly are.
  """
  directions = [random_direction(keys[i], state.params) for i in range(len(keys))]

  def at(point: Array) -> dict[str, Sums]:
    params = jax.tree.map(
      lambda w, *d: w + sum(x * axis for x, axis in zip(point, d, strict=True)),
      state.params,
      *directions,
    )
    evaluation = evaluate(spec, batch_size, dataclasses.replace(state, params=params), *splits)
    return {'train': evaluation.train, 'val': evaluation.validation}

  return jax.lax.map(at, points)


def interpolate(
  spec: LaneSpec,
  batch_size: int,
  first: LaneState,
  second: LaneState,
  alphas: Float[Array, ' point'],
  *splits: DeviceSplit,
) -> dict[str, Sums]:
  """Both `splits` at (1 - alpha) first + alpha second (Goodfellow et al. 2015, Keskar et al. 2017).

  With BatchNorm the statistics are estimated on the first at every point: those of either end, and
  any mean of them, belong to other parameters.
  """

  def at(alpha: Array) -> dict[str, Sums]:
    params = jax.tree.map(lambda a, b: (1 - alpha) * a + alpha * b, first.params, second.params)
    evaluation = evaluate(spec, batch_size, dataclasses.replace(first, params=params), *splits)
    if sums := evaluation.reestimated:
      return {'train': sums['train'], 'val': sums['validation']}
    return {'train': evaluation.train, 'val': evaluation.validation}

  return jax.lax.map(at, alphas)
