"""The user's cache directory: anything in it may be deleted at any time."""

import functools
import os
import tempfile
from pathlib import Path

from absl import logging


def folder(name: str = '') -> Path:
  """Returns bsjax's folder in the user's cache directory, or the folder of a name in it.

  Where that cannot be written to, or there is no home, it is a folder that this process leaves
  behind for the system to clear.
  """
  return _usable(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / name


@functools.cache
def _usable(home: str) -> Path:
  """The root of all folders in a cache directory, which is tried once."""
  try:
    root = Path(home, 'bsjax').expanduser()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
      file.write(b'x' * 4096)
    return root
  except (OSError, RuntimeError) as error:  # RuntimeError: no home can be told
    logging.warning('no cache is kept from run to run (%s); set XDG_CACHE_HOME to keep one', error)
    return Path(tempfile.mkdtemp(prefix='bsjax-'))
