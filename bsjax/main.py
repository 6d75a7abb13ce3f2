"""Flags and machine set-up; the study itself is train.run_study. Kept short on purpose."""

import os
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from bsjax import user_cache

FLAGS = flags.FLAGS
CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The study: a file such as configs/digits.py.'
)
WORKDIR = flags.DEFINE_string('workdir', None, 'Where everything is written, and continued from.')
DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print the plan, with its cost, and stop.')


def set_up_machine() -> None:
  """Makes every core of a CPU a device, float32 mean float32, and keeps compiled programs."""
  mine = getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count()))  # not on macOS
  jax.config.update('jax_num_cpu_devices', len(mine(0)))
  jax.config.update('jax_compilation_cache_dir', str(user_cache.folder('xla')))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
  # Otherwise an accelerator multiplies float32 matrices with ten bits of their mantissas or fewer.
  jax.config.update('jax_default_matmul_precision', 'float32')


def main(_: list[str]) -> None:
  set_up_machine()
  from bsjax import (  # after the set-up, which must precede any use of JAX
    config,
    data,
    train,
    transfer,
  )

  try:
    train.run_study(CONFIG.value, WORKDIR.value, DRY_RUN.value)
  except (config.ConfigError, data.DataError, transfer.TransferError) as error:
    logging.debug('', exc_info=error)
    sys.exit(f'bsjax: {error}')


def parse_flags(arguments: list[str]) -> list[str]:
  """Parses the command line; a misspelt or ill-typed key is one line, not a traceback."""
  try:
    remaining = app.parse_flags_with_usage(arguments)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(f'bsjax: {error}')
  if FLAGS['verbosity'].using_default_value:
    FLAGS.verbosity = logging.WARNING  # checkpointing tells of every step it takes
  return remaining


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main, flags_parser=parse_flags)
