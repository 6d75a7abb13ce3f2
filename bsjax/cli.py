"""What all commands share: the machine set up, flags parsed, a mistake said in one line."""

import os
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from bsjax.storage import user_cache


def set_up_machine() -> None:
  """Makes every core of a CPU a device, float32 mean float32, and keeps compiled programs.

  It must precede any use of JAX, which commands therefore import after it.
  """
  import jax

  mine = getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count()))  # not on macOS
  jax.config.update('jax_num_cpu_devices', len(mine(0)))
  jax.config.update('jax_compilation_cache_dir', str(user_cache.folder('xla')))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
  # Otherwise an accelerator multiplies float32 matrices with ten bits of their mantissas or fewer.
  jax.config.update('jax_default_matmul_precision', 'float32')


def define_study_flags() -> None:
  """Defines --config and --workdir, both required."""
  config_flags.DEFINE_config_file('config', None, 'The study: a file such as configs/digits.py.')
  flags.DEFINE_string('workdir', None, 'Where everything is written, and continued from.')
  flags.mark_flags_as_required(['config', 'workdir'])


def define_process_flags() -> None:
  """Defines what makes a command one of several processes; the environment may say it as well."""

  def number(name: str) -> int | None:
    return int(os.environ[name]) if os.environ.get(name, '').isdigit() else None

  flags.DEFINE_bool('distributed', False, 'One of several processes, which JAX finds by itself.')
  address = os.environ.get('BSJAX_COORDINATOR')
  flags.DEFINE_string('coordinator', address, 'HOST:PORT of the first of several processes.')
  flags.DEFINE_integer('processes', number('BSJAX_PROCESSES'), 'How many there are.')
  flags.DEFINE_integer('process', number('BSJAX_PROCESS'), 'Which of them this is, from 0.')


def last_of_each(arguments: list[str]) -> list[str]:
  """Returns the arguments without values of config keys that are given again later.

  Of a key of several values the flags would otherwise make the union.
  """
  kept: list[list[str]] = []
  waiting = list(arguments)
  while waiting and waiting[0] != '--':
    argument = waiting.pop(0)
    name = _key_of(argument)
    key = name.startswith('config.')
    apart = key and '=' not in argument and waiting and _is_value(waiting[0])
    group = [argument, waiting.pop(0)] if apart else [argument]
    if key:
      kept = [one for one in kept if _key_of(one[0]) != name]
    kept.append(group)
  return [argument for group in kept for argument in group] + waiting


def _is_value(argument: str) -> bool:
  """Whether an argument is the value of a flag before it: no flag, or a number below zero."""
  return not argument.startswith('-') or argument[1:2].isdigit()


def _key_of(argument: str) -> str:
  """The name of a flag; '' of what is none."""
  return argument.lstrip('-').partition('=')[0] if argument.startswith('-') else ''


def _innermost(error: BaseException) -> str:
  """What an error says that may hold another one, which says it."""
  while error.args and isinstance(error.args[0], BaseException):
    error = error.args[0]
  return ' '.join(str(error.args[0] if error.args else error).split())


def parse_flags(arguments: list[str]) -> list[str]:
  """Parses the command line; a misspelt or ill-typed key is one line, not a traceback."""
  try:
    remaining = app.parse_flags_with_usage(last_of_each(arguments))
  except (AttributeError, KeyError) as error:
    sys.exit(f'bsjax: no such key: {_innermost(error)}')
  except (TypeError, ValueError) as error:
    sys.exit(f'bsjax: {error}')
  if flags.FLAGS['verbosity'].using_default_value:
    flags.FLAGS.verbosity = logging.WARNING  # checkpointing tells of every step it takes
  return remaining
