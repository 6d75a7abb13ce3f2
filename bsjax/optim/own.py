"""Optimizers from outside: factories of optax whose named hyperparameters are numbers."""

import inspect
from collections.abc import Callable
from typing import Any

import optax

from bsjax.config.errors import ConfigError

Factory = Callable[..., optax.GradientTransformation]


class OwnOptimizer:
  """A factory with a parameter `learning_rate`; its other numbers are held in the state, too."""

  def __init__(self, factory: Any):
    """Raises ConfigError where it cannot be called with a learning rate alone."""
    if not callable(factory):
      raise ConfigError(
        f'optimizer is {factory!r}: give what makes it, a function of learning_rate such as '
        'optax.adam'
      )
    self._factory = factory
    parameters = inspect.signature(factory).parameters
    if 'learning_rate' not in parameters:
      raise ConfigError(
        f'optimizer={self.name} has no parameter learning_rate, which every lane sets for itself; '
        f'it has {", ".join(parameters) or "none"}'
      )
    needed = [
      name
      for name, parameter in parameters.items()
      if parameter.default is parameter.empty
      and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
      and name != 'learning_rate'
    ]
    if needed:
      raise ConfigError(
        f'optimizer={self.name} needs {", ".join(needed)} beside learning_rate: give them by '
        'functools.partial'
      )

  @property
  def name(self) -> str:
    """As `optax.adam` calls itself, also behind functools.partial."""
    return getattr(getattr(self._factory, 'func', self._factory), '__name__', 'optimizer')

  @property
  def hyperparameters(self) -> dict[str, float]:
    """Its numbers but for the learning rate, by name."""
    parameters = inspect.signature(self._factory).parameters
    return {
      name: parameter.default
      for name, parameter in parameters.items()
      if name != 'learning_rate' and _is_number(parameter.default)
    }

  def create(self) -> optax.GradientTransformationExtraArgs:
    """As `optimizers.create`: the learning rate in its state is set before each update."""
    return optax.inject_hyperparams(self._factory)(learning_rate=0.0)


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
