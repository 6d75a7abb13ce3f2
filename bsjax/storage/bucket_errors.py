"""What is raised and said where a bucket cannot be used, or is another process's."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from typing import Any

from bsjax.config.errors import ConfigError
from bsjax.storage import provenance
from bsjax.storage.records import Damaged

REMEDY = (
  'check the name, that the bucket is there, the credentials and the network of this machine '
  '(docs/operations.md, Buckets)'
)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # which no bucket raises
MAKE_ROOM = (
  'free space where folders stand for buckets ($BSJAX_STAGING, or the cache of bsjax), or have '
  'BSJAX_STAGING name another folder (docs/operations.md, Buckets)'
)

NOT_EXCLUSIVE = (
  '%s: this bucket does not refuse to create what is there: of two processes that begin at the '
  'same moment neither may notice the other'
)


class InUse(ConfigError):
  """Another process works on what a bucket holds."""


class NotWritable(ConfigError):
  """A bucket can be read and not written to."""


class Lost(OSError):
  """Another process has taken over what a bucket holds; nothing of this one gets there any more."""


@contextlib.contextmanager
def reaching(url: str, kind: type[ConfigError] = ConfigError) -> Iterator[None]:
  """Has what a file system raises, which can be anything, be a ConfigError of one line."""
  try:
    yield
  except (ConfigError, Damaged, Lost):
    raise
  except Exception as error:
    full = isinstance(error, OSError) and error.errno in NO_ROOM
    kind = ConfigError if isinstance(error, FileNotFoundError) else kind  # there is no bucket
    raise kind(f'{url} cannot be used ({said(error)}); {MAKE_ROOM if full else REMEDY}') from error


def in_use(url: str, holder: Mapping[str, Any] | None, seconds: float = 0.0) -> str:
  """Returns what a second process is told: who works on a URL, and when it would count as dead."""
  holder = holder or {'process': 'another', 'host': 'this machine', 'since': 'just now'}
  dies = f'. If it was killed, the same command takes over in {seconds:.0f} seconds'
  return (
    f'{url} is in use by {provenance.named(holder)}; wait until that process has ended, stop it, '
    f'or choose another --workdir{dies if seconds else ""}'
  )


def said(error: BaseException) -> str:
  """Returns the first line of what an error says, after its kind."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return f'{type(error).__name__}: {lines[0][:200]}' if lines else type(error).__name__
