"""Optimizers with per-lane hyperparameters, schedules on examples seen, and scaling rules."""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree
from ml_collections import ConfigDict

from bsjax import scaling_rules
from bsjax.choices import unknown

# (state, updates made so far) -> what the optimizer multiplies each coordinate of a gradient by.
Preconditioner = Callable[[PyTree, Int[Array, '']], PyTree]
Schedule = Callable[[Int[Array, '']], Float[Array, '']]
# Of an array's root mean square gradient: coordinates with less are scaled no further.
DAMPING = 0.1


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


def preconditioner(config: ConfigDict) -> Preconditioner | None:
  """Returns how `config.optimizer` scales each coordinate of a gradient, or None if it does not.

  For adam and adamw diag(1 / (sqrt(v / (1 - b2^t)) + eps)) after t updates, for rmsprop
  diag(1 / sqrt(v + eps)), both damped: v counts as at least `DAMPING`^2 times its mean over the
  array. A unit that has been silent so far has v = 0, and undamped the first example that wakes it
  would carry the whole sum. Before the first update all v are zero and the scaling means nothing.
  lars and lamb scale whole layers by the ratio of parameter to update norms, which this leaves out:
  none is given for them.
  """
  return PRECONDITIONERS.get(config.name, lambda c: None)(config)


def _adam_preconditioner(c: ConfigDict) -> Preconditioner:
  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    correction = 1 - c.b2 ** jnp.maximum(updates, 1).astype(jnp.float32)
    scale = lambda v: 1 / (jnp.sqrt(_damped(v) / correction) + c.eps)
    return jax.tree.map(scale, optax.tree_utils.tree_get(opt_state, 'nu'))

  return scaling


def _damped(v: Float[Array, '...']) -> Float[Array, '...']:
  return jnp.maximum(v, DAMPING**2 * v.mean())


def _rmsprop_preconditioner(c: ConfigDict) -> Preconditioner:
  def scaling(opt_state: PyTree, updates: Int[Array, '']) -> PyTree:
    scale = lambda v: jax.lax.rsqrt(_damped(v) + c.eps)
    return jax.tree.map(scale, optax.tree_utils.tree_get(opt_state, 'nu'))

  return scaling


PRECONDITIONERS = {
  'adam': _adam_preconditioner,
  'adamw': _adam_preconditioner,
  'rmsprop': _rmsprop_preconditioner,
}


def _with_l2(c: ConfigDict, base: optax.GradientTransformation) -> optax.GradientTransformation:
  """Adds weight decay to the gradient, as the classical L2 penalty does."""
  if c.weight_decay == 0:
    return base
  return optax.chain(optax.add_decayed_weights(c.weight_decay, _decayed(c)), base)


def _decayed(c: ConfigDict) -> Callable[[PyTree], PyTree]:
  """A mask of what decays: kernels (two axes or more), or everything with `decay_all`."""
  return lambda params: jax.tree.map(lambda x: bool(c.decay_all or x.ndim > 1), params)


def create_schedule(config: ConfigDict, total_examples: int, train_examples: int) -> Schedule:
  """Returns `config.schedule` as the factor on the peak learning rate, by examples seen.

  `total_examples` is the length of training and `train_examples` of an epoch. Durations are in
  examples, so lanes of all batch sizes go through the schedule together.
  """
  warmup = round(config.warmup_epochs * train_examples)
  main = SCHEDULES[config.name](config, total_examples, warmup)
  if not warmup:
    return main
  return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warmup), main], [warmup])


def _step(config: ConfigDict, total: int, warmup: int) -> Schedule:
  drops = {round(share * total) - warmup: config.factor for share in config.boundaries}
  return optax.piecewise_constant_schedule(1.0, drops)


# A schedule is one function: (config, total examples, warm-up examples) -> factor of examples seen.
SCHEDULES = {
  'constant': lambda config, total, warmup: lambda examples: jnp.ones(()),
  'cosine': lambda config, total, warmup: optax.cosine_decay_schedule(1.0, total - warmup),
  'step': _step,
}


def scaled_learning_rate(config: ConfigDict, learning_rate: float, batch_size: int) -> float:
  """Returns the learning rate of a batch size, from the one given at the base batch size.

  `config` is that of `config.scaling`, with one rule.
  """
  return scaling_rules.scaled(config.rule, learning_rate, batch_size, config.base_batch_size)


def learning_rates_of(config: ConfigDict, batch_size: int) -> list[float]:
  """Returns the learning rates of a batch size in a study: those of all its scaling rules."""
  given = config.scaling
  return scaling_rules.rates(given.rule, config.learning_rates, batch_size, given.base_batch_size)


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
