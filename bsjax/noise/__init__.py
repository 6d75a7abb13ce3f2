"""Estimators of the gradient noise scale; they know of gradients, and not of lanes."""

import importlib
from typing import Any

# For a training loop of one's own: name -> the module it is in. Imported when asked for, since the
# paper reads noise scales without JAX.
_HOME = {
  'accumulate': 'own_loop',
  'estimate': 'own_loop',
  'from_squared_norms': 'squared_norms',
  'observe': 'own_loop',
  'start': 'own_loop',
}
__all__ = ['accumulate', 'estimate', 'from_squared_norms', 'observe', 'start']


def __getattr__(name: str) -> Any:
  if name not in _HOME:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
