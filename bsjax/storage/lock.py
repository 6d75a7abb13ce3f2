"""One process at a time in a workdir: the second is told who has it."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from bsjax.config.errors import ConfigError
from bsjax.storage import provenance

# Beside the lock itself, which holds nothing: that must not be replaced while it is held.
LOCK, HOLDER = '.lock', '.running.json'
POLL = 0.5  # seconds between two tries of what waits


@contextlib.contextmanager
def held(workdir: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
  """Holds a workdir, made if it is not there, until the context ends or the process dies.

  Raises ConfigError where another process, on this host or on one that shares its disk, holds it;
  but given `waiting` it waits until that does no more, and calls it between tries with who it is.
  """
  lock = filelock.FileLock(workdir / LOCK)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    while not _acquired(lock):
      holder = f'{workdir} is in use{_holder(workdir / HOLDER)}'
      if waiting is None:
        raise ConfigError(
          f'{holder}; wait until that process has ended, stop it, or choose another --workdir'
        )
      waiting(holder)
      time.sleep(POLL)
  except OSError as error:
    raise ConfigError(
      f'{workdir} cannot be written to ({error.strerror}); choose another --workdir'
    ) from None
  try:
    (workdir / HOLDER).write_text(json.dumps(provenance.holder()) + '\n')
    yield
  finally:
    (workdir / HOLDER).unlink(missing_ok=True)
    lock.release()


def _acquired(lock: filelock.BaseFileLock) -> bool:
  try:
    lock.acquire(blocking=False)
  except filelock.Timeout:
    return False
  return True


def _holder(path: Path) -> str:
  """Who says to hold it; nothing where that is not, or not yet, readable."""
  try:
    return f' by {provenance.named(json.loads(path.read_text()))}'
  except (OSError, ValueError, KeyError, TypeError):
    return ''
