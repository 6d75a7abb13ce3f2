"""Workdirs that lie in buckets, known by the folders of this machine that stand for them.

Whoever reads a workdir fetches it first, and whoever writes to it holds it; both do nothing where a
workdir is a folder and no more.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from bsjax.storage.bucket_errors import InUse, NotWritable

if TYPE_CHECKING:
  from bsjax.storage.mirror import Mirror

_mirrors: dict[Path, 'Mirror'] = {}  # by their folders


def at(url: str) -> 'Mirror':
  """Returns the mirror of a URL, of which a process has one."""
  from bsjax.storage.mirror import Mirror  # with a lock, which reading a folder needs not

  mirror = Mirror(url)
  return _mirrors.setdefault(mirror.folder, mirror)


def opened() -> bool:
  """Whether this process uses a bucket: threads do, which do not survive a fork."""
  return bool(_mirrors)


def of(path: Path) -> 'Mirror | None':
  """Returns the mirror of a folder, or of one that it lies in; None: it is of no bucket."""
  return next((_mirrors[folder] for folder in (path, *path.parents) if folder in _mirrors), None)


def fetch(path: Path) -> Path:
  """Returns a workdir, fetched if it is of a bucket; raises ConfigError where it cannot be."""
  if mirror := of(path):
    mirror.fetch()
  return path


def held(path: Path) -> contextlib.AbstractContextManager[None]:
  """A context in which the bucket of a workdir, if it is of one, belongs to this process."""
  mirror = of(path)
  return mirror.held() if mirror else contextlib.nullcontext()


@contextlib.contextmanager
def held_if_free(path: Path) -> Iterator[Path]:
  """`held`, for what adds a page or a measurement: where that cannot be, it reads.

  So where another process works there, or this one may not write there. Then what is written stays
  on this machine, which is said.
  """
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(held(path))
    except (InUse, NotWritable) as error:
      logging.warning('%s. What is written now stays in %s', error, path)
      fetch(path)
    yield path
