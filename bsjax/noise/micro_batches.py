"""The noise scale from the squared norms of micro-batch gradients, and of their mean."""

import jax.numpy as jnp
from jaxtyping import PyTree

from bsjax.noise import estimators
from bsjax.noise.estimators import Measurement, Scalar
from bsjax.noise.online import Draw


def init(like: PyTree) -> Scalar:
  """The sum of squared norms over no micro-batches."""
  return jnp.zeros((), jnp.float32)


def micro_batch(sq_norms: Scalar, grads: PyTree, draw: Draw) -> Scalar:
  """Adds the squared norm of one micro-batch's gradient."""
  sq_norm = estimators.tree_sq_norm(grads)
  return jnp.where(draw.count == 1, sq_norm, sq_norms + sq_norm)


def update(sq_norms: Scalar, mean_grads: PyTree, draw: Draw) -> Measurement:
  """What the micro-batches of an update, two or more, say with their mean."""
  mean_sq = estimators.tree_sq_norm(mean_grads)
  return estimators.from_variances(
    spread=sq_norms / draw.count - mean_sq,
    big_sq=mean_sq,
    small_factor=draw.micro_factor,
    big_factor=draw.factor(0, draw.count),
  )


def pair(grads_a: PyTree, grads_b: PyTree, draw: Draw) -> Measurement:
  """What two micro-batches say; their difference loses less to rounding than that of squares."""
  return estimators.from_pair(grads_a, grads_b, draw.micro_factor, draw.factor(0, 2))
