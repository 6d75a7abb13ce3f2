"""A folder on this machine for a workdir in a bucket: what it holds at a moment, or is to hold."""

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import filelock
from absl import logging

from bsjax.config.errors import ConfigError
from bsjax.storage import records
from bsjax.storage.records import Damaged

UNFINISHED = re.compile(r'\.orbax-checkpoint-tmp|\.tmp$')  # names of what is being written
LOCK, BASE, APART = '.lock', '.base.json', '.apart'  # beside a folder, which may have any name
CHECKPOINTS = 'checkpoints'

Stamp = tuple[int, int, int]  # tells that a file has changed


class Piece(NamedTuple):
  """A file of a snapshot."""

  stamp: Stamp
  apart: Path | None  # where it stays as it is; None: its checksum is known
  checksum: str = ''


class Snapshot(NamedTuple):
  """Files and links of a folder at a moment, by their paths in it."""

  pieces: dict[str, Piece]
  links: dict[str, str]


class Home(NamedTuple):
  """Where a folder lies that stands for a URL, and beside it what is known of it."""

  url: str
  root: Path
  folder: Path

  @property
  def apart(self) -> Path:
    """Where files are while they are pushed or fetched."""
    return self.root / APART

  def base(self) -> dict[str, Any]:
    """What `note` was given last; nothing where that was never or is damaged."""
    try:
      return records.read_json(self.root / BASE)
    except (FileNotFoundError, records.Damaged):
      return {}

  def note(self, token: str, **base: Any) -> None:
    """Notes who had the folder last, and what it was when it was last in step with the bucket."""
    records.write_json(self.root / BASE, {'url': self.url, 'token': token} | base)


@contextlib.contextmanager
def alone(home: Path, patience: float = 0.0) -> Iterator[bool]:
  """Whether no other process works on what is in a folder, and none will meanwhile."""
  lock = filelock.FileLock(home / LOCK)
  try:
    home.mkdir(parents=True, exist_ok=True)
    lock.acquire(timeout=patience)
  except filelock.Timeout:
    yield False
    return
  except OSError as error:
    raise ConfigError(
      f'{home} cannot be written to ({error.strerror}); have BSJAX_STAGING name another folder, '
      'where those are that stand for buckets'
    ) from None
  try:
    yield True
  finally:
    lock.release()


def snapshot(
  folder: Path, apart: Path, known: Mapping[str, Piece], there: Collection[str]
) -> Snapshot:
  """Sets apart what has changed since pieces were `known`, or whose checksum is not `there`."""
  fresh = _fresh(apart)
  pieces: dict[str, Piece] = {}
  links: dict[str, str] = {}
  for path in _walk(folder):
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
      if _leads_inside(name, os.readlink(path)):
        links[name] = os.readlink(path)
      else:
        logging.log_first_n(logging.WARNING, '%s leads out of its workdir: not pushed', 1, path)
      continue
    stat = path.stat()
    stamp = stat.st_size, stat.st_mtime_ns, stat.st_ino
    before = known.get(name)
    if before and before.stamp == stamp and before.checksum in there:
      pieces[name] = before
      continue
    into = fresh / str(len(pieces))
    _set_apart(path, name, into)
    pieces[name] = Piece(stamp, into)
  return Snapshot(pieces, links)


def _fresh(apart: Path) -> Path:
  """Makes a folder the only one in `apart`, of a name that no other had.

  Some requests of a push or fetch that failed may go on; what they read or write is theirs.
  """
  shutil.rmtree(apart, ignore_errors=True)
  fresh = apart / uuid.uuid4().hex
  fresh.mkdir(parents=True)
  return fresh


def _set_apart(path: Path, name: str, into: Path) -> None:
  step = any(a == CHECKPOINTS and b.isdecimal() for a, b in itertools.pairwise(name.split('/')))
  if step:  # which may be large, and is never changed
    with contextlib.suppress(OSError):  # not all disks have links
      os.link(path, into)
      return
  shutil.copyfile(path, into)  # what is added to a file would be in a link, too


def with_checksums(pieces: Mapping[str, Piece]) -> dict[str, Piece]:
  """Returns the pieces with the checksum of each."""
  return {
    name: piece._replace(checksum=checksum(piece.apart)) if piece.apart else piece
    for name, piece in pieces.items()
  }


def checksum(path: Path) -> str:
  """Returns the checksum of a file, by which it is named in a bucket."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
  """Returns those of all files of a folder, by their paths in it."""
  files = (path for path in _walk(folder) if not path.is_symlink())
  return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def place(
  folder: Path,
  apart: Path,
  files: Mapping[str, str],
  links: Mapping[str, str],
  get: Callable[[Mapping[str, Path]], None],
) -> None:
  """Makes a folder hold these files and links and nothing else; `get` gets those that it lacks.

  Raises Damaged where a file is not what its checksum says. Names must be sound (`refuse_odd`).
  """
  fresh = _fresh(apart)
  mine = checksums(folder)
  wanted = {name: sum_ for name, sum_ in files.items() if mine.get(name) != sum_}
  got = {sum_: fresh / sum_ for sum_ in wanted.values()}
  get(got)
  for sum_, path in got.items():
    if checksum(path) != sum_:
      raise Damaged(f'{path.name} of the bucket is damaged: it is not what was put there')
  _remove_others(folder, {*files} - {*wanted})
  for name, sum_ in wanted.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(got[sum_], fresh / 'copy')
    os.replace(fresh / 'copy', folder / name)  # somebody may be reading it
  for name, target in links.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)
  shutil.rmtree(apart, ignore_errors=True)


def refuse_odd(
  files: Mapping[str, str], links: Mapping[str, str], shown: Collection[str] = ()
) -> None:
  """Raises Damaged where a name, of a file, a link or a copy, or a checksum is none of a workdir.

  Nothing is to be written, read or removed outside of it because a bucket says so.
  """
  names = {*files, *links}
  for name in (*names, *shown):
    if not _is_name(name) or any(str(above) in names for above in PurePosixPath(name).parents):
      raise Damaged(f'the bucket names {name!r}, which is no file of a workdir')
  for name, target in links.items():
    if not _leads_inside(name, target):
      raise Damaged(f'the bucket names {target!r}, to which no link of a workdir leads')
  if odd := [sum_ for sum_ in files.values() if not re.fullmatch('[0-9a-f]{40}', sum_)]:
    raise Damaged(f'the bucket names {odd[0]!r}, which is no checksum')


def _is_name(name: str) -> bool:
  """Whether a file of a folder can have this path in it, and `_walk` would give it."""
  return bool(name) and all(part and _counts(part) for part in name.split('/'))


def _leads_inside(name: str, target: str) -> bool:
  """Whether a link leads to something in its folder, whatever other links there are.

  So '..' is at the beginning of its target only: behind the name of a link it may lead anywhere.
  """
  end = os.path.normpath(os.path.join(os.path.dirname(name), target))
  return os.path.normpath(target) == target and _is_name(end)


def _remove_others(folder: Path, kept: Collection[str]) -> None:
  """Removes what is not kept, also what `_walk` leaves out, and folders that are then empty."""
  for parent, folders, names in os.walk(folder, topdown=False):
    for path in (Path(parent, name) for name in (*names, *folders)):
      if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):  # it holds something
          path.rmdir()
      elif path.is_symlink() or path.relative_to(folder).as_posix() not in kept:
        path.unlink()
  folder.mkdir(parents=True, exist_ok=True)


def _walk(folder: Path) -> Iterator[Path]:
  """Files and links of a folder, but for locks and what is being written."""
  for parent, folders, names in os.walk(folder):
    links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
    folders[:] = sorted(name for name in folders if name not in links and _counts(name))
    for name in sorted([*names, *links]):
      if _counts(name):
        yield Path(parent, name)


def _counts(name: str) -> bool:
  return not name.startswith('.') and not UNFINISHED.search(name)
