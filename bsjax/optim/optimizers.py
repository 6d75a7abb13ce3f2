"""Optimizers whose hyperparameters are data, so that every lane of a program can have its own."""

import inspect
import pkgutil
from typing import Any

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
  entry = OPTIMIZERS[config.name]
  function = pkgutil.resolve_name(entry.source)
  l2 = 0.0 if 'weight_decay' in entry.hyperparameters else config.weight_decay

  def mask(params: PyTree) -> PyTree:  # what decays: arrays of two axes or more, or all
    return jax.tree.map(lambda x: bool(config.decay_all or x.ndim > 1), params)

  fixed = dict.fromkeys(entry.masks, mask)
  fixed |= {'nesterov': config.nesterov} if entry.nesterov else {}

  def make(**hyperparameters: Any) -> optax.GradientTransformation:
    optimizer = function(**hyperparameters, **fixed)
    return optax.chain(optax.add_decayed_weights(l2, mask), optimizer) if l2 else optimizer

  values = {'learning_rate': 0.0} | {k: config[key] for k, key in entry.hyperparameters.items()}
  # inject_hyperparams takes the names of what it holds from the signature.
  arguments = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in values]
  make.__signature__ = inspect.Signature(arguments)
  return optax.inject_hyperparams(make)(**values)


def with_learning_rate(opt_state: PyTree, learning_rate: Float[Array, '']) -> PyTree:
  """Returns the optimizer state with the learning rate of the coming update."""
  hyperparams = {**opt_state.hyperparams, 'learning_rate': learning_rate}
  return opt_state._replace(hyperparams=hyperparams)
