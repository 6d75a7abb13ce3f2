"""How an optimizer scales each coordinate of a gradient, where it does."""

from collections.abc import Callable, Collection

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


def preconditioner(config: ConfigDict, varied: Collection[str] = ()) -> Preconditioner | None:
  """Returns how `config.optimizer` scales each coordinate of a gradient, or None if it does not.

  For adam and adamw diag(1 / (sqrt(v / (1 - b2^t)) + eps)) after t updates, for rmsprop
  diag(1 / sqrt(v + eps)), both damped: v counts as at least `DAMPING`^2 times its mean over the
  array. A unit that has been silent so far has v = 0, and undamped the first example that wakes it
  would carry the whole sum. Before the first update all v are zero and the scaling means nothing.
  lars and lamb scale whole layers by the ratio of parameter to update norms, and lion steps by
  signs, which this leaves out: none is given for them. The keys `varied` of the config are read
  from the optimizer's state, where lanes have values of their own.
  """
  form = OPTIMIZERS[config.name].preconditioner
  return FORMS[form](config, varied) if form else None


def _adam_preconditioner(config: ConfigDict, varied: Collection[str]) -> Preconditioner:
  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    b2, eps = (_value(config, name, varied, opt_state) for name in ('b2', 'eps'))
    correction = 1 - b2 ** jnp.maximum(updates, 1).astype(jnp.float32)
    return jax.tree.map(
      lambda v: 1 / (jnp.sqrt(_damped(v) / correction) + eps),
      optax.tree_utils.tree_get(opt_state, 'nu'),
    )

  return scaling


def _value(
  config: ConfigDict, name: str, varied: Collection[str], opt_state: PyTree
) -> float | Float[Array, '']:
  """A hyperparameter that is called the same in the config and by the optimizer."""
  return opt_state.hyperparams[name] if name in varied else config[name]


def _damped(v: Float[Array, '...']) -> Float[Array, '...']:
  return jnp.maximum(v, DAMPING**2 * v.mean())


def _rmsprop_preconditioner(config: ConfigDict, varied: Collection[str]) -> Preconditioner:
  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    eps = _value(config, 'eps', varied, opt_state)
    squares = optax.tree_utils.tree_get(opt_state, 'nu')
    return jax.tree.map(lambda v: jax.lax.rsqrt(_damped(v) + eps), squares)

  return scaling


# By the name that the entry of an optimizer gives.
FORMS: dict[str, Callable[[ConfigDict, Collection[str]], Preconditioner]] = {
  'adam': _adam_preconditioner,
  'rmsprop': _rmsprop_preconditioner,
}
