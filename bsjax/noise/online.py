"""What a lane carries, from tick to tick, of its gradient noise: by two ways to measure lengths."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PyTree

from bsjax.noise import estimators
from bsjax.noise.estimators import Estimate, Window

# Lengths of gradients: as they are, and scaled as the optimizer scales them.
PLAIN, PRECONDITIONED = 'plain', 'preconditioned'


@struct.dataclass
class LaneNoise:
  """The squared norms gathered since the last update, and what updates said since the last reset.

  Dicts by kind of length; the preconditioned one is there for optimizers that scale coordinates.
  """

  micro_sq_norm: Any  # {kind: float32}, sum of |g|^2 over the micro-batches of this update
  micro_factor: Any  # float32, sum of their noise_scale.variance_factor
  windows: Any  # {kind: noise_scale.Window}


def empty(preconditioned: bool) -> LaneNoise:
  """Returns the noise of a lane before its first tick."""
  kinds = (PLAIN, PRECONDITIONED) if preconditioned else (PLAIN,)
  zero = jnp.zeros((), jnp.float32)
  return LaneNoise(
    micro_sq_norm=dict.fromkeys(kinds, zero),
    micro_factor=zero,
    windows={kind: estimators.zero_window() for kind in kinds},
  )


def scaled(grads: PyTree, preconditioner: PyTree | None) -> dict[str, PyTree]:
  """Returns the gradient in each kind of length: itself, and P g where there is a P.

  The preconditioner is that from before the batch: one that has seen the batch is correlated with
  it, and neither estimate would be unbiased.
  """
  if preconditioner is None:
    return {PLAIN: grads}
  return {PLAIN: grads, PRECONDITIONED: jax.tree.map(jnp.multiply, preconditioner, grads)}


def add_micro_batch(
  noise: LaneNoise, grads: dict[str, PyTree], factor: Float[Array, ''], first: Bool[Array, '']
) -> LaneNoise:
  """Adds the gradient of one micro-batch of the update at hand; its `first` drops earlier ones."""
  norms = {kind: estimators.tree_sq_norm(tree) for kind, tree in grads.items()}
  add = lambda sum, new: jnp.where(first, new, sum + new)
  return noise.replace(
    micro_sq_norm=jax.tree.map(add, noise.micro_sq_norm, norms),
    micro_factor=add(noise.micro_factor, factor),
  )


def add_update(
  noise: LaneNoise,
  grads: dict[str, PyTree],
  count: Int[Array, ''],
  factor: Float[Array, ''],
  warm: Bool[Array, ''],
) -> LaneNoise:
  """Adds what the `count` micro-batches of an update say, two or more, with mean gradient `grads`.

  `factor` is the variance factor of the mean; `warm` as in `_add`.
  """

  def estimate(kind: str) -> Estimate:
    big_sq = estimators.tree_sq_norm(grads[kind])
    return estimators.from_variances(
      spread=noise.micro_sq_norm[kind] / count - big_sq,
      big_sq=big_sq,
      small_factor=noise.micro_factor / count,
      big_factor=factor,
    )

  return _add(noise, estimate, warm)


def add_pair(
  noise: LaneNoise,
  grads_a: dict[str, PyTree],
  grads_b: dict[str, PyTree],
  factors: tuple[Float[Array, ''], Float[Array, '']],
  warm: Bool[Array, ''],
) -> LaneNoise:
  """Adds what two micro-batches at the same parameters say.

  `factors` are the variance factors of one and of both; `warm` as in `_add`.
  """
  estimate = lambda kind: estimators.from_pair(grads_a[kind], grads_b[kind], *factors)
  return _add(noise, estimate, warm)


def _add(noise: LaneNoise, estimate: Callable[[str], Estimate], warm: Bool[Array, '']) -> LaneNoise:
  """`warm`: the optimizer has seen a gradient before this one, so its scaling means something."""
  weights = {PLAIN: jnp.bool_(True), PRECONDITIONED: warm}
  windows: dict[str, Window] = {
    kind: estimators.observe(window, estimate(kind), weights[kind])
    for kind, window in noise.windows.items()
  }
  return noise.replace(windows=windows)
