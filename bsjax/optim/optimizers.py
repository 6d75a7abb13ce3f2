"""Optimizers whose hyperparameters are data, so that every lane of a program can have its own."""

import inspect
import pkgutil
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import jax
import optax
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

from bsjax.optim.entries import OPTIMIZERS


def create(
  config: ConfigDict, varied: Collection[str] = ()
) -> optax.GradientTransformationExtraArgs:
  """Returns the optimizer of `config.optimizer`, its hyperparameters held in its state.

  Because `state.hyperparams` is data, every lane of one compiled program can have its own; the
  learning rate there is what `with_learning_rate` puts in before each update, with what else lanes
  differ in: the keys `varied` of the config.
  """
  entry = OPTIMIZERS[config.name]
  function = pkgutil.resolve_name(entry.source)
  names = dict(entry.hyperparameters)
  apart = 'weight_decay' in varied and 'weight_decay' not in names.values()
  l2 = 0.0 if apart or 'weight_decay' in names else config.weight_decay

  def mask(params: PyTree) -> PyTree:  # what decays: arrays of two axes or more, or all
    return jax.tree.map(lambda x: bool(config.decay_all or x.ndim > 1), params)

  fixed = dict.fromkeys(entry.masks, mask)
  fixed |= {'nesterov': config.nesterov} if entry.nesterov else {}

  def make(**hyperparameters: Any) -> optax.GradientTransformation:
    decay = hyperparameters.pop('weight_decay') if apart else l2
    optimizer = function(**hyperparameters, **fixed)
    decays = apart or bool(l2)
    return optax.chain(optax.add_decayed_weights(decay, mask), optimizer) if decays else optimizer

  names |= {'weight_decay': 'weight_decay'} if apart else {}
  values = {'learning_rate': 0.0} | {k: config[key] for k, key in names.items()}
  # inject_hyperparams takes the names of what it holds from the signature.
  arguments = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in values]
  vars(make)['__signature__'] = inspect.Signature(arguments)
  return optax.inject_hyperparams(make)(**values)


def with_learning_rate(
  opt_state: PyTree,
  learning_rate: Float[Array, ''],
  values: Mapping[str, Float[Array, '']] = MappingProxyType({}),
) -> PyTree:
  """Returns the optimizer state with the learning rate of the coming update, and other values.

  `values` are those that lanes differ in, by the optimizer's arguments.
  """
  hyperparams = {**opt_state.hyperparams, **values, 'learning_rate': learning_rate}
  return opt_state._replace(hyperparams=hyperparams)


def arguments(name: str) -> dict[str, str]:
  """Key of `config.optimizer` -> the argument of the optimizer of a name that it is."""
  by_key = {key: argument for argument, key in OPTIMIZERS[name].hyperparameters.items()}
  return {'weight_decay': 'weight_decay', **by_key}
