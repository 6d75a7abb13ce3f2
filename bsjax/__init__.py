"""Batch-size studies: every batch size x learning rate x trial in one compiled program."""

import importlib
from typing import Any

__version__ = '0.1.0'

__all__ = [
  'CORRECT',
  'ConfigError',
  'Data',
  'Metric',
  'Study',
  'Task',
  'Writer',
  'arms',
  'audit',
  'base_config',
  'configs',
  'load',
  'run_study',
  'set_up_machine',
  'stages',
  'validate',
  'writers',
]

# Public name -> the module it is in, and its name there ('': the module itself). A name is imported
# when it is asked for, so that `import bsjax` loads neither JAX nor anything else that is heavy.
_HOME = {
  'CORRECT': ('bsjax.models.task', 'OF_CLASSES'),
  'ConfigError': ('bsjax.config.errors', 'ConfigError'),
  'Data': ('bsjax.data.own', 'Data'),
  'Metric': ('bsjax.models.task', 'Metric'),
  'Study': ('bsjax.study', 'Study'),
  'Task': ('bsjax.models.task', 'Task'),
  'Writer': ('bsjax.storage.writers', 'Writer'),
  'arms': ('bsjax.plan.arms', ''),
  'audit': ('bsjax.audit', ''),
  'base_config': ('bsjax.config.keys', 'base_config'),
  'configs': ('bsjax.configs', ''),
  'load': ('bsjax.study', 'load'),
  'run_study': ('bsjax.train.study_run', 'run_study'),
  'set_up_machine': ('bsjax.cli', 'set_up_machine'),
  'stages': ('bsjax.plan.stages', ''),
  'validate': ('bsjax.engine.validate', 'validate'),
  'writers': ('bsjax.writers', ''),
}


def __getattr__(name: str) -> Any:
  if name not in _HOME:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module, attribute = _HOME[name]
  home = importlib.import_module(module)
  return getattr(home, attribute) if attribute else home


def __dir__() -> list[str]:
  return sorted([*globals(), *_HOME])
