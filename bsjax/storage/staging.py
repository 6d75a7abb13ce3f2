"""A folder on this machine for a workdir in a bucket: what it holds at a moment, or is to hold."""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import filelock

from bsjax.storage.records import Damaged

UNFINISHED = re.compile(r'\.orbax-checkpoint-tmp|\.tmp$')  # names of what is being written
LOCK = 'lock'
CHECKPOINTS = 'checkpoints'  # whose files are never changed once they are there

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


@contextlib.contextmanager
def alone(home: Path, patience: float = 0.0) -> Iterator[bool]:
  """Whether no other process works on what is in a folder, and none will meanwhile."""
  home.mkdir(parents=True, exist_ok=True)
  lock = filelock.FileLock(home / LOCK)
  try:
    lock.acquire(timeout=patience)
  except filelock.Timeout:
    yield False
    return
  try:
    yield True
  finally:
    lock.release()


def snapshot(
  folder: Path, apart: Path, known: Mapping[str, Piece], there: Collection[str]
) -> Snapshot:
  """Sets apart what has changed since pieces were `known`, or whose checksum is not `there`."""
  shutil.rmtree(apart, ignore_errors=True)
  apart.mkdir(parents=True)
  pieces: dict[str, Piece] = {}
  links: dict[str, str] = {}
  for path in _walk(folder):
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
      links[name] = os.readlink(path)
      continue
    stat = path.stat()
    stamp = stat.st_size, stat.st_mtime_ns, stat.st_ino
    before = known.get(name)
    if before and before.stamp == stamp and before.checksum in there:
      pieces[name] = before
      continue
    _set_apart(path, apart / str(len(pieces)))
    pieces[name] = Piece(stamp, apart / str(len(pieces)))
  return Snapshot(pieces, links)


def _set_apart(path: Path, into: Path) -> None:
  if CHECKPOINTS in path.parts:  # they may be large
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

  Raises Damaged where a file is not what its checksum says, or would lie outside the folder.
  """
  _refuse_outside(files, links)
  shutil.rmtree(apart, ignore_errors=True)
  apart.mkdir(parents=True)
  mine = checksums(folder)
  wanted = {name: sum_ for name, sum_ in files.items() if mine.get(name) != sum_}
  got = {sum_: apart / sum_ for sum_ in wanted.values()}
  get(got)
  for sum_, path in got.items():
    if checksum(path) != sum_:
      raise Damaged(f'{path.name} of the bucket is damaged: it is not what was put there')
  _remove_others(folder, {*files} - {*wanted})
  for name, sum_ in wanted.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(got[sum_], apart / 'copy')
    os.replace(apart / 'copy', folder / name)  # somebody may be reading it
  for name, target in links.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)
  shutil.rmtree(apart)


def _refuse_outside(files: Mapping[str, str], links: Mapping[str, str]) -> None:
  targets = [os.path.join(os.path.dirname(name), target) for name, target in links.items()]
  for name in (*files, *links, *map(os.path.normpath, targets)):
    parts = PurePosixPath(name).parts
    if not parts or '..' in parts or name.startswith('/') or any(p.startswith('.') for p in parts):
      raise Damaged(f'the bucket names {name!r}, which is no file of a workdir')
  if odd := [sum_ for sum_ in files.values() if not re.fullmatch('[0-9a-f]{40}', sum_)]:
    raise Damaged(f'the bucket names {odd[0]!r}, which is no checksum')


def _remove_others(folder: Path, kept: Collection[str]) -> None:
  """Removes what is not kept, and folders that are then empty."""
  for path in [*_walk(folder)]:
    if path.is_symlink() or path.relative_to(folder).as_posix() not in kept:
      path.unlink()
  for parent, _, _ in os.walk(folder, topdown=False):
    with contextlib.suppress(OSError):  # it holds something
      os.rmdir(parent)
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
