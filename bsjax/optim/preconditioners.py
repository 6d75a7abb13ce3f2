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
  form = FORMS.get(OPTIMIZERS[config.name].preconditioner)
  if form is None:
    return None

  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    squares = optax.tree_utils.tree_get(opt_state, 'nu')
    damped = jax.tree.map(lambda v: jnp.maximum(v, DAMPING**2 * v.mean()), squares)
    return jax.tree.map(lambda v: form(config, v, updates), damped)

  return scaling


def _adam(c: ConfigDict, v: Float[Array, '...'], updates: Int[Array, '']) -> Float[Array, '...']:
  correction = 1 - c.b2 ** jnp.maximum(updates, 1).astype(jnp.float32)
  return 1 / (jnp.sqrt(v / correction) + c.eps)


def _rmsprop(c: ConfigDict, v: Float[Array, '...'], _: Int[Array, '']) -> Float[Array, '...']:
  return jax.lax.rsqrt(v + c.eps)


FORMS = {'adam': _adam, 'rmsprop': _rmsprop}  # by the name that the entry of an optimizer gives
