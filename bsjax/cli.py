"""What all commands share: the machine set up, flags parsed, a mistake said in one line."""

import itertools
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

import bsjax
from bsjax import configs
from bsjax.config import places
from bsjax.config.errors import of_config
from bsjax.storage import heaps, provenance, user_cache

# What a config file may give beside its config, by parts(config): arguments of `bsjax.Study`.
PARTS = 'model', 'data', 'task', 'optimizer', 'writers'
# Options of JAX by which results would change or programs fail; the environment may set others.
RESULTS = {
  'jax_enable_x64': False,
  'jax_numpy_dtype_promotion': 'standard',
  'jax_numpy_rank_promotion': 'allow',
  'jax_default_prng_impl': 'threefry2x32',
  'jax_threefry_partitionable': True,
  'jax_debug_nans': False,  # a lane may diverge
  'jax_debug_infs': False,
  'jax_disable_jit': False,
  # Otherwise an accelerator multiplies float32 matrices with ten bits of their mantissas or fewer.
  'jax_default_matmul_precision': 'float32',
}

# Flags that are defined here are those of the command: its --help shows them.
flags.disclaim_key_flags()


def pin_options() -> None:
  """Gives the options of `RESULTS` their values; says which others were asked for, in vain."""
  import jax

  for name, value in RESULTS.items():
    asked = getattr(jax.config, name)
    if asked not in (value, None):
      logging.warning('%s=%s is not used: studies run with %s', name, asked, value)
    jax.config.update(name, value)


def set_up_machine() -> None:
  """Makes every core of a CPU a device, float32 mean float32, and keeps compiled programs.

  It must precede any use of JAX, which commands therefore import after it.
  """
  heaps.share(provenance.cores())
  import jax

  pin_options()
  jax.config.update('jax_num_cpu_devices', provenance.cores())
  if jax.config.jax_compilation_cache_dir is None:  # else the user keeps one
    jax.config.update('jax_compilation_cache_dir', str(user_cache.folder('xla')))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)


def define_study_flags() -> None:
  """Defines --config and --workdir, both required."""
  config_flags.DEFINE_config_file('config', None, 'The study: a file, or a name such as digits.')
  flags.DEFINE_string('workdir', None, 'Where everything is written, and continued from.')
  flags.mark_flags_as_required(['config', 'workdir'])


def help_text(said: str | None) -> str:
  """Returns what --help is to print before the flags: what a command says of itself, all keys."""
  from bsjax.config.listing import listing  # all keys, which other commands need not load

  keys = f'{said}\nKeys of a config, each with its default:\n{listing()}\n'
  return keys.replace('%', '%%')  # absl formats it


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


def config_files(arguments: list[str]) -> list[str]:
  """Returns the arguments with the file of a study that comes with bsjax where --config names it.

  Raises ConfigError for a name that is unknown.
  """
  resolved = list(arguments)
  for index, argument in enumerate(arguments):
    flag, equals, value = argument.partition('=')
    if _key_of(argument) == 'config' and equals:
      resolved[index] = f'{flag}={configs.resolve(value)}'
    elif _key_of(argument) == 'config' and arguments[index + 1 :]:
      resolved[index + 1] = configs.resolve(arguments[index + 1])
  return resolved


def _is_value(argument: str) -> bool:
  """Whether an argument is the value of a flag before it: no flag, or a number below zero."""
  return not argument.startswith('-') or argument[1:].removeprefix('.')[:1].isdigit()


def _key_of(argument: str) -> str:
  """The name of a flag; '' of what is none."""
  return argument.lstrip('-').partition('=')[0] if argument.startswith('-') else ''


def _chain(error: BaseException) -> Iterator[BaseException]:
  """An error and those that led to it, the last first."""
  last: BaseException | None = error
  while last is not None:
    yield last
    last = last.__cause__ or last.__context__


def _config_files(arguments: list[str]) -> set[str]:
  """The files that --config names; one may be given as FILE:ARGUMENT."""
  values = [
    argument.partition('=')[2] or following
    for argument, following in itertools.pairwise([*arguments, ''])
    if _key_of(argument) == 'config'
  ]
  return {os.path.abspath(path) for value in values for path in (value, value.split(':')[0])}


def _said(error: BaseException, arguments: list[str]) -> str:
  """One line for an error of the command line, with file and line where the config file has it."""
  files = _config_files(arguments)
  for one in _chain(error):
    frames = traceback.extract_tb(one.__traceback__)
    lines = [(x.filename, x.lineno) for x in frames if os.path.abspath(x.filename) in files]
    if isinstance(one, SyntaxError):
      lines.append((one.filename or ', '.join(sorted(files)), one.lineno or 1))
    if lines:
      return f'{lines[-1][0]}:{lines[-1][1]}: {type(one).__name__}: {of_config(one)}'
  if 'get_config' in str(error) and isinstance(error, AttributeError):
    return f'{", ".join(sorted(files))} defines no get_config()'
  unknown_key = isinstance(error, AttributeError | KeyError)
  return ('no such key: ' if unknown_key else '') + of_config(error)


def config_file() -> str:
  """Returns the path of the file that --config names."""
  return str(config_flags.get_config_filename(flags.FLAGS['config'])).partition(':')[0]


def mistake(error: Exception) -> str:
  """Returns what an error of a study says, with the flag, or file and line, of what is wrong."""
  given = config_flags.get_override_values(flags.FLAGS['config'])
  return places.said(error, config_file(), flags.FLAGS['config'].value, given)


CONFIG_MODULE = 'config_config'  # the name that ml_collections gives the module that --config is


def _names_of(file: str) -> dict[str, Any]:
  """What a config file defines, run once where it is the one of the command line."""
  module = sys.modules.get(CONFIG_MODULE)
  ran = module is not None and getattr(module, '__file__', '') == file
  return vars(module) if ran else runpy.run_path(file)


def parts(config: ConfigDict, file: str) -> dict[str, Any]:
  """Returns what `parts(config)` of a config file gives for `bsjax.Study`; nothing without one.

  What is wrong in it is said in one line.
  """
  try:
    make = _names_of(file).get('parts')
    given = make(config) if make else {}
    if not isinstance(given, Mapping) or (odd := sorted({*given} - {*PARTS})):
      shown = given if not isinstance(given, Mapping) else f'keys {odd}'
      raise TypeError(f'parts() gave {shown!r:.200}; give a dict of {", ".join(PARTS)}')
  except Exception as error:  # of whatever kind a config file raises
    logging.debug('', exc_info=error)
    sys.exit(f'bsjax: {_said(error, [f"--config={file}"])}')
  return dict(given)


def parse_flags(arguments: list[str]) -> list[str]:
  """Parses the command line; what is wrong with it or in the config file is said in one line."""
  if '--version' in arguments:
    print(f'bsjax {bsjax.__version__}')
    sys.exit()
  # Python would run a second file in the module of the first, whose other names stay.
  sys.modules.pop(CONFIG_MODULE, None)
  try:
    arguments = config_files(arguments)
    remaining = flags.FLAGS(last_of_each(arguments))
    config = flags.FLAGS['config'].value if 'config' in flags.FLAGS else None
    if config is not None and not isinstance(config, ConfigDict):
      unread = vars(config).get('_error') if hasattr(type(config), '_ReportError') else None
      raise unread or TypeError(
        f'get_config() of --config returned {config!r:.200}; return base_config() with keys set'
      )
  except Exception as error:  # of whatever kind a config file raises
    logging.debug('', exc_info=error)
    sys.exit(f'bsjax: {_said(error, arguments)}')
  if flags.FLAGS['verbosity'].using_default_value:
    flags.FLAGS.verbosity = logging.WARNING  # checkpointing tells of every step it takes
  return remaining
