"""Optimizers whose hyperparameters are data, so that every lane of a program can have its own."""

import functools
from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

from bsjax.optim.entries import OPTIMIZERS


def create(config: ConfigDict) -> optax.GradientTransformationExtraArgs:
  """Returns the optimizer of `config.optimizer`, its hyperparameters held in its state.

  Because `state.hyperparams` is data, every lane of one compiled program can have its own; the
  learning rate there is what `with_learning_rate` puts in before each update.
  """
  entry, mask = OPTIMIZERS[config.name], _decayed(config)
  make = entry.make(config, mask)
  if 'weight_decay' not in entry.hyperparameters and config.weight_decay:
    make = _with_l2(make, config.weight_decay, mask)
  hyperparameters = {name: config[key] for name, key in entry.hyperparameters.items()}
  return optax.inject_hyperparams(make)(learning_rate=0.0, **hyperparameters)


def with_learning_rate(opt_state: PyTree, learning_rate: Float[Array, '']) -> PyTree:
  """Returns the optimizer state with the learning rate of the coming update."""
  hyperparams = {**opt_state.hyperparams, 'learning_rate': learning_rate}
  return opt_state._replace(hyperparams=hyperparams)


def _with_l2(
  make: Callable[..., optax.GradientTransformation],
  weight_decay: float,
  mask: Callable[[PyTree], PyTree],
) -> Callable[..., optax.GradientTransformation]:
  """Adds weight decay to the gradient, as the classical L2 penalty does."""

  @functools.wraps(make)
  def make_with_l2(**hyperparameters):
    return optax.chain(optax.add_decayed_weights(weight_decay, mask), make(**hyperparameters))

  return make_with_l2


def _decayed(config: ConfigDict) -> Callable[[PyTree], PyTree]:
  """Returns a mask of what decays: arrays of two axes or more, or all with `decay_all`."""

  def mask(params: PyTree) -> PyTree:
    return jax.tree.map(lambda x: bool(config.decay_all or x.ndim > 1), params)

  return mask
