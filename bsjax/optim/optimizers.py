"""Optimizers with per-lane hyperparameters, schedules on examples seen, and scaling rules."""

import itertools
import math
from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

from bsjax.config.errors import unknown
from bsjax.optim.schedules import SCHEDULES
from bsjax.plan import scaling_rules


def create(config: ConfigDict) -> optax.GradientTransformationExtraArgs:
  """Returns the optimizer of `config.optimizer`, its hyperparameters held in its state.

  Because `state.hyperparams` is data, every lane of one compiled program can have its own; the
  learning rate there is what `with_learning_rate` puts in before each update.
  """
  hyperparameters, make = OPTIMIZERS[config.name](config)
  return optax.inject_hyperparams(make)(learning_rate=0.0, **hyperparameters)


def with_learning_rate(opt_state: PyTree, learning_rate: Float[Array, '']) -> PyTree:
  """Returns the optimizer state with the learning rate of the coming update."""
  hyperparams = {**opt_state.hyperparams, 'learning_rate': learning_rate}
  return opt_state._replace(hyperparams=hyperparams)


def _sgd(c: ConfigDict):
  def make(learning_rate, momentum):
    return _with_l2(c, optax.sgd(learning_rate, momentum, nesterov=c.nesterov))

  return {'momentum': c.momentum}, make


def _adam(c: ConfigDict):
  def make(learning_rate, b1, b2, eps):
    return _with_l2(c, optax.adam(learning_rate, b1, b2, eps, nesterov=c.nesterov))

  return {'b1': c.b1, 'b2': c.b2, 'eps': c.eps}, make


def _adamw(c: ConfigDict):
  def make(learning_rate, b1, b2, eps, weight_decay):
    return optax.adamw(
      learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=_decayed(c), nesterov=c.nesterov
    )

  return {'b1': c.b1, 'b2': c.b2, 'eps': c.eps, 'weight_decay': c.weight_decay}, make


def _rmsprop(c: ConfigDict):
  def make(learning_rate, decay, eps, momentum):
    return _with_l2(c, optax.rmsprop(learning_rate, decay, eps, momentum=momentum))

  return {'decay': c.rmsprop_decay, 'eps': c.eps, 'momentum': c.rmsprop_momentum}, make


def _lars(c: ConfigDict):
  def make(learning_rate, momentum, weight_decay, trust_coefficient):
    return optax.lars(
      learning_rate,
      weight_decay,
      _decayed(c),
      trust_coefficient,
      trust_ratio_mask=_decayed(c),
      momentum=momentum,
      nesterov=c.nesterov,
    )

  hyperparameters = {'momentum': c.momentum, 'weight_decay': c.weight_decay}
  return {**hyperparameters, 'trust_coefficient': c.trust_coefficient}, make


def _lamb(c: ConfigDict):
  def make(learning_rate, b1, b2, eps, weight_decay):
    return optax.lamb(learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=_decayed(c))

  return {'b1': c.b1, 'b2': c.b2, 'eps': c.eps, 'weight_decay': c.weight_decay}, make


# An optimizer is one function: config -> (its hyperparameters, how to make it from them).
OPTIMIZERS = {
  'sgd': _sgd,
  'adam': _adam,
  'adamw': _adamw,
  'rmsprop': _rmsprop,
  'lars': _lars,
  'lamb': _lamb,
}


def _with_l2(c: ConfigDict, base: optax.GradientTransformation) -> optax.GradientTransformation:
  """Adds weight decay to the gradient, as the classical L2 penalty does."""
  if c.weight_decay == 0:
    return base
  return optax.chain(optax.add_decayed_weights(c.weight_decay, _decayed(c)), base)


def _decayed(c: ConfigDict) -> Callable[[PyTree], PyTree]:
  """A mask of what decays: kernels (two axes or more), or everything with `decay_all`."""
  return lambda params: jax.tree.map(lambda x: bool(c.decay_all or x.ndim > 1), params)


def problems(config: ConfigDict) -> list[str]:
  """Lists what is wrong with the optimizer, schedule and scaling keys of a study."""
  found = []
  names = (('optimizer.name', config.optimizer.name, OPTIMIZERS),)
  names += (('schedule.name', config.schedule.name, SCHEDULES),)
  found += [unknown(*name) for name in names if name[1] not in name[2]]
  c = config.optimizer
  for key in ('momentum', 'b1', 'b2', 'rmsprop_decay', 'rmsprop_momentum'):
    if not 0 <= c[key] < 1:
      found.append(f'optimizer.{key}={c[key]} must be at least 0 and below 1')
  for key, low in (('eps', 0), ('weight_decay', 0), ('trust_coefficient', 0)):
    if not low <= c[key] < math.inf:
      found.append(f'optimizer.{key}={c[key]} must be finite and at least {low}')
  found += scaling_rules.problems(config.scaling.rule, config.scaling.base_batch_size)
  return found + _schedule_problems(config)


def _schedule_problems(config: ConfigDict) -> list[str]:
  found = []
  schedule, shares = config.schedule, tuple(config.schedule.boundaries)
  ends = schedule.warmup_epochs / config.epochs if config.epochs > 0 else 0.0
  if schedule.warmup_epochs < 0 or ends >= 1:
    found.append(
      f'schedule.warmup_epochs={schedule.warmup_epochs} must be at least 0 and below '
      f'epochs={config.epochs}'
    )
  elif schedule.name == 'step' and not _rising((ends, *shares, 1.0)):
    found.append(
      f'schedule.boundaries={shares} must be rising shares of training, above {ends:.3g} (0, or '
      'the end of the warm-up) and below 1'
    )
  if not 0 < schedule.factor < math.inf:
    found.append(f'schedule.factor={schedule.factor} must be finite and above 0')
  return found


def _rising(values: tuple) -> bool:
  numbers = all(isinstance(value, int | float) for value in values)
  return numbers and all(a < b for a, b in itertools.pairwise(values))
