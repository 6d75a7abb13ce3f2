"""Every optimizer and every schedule, once: how it is made, and all else that is asked of it.

A new one is a function and its entry here. Analysis and reports read the entries too, so what makes
an optimizer imports JAX and optax only when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

Mask = Callable[[Any], Any]  # params -> which of them decay


@dataclass(frozen=True)
class Optimizer:
  """What is known of a value of `optimizer.name`.

  `make(config.optimizer, mask)` gives a function from the learning rate and `hyperparameters` to an
  optax transformation.
  """

  title: str
  make: Callable[[ConfigDict, Mask], Callable[..., Any]]
  # Argument -> key of `config.optimizer`; these are data, and each lane can have its own. Without
  # 'weight_decay' here it is added to the gradient before the optimizer sees it.
  hyperparameters: Mapping[str, str]
  shown: Mapping[str, str]  # key of `config.optimizer` -> its name in the paragraph on method
  decoupled_decay: bool  # of the weights themselves, and not added to the gradient (L2)
  adaptive: bool  # a coordinate's step hardly depends on the scale of its gradient, as in Adam
  nesterov: bool = False  # whether `optimizer.nesterov` is read
  preconditioner: str | None = None  # how it scales coordinates: one of preconditioners.FORMS


@dataclass(frozen=True)
class ScheduleEntry:
  """What is known of a value of `schedule.name`.

  `make(config.schedule, total examples, warm-up examples)` gives the factor on the peak learning
  rate by examples seen since the warm-up.
  """

  make: Callable[[ConfigDict, int, int], Callable[[Any], Any]]
  method: str  # what the learning rate did, with {key} for keys of `config.schedule`


def _sgd(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, momentum):
    return optax.sgd(learning_rate, momentum, nesterov=c.nesterov)

  return make


def _adam(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, b1, b2, eps):
    return optax.adam(learning_rate, b1, b2, eps, nesterov=c.nesterov)

  return make


def _adamw(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, b1, b2, eps, weight_decay):
    return optax.adamw(
      learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=mask, nesterov=c.nesterov
    )

  return make


def _rmsprop(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, decay, eps, momentum):
    return optax.rmsprop(learning_rate, decay, eps, momentum=momentum)

  return make


def _lars(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, momentum, weight_decay, trust_coefficient):
    return optax.lars(
      learning_rate,
      weight_decay,
      mask,
      trust_coefficient,
      trust_ratio_mask=mask,
      momentum=momentum,
      nesterov=c.nesterov,
    )

  return make


def _lamb(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, b1, b2, eps, weight_decay):
    return optax.lamb(learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=mask)

  return make


def _lion(c: ConfigDict, mask: Mask) -> Callable[..., Any]:
  import optax

  def make(learning_rate, b1, b2, weight_decay):
    return optax.lion(learning_rate, b1, b2, weight_decay=weight_decay, mask=mask)

  return make


_MOMENTS = {'b1': 'b1', 'b2': 'b2'}
_ADAM = {**_MOMENTS, 'eps': 'eps'}
_BETAS = {'b1': 'β1', 'b2': 'β2'}
_DECAY = {'weight_decay': 'weight_decay'}

OPTIMIZERS = {
  'sgd': Optimizer(
    'SGD',
    _sgd,
    hyperparameters={'momentum': 'momentum'},
    shown={'momentum': 'momentum'},
    decoupled_decay=False,
    adaptive=False,
    nesterov=True,
  ),
  'adam': Optimizer(
    'Adam',
    _adam,
    hyperparameters=_ADAM,
    shown={**_BETAS, 'eps': 'ε'},
    decoupled_decay=False,
    adaptive=True,
    nesterov=True,
    preconditioner='adam',
  ),
  'adamw': Optimizer(
    'AdamW',
    _adamw,
    hyperparameters={**_ADAM, **_DECAY},
    shown={**_BETAS, 'eps': 'ε'},
    decoupled_decay=True,
    adaptive=True,
    nesterov=True,
    preconditioner='adam',
  ),
  'rmsprop': Optimizer(
    'RMSProp',
    _rmsprop,
    hyperparameters={'decay': 'rmsprop_decay', 'eps': 'eps', 'momentum': 'rmsprop_momentum'},
    shown={'rmsprop_decay': 'decay', 'rmsprop_momentum': 'momentum', 'eps': 'ε'},
    decoupled_decay=False,
    adaptive=True,
    preconditioner='rmsprop',
  ),
  'lars': Optimizer(
    'LARS',
    _lars,
    hyperparameters={'momentum': 'momentum', 'trust_coefficient': 'trust_coefficient', **_DECAY},
    shown={'momentum': 'momentum', 'trust_coefficient': 'trust coefficient'},
    decoupled_decay=False,
    adaptive=False,
    nesterov=True,
  ),
  'lamb': Optimizer(
    'LAMB',
    _lamb,
    hyperparameters={**_ADAM, **_DECAY},
    shown={**_BETAS, 'eps': 'ε'},
    decoupled_decay=True,
    adaptive=True,
  ),
  'lion': Optimizer(
    'Lion',
    _lion,
    hyperparameters={**_MOMENTS, **_DECAY},
    shown=_BETAS,
    decoupled_decay=True,
    adaptive=True,
  ),
}


def _constant(c: ConfigDict, total: int, warmup: int) -> Callable[[Any], Any]:
  import jax.numpy as jnp

  def factor(examples):
    return jnp.ones(())

  return factor


def _cosine(c: ConfigDict, total: int, warmup: int) -> Callable[[Any], Any]:
  import optax

  return optax.cosine_decay_schedule(1.0, total - warmup)


def _step(c: ConfigDict, total: int, warmup: int) -> Callable[[Any], Any]:
  import optax

  drops = {round(share * total) - warmup: c.factor for share in c.boundaries}
  return optax.piecewise_constant_schedule(1.0, drops)


SCHEDULES = {
  'constant': ScheduleEntry(_constant, 'was constant'),
  'cosine': ScheduleEntry(_cosine, 'decayed to zero along a cosine'),
  'step': ScheduleEntry(_step, 'was multiplied by {factor} after {boundaries} of training'),
}
