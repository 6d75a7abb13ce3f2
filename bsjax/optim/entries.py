"""Every optimizer and every schedule, once: how it is made, and its properties.

A new one is a function and its entry here. Analysis and reports read the entries too, so JAX and
optax are imported only when something is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

# Of a key of `config.optimizer`, in the paragraph on method.
_LABELS = {'momentum': 'momentum', 'b1': 'β1', 'b2': 'β2', 'rmsprop_decay': 'decay'}
_LABELS |= {'rmsprop_momentum': 'momentum', 'eps': 'ε', 'trust_coefficient': 'trust coefficient'}


@dataclass(frozen=True)
class Optimizer:
  """What is known of a value of `optimizer.name`."""

  source: str  # module:function, from the learning rate and `hyperparameters` to a transformation
  title: str
  # Argument -> key of `config.optimizer`; these are data, and each lane can have its own. Without
  # 'weight_decay' here it is added to the gradient before the optimizer sees it.
  hyperparameters: Mapping[str, str]
  masks: tuple[str, ...] = ()  # arguments that take the mask of what decays
  decoupled_decay: bool = False  # of the weights themselves, and not added to the gradient (L2)
  adaptive: bool = False  # a coordinate's step hardly depends on the scale of its gradient
  nesterov: bool = False  # whether it takes `optimizer.nesterov`
  preconditioner: str | None = None  # how it scales coordinates: one of preconditioners.FORMS

  @property
  def shown(self) -> dict[str, str]:
    """Key of `config.optimizer` -> its name in the paragraph on method."""
    return {key: _LABELS[key] for key in self.hyperparameters.values() if key in _LABELS}


@dataclass(frozen=True)
class ScheduleEntry:
  """What is known of a value of `schedule.name`.

  `make(config.schedule, total examples, warm-up examples)` gives the factor on the peak learning
  rate by examples seen since the warm-up.
  """

  make: Callable[[ConfigDict, int, int], Callable[[Any], Any]]
  method: str  # what the learning rate did, with {key} for keys of `config.schedule`


_COMBINED = 'bsjax.optim.combined'
_MOMENTUM, _DECAY = {'momentum': 'momentum'}, {'weight_decay': 'weight_decay'}
_MOMENTS = {'b1': 'b1', 'b2': 'b2'}
_ADAM = {**_MOMENTS, 'eps': 'eps'}
_RMSPROP = {'decay': 'rmsprop_decay', 'momentum': 'rmsprop_momentum', 'eps': 'eps'}
_LARS = {**_MOMENTUM, 'trust_coefficient': 'trust_coefficient', **_DECAY}
_LARS_MASKS = 'weight_decay_mask', 'trust_ratio_mask'
_BY_ADAM: dict[str, Any] = {'adaptive': True, 'nesterov': True, 'preconditioner': 'adam'}
_DECOUPLED: dict[str, Any] = {'masks': ('mask',), 'decoupled_decay': True, 'adaptive': True}

OPTIMIZERS = {
  'sgd': Optimizer('optax:sgd', 'SGD', _MOMENTUM, nesterov=True),
  'adam': Optimizer('optax:adam', 'Adam', _ADAM, **_BY_ADAM),
  'adamw': Optimizer('optax:adamw', 'AdamW', {**_ADAM, **_DECAY}, **_DECOUPLED | _BY_ADAM),
  'rmsprop': Optimizer(
    'optax:rmsprop', 'RMSProp', _RMSPROP, adaptive=True, preconditioner='rmsprop'
  ),
  'lars': Optimizer('optax:lars', 'LARS', _LARS, _LARS_MASKS, nesterov=True),
  'lamb': Optimizer('optax:lamb', 'LAMB', {**_ADAM, **_DECAY}, **_DECOUPLED),
  'lion': Optimizer('optax:lion', 'Lion', {**_MOMENTS, **_DECAY}, **_DECOUPLED),
  'signum': Optimizer(f'{_COMBINED}:signum', 'Signum', {'b1': 'b1', **_DECAY}, **_DECOUPLED),
  'muon': Optimizer(
    f'{_COMBINED}:muon',
    'Muon (Adam for all but matrices)',
    {**_MOMENTUM, **_ADAM, **_DECAY},
    nesterov=True,
    **_DECOUPLED,
  ),
  'adafactor': Optimizer(f'{_COMBINED}:adafactor', 'Adafactor', _DECAY, **_DECOUPLED),
}


def _constant(c: ConfigDict, total: int, warmup: int) -> Callable[[Any], Any]:
  import jax.numpy as jnp

  def factor(examples: Any) -> Any:
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
