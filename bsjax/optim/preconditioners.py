"""How an optimizer scales each coordinate of a gradient, where it does."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree
from ml_collections import ConfigDict

from bsjax.optim.entries import OPTIMIZERS

# (state, updates made so far) -> what the optimizer multiplies each coordinate of a gradient by.
Preconditioner = Callable[[PyTree, Int[Array, '']], PyTree]


# Of an array's root mean square gradient: coordinates with less are scaled no further.
DAMPING = 0.1


def preconditioner(config: ConfigDict) -> Preconditioner | None:
  """Returns how `config.optimizer` scales each coordinate of a gradient, or None if it does not.

  For adam and adamw diag(1 / (sqrt(v / (1 - b2^t)) + eps)) after t updates, for rmsprop
  diag(1 / sqrt(v + eps)), both damped: v counts as at least `DAMPING`^2 times its mean over the
  array. A unit that has been silent so far has v = 0, and undamped the first example that wakes it
  would carry the whole sum. Before the first update all v are zero and the scaling means nothing.
  lars and lamb scale whole layers by the ratio of parameter to update norms, and lion steps by
  signs, which this leaves out: none is given for them.
  """
  form = OPTIMIZERS[config.name].preconditioner
  return FORMS[form](config) if form else None


def _adam_preconditioner(c: ConfigDict) -> Preconditioner:
  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    correction = 1 - c.b2 ** jnp.maximum(updates, 1).astype(jnp.float32)
    return jax.tree.map(
      lambda v: 1 / (jnp.sqrt(_damped(v) / correction) + c.eps),
      optax.tree_utils.tree_get(opt_state, 'nu'),
    )

  return scaling


def _damped(v: Float[Array, '...']) -> Float[Array, '...']:
  return jnp.maximum(v, DAMPING**2 * v.mean())


def _rmsprop_preconditioner(c: ConfigDict) -> Preconditioner:
  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    squares = optax.tree_utils.tree_get(opt_state, 'nu')
    return jax.tree.map(lambda v: jax.lax.rsqrt(_damped(v) + c.eps), squares)

  return scaling


# By the name that the entry of an optimizer gives.
FORMS: dict[str, Callable[[ConfigDict], Preconditioner]] = {
  'adam': _adam_preconditioner,
  'rmsprop': _rmsprop_preconditioner,
}
