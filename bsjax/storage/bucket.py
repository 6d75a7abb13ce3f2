"""What a bucket holds of a workdir, and who works on it: a chain of heads.

A bucket appends to no object and renames none, but it puts each one whole or not at all, and most
create one only where there is none. So files lie in it under their checksums and are never
replaced; the newest head says which of them are the workdir, and which process works on it, if any.
Whoever changes anything creates the head after the newest: of two who do, one learns that it is not
alone, and nothing of the other is touched.
"""

import contextlib
import dataclasses
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from bsjax.config.errors import ConfigError
from bsjax.storage import provenance
from bsjax.storage.bucket_errors import REMEDY, reaching

FOLDER = '.bsjax'  # in a bucket's workdir: heads and files; what lies beside it is for people
PATIENCE = 25.0  # seconds that a bucket may take to answer for the first time
BEAT = 20.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without a sign of life after which a process counts as dead


@dataclasses.dataclass(frozen=True)
class Head:
  """What a workdir is: its files and links by their paths in it."""

  number: int = 0  # 0: there is none yet
  holder: dict[str, Any] | None = None  # who works on it
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)  # to their checksums
  links: Mapping[str, str] = dataclasses.field(default_factory=dict)  # to what they point to
  shown: Mapping[str, str] = dataclasses.field(default_factory=dict)  # copies for people
  by: str = ''  # the token of who created it
  renewed: float = 0.0  # seconds since the epoch, by the clock of that process

  @property
  def content(self) -> dict[str, Mapping[str, str]]:
    """What the workdir holds."""
    return {'files': self.files, 'links': self.links}


def this_process() -> dict[str, Any]:
  """Returns what a head says of this process while it works on a workdir."""
  return provenance.holder() | {'token': uuid.uuid4().hex}


class Bucket:
  """The objects of a workdir in a bucket; every call is a request or several."""

  def __init__(self, url: str):
    """Raises ConfigError where it does not answer, within a bound of time."""
    self.url = url
    outcome: list[ConfigError | None] = []

    def connect() -> None:
      try:
        with reaching(url):
          self._connect()
        outcome.append(None)
      except ConfigError as error:
        outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not outcome:
      raise ConfigError(f'{url} does not answer within {PATIENCE:.0f} seconds; {REMEDY}')
    if outcome[0]:
      raise outcome[0]

  def _connect(self) -> None:
    import fsspec  # which takes a fifth of a second

    self._fs, self._root = fsspec.core.url_to_fs(self.url)
    self.newest()

  def _path(self, name: str) -> str:
    return f'{self._root}/{FOLDER}/{name}'

  def _names(self, path: str) -> list[str]:
    """What lies under a path, now."""
    self._fs.invalidate_cache()
    try:
      names = self._fs.ls(path, detail=False)
    except FileNotFoundError:
      return []
    own = path.rpartition('/')[2]
    return sorted({name.rstrip('/').rpartition('/')[2] for name in names} - {own})

  def _numbers(self) -> list[int]:
    """Those of the heads there are, and of none else."""
    names = self._names(f'{self._root}/{FOLDER}')
    found = (re.fullmatch(r'head-(\d+)\.json', name) for name in names)
    return sorted(int(match[1]) for match in found if match)

  def newest(self) -> Head:
    """Returns the newest head, or one that says that nothing is there.

    Raises ConfigError where something is there, and no head.
    """
    for _ in range(5):  # one may be replaced between the two requests
      numbers = self._numbers()
      if not numbers:
        break
      with contextlib.suppress(FileNotFoundError):
        return self._read(numbers[-1])
    if others := [name for name in self._names(self._root) if name != FOLDER]:
      raise ConfigError(
        f'{self.url} holds {", ".join(others[:3])}, which bsjax has not put there; copy a workdir '
        'to a disk and give its path, or choose another --workdir'
      )
    return Head()

  def _read(self, number: int) -> Head:
    content = json.loads(self._fs.cat_file(self._path(_name(number))))
    return Head(**content | {'number': number})

  def create(self, head: Head) -> bool:
    """Creates a head; returns whether it is the newest one, and not that of another process.

    An answer that was lost on its way is asked for: a head may be there although it failed.
    """
    path = self._path(_name(head.number))
    try:
      self._fs.pipe_file(path, _content(head), mode='create')
    except Exception:  # of one that is there, which file systems say in many ways, or another
      self._fs.invalidate_cache()
      if not self._fs.exists(path):
        raise
      if self._read(head.number).by != head.by:
        return False
      self.renew(head)  # it may be that of an earlier try, which says something else
    # That of another may have been removed after a newer one of it.
    return self._numbers()[-1:] == [head.number]

  def is_exclusive(self, head: Head) -> bool:
    """Whether a head that is there cannot be created again: some servers do not ask."""
    try:
      self._fs.pipe_file(self._path(_name(head.number)), _content(head), mode='create')
    except Exception:  # as it should be
      return True
    return False

  def renew(self, head: Head) -> None:
    """Gives a sign of life: puts a head of one's own again, which nobody else puts."""
    self._fs.pipe_file(self._path(_name(head.number)), _content(head))

  def silent(self, head: Head) -> float:
    """Returns the seconds since the last sign of life, by the clock of the bucket if it has one."""
    name = f'clock-{uuid.uuid4().hex}'
    try:
      self._fs.pipe_file(self._path(name), b'')
      self._fs.invalidate_cache()
      now, then = (self._fs.modified(self._path(n)) for n in (name, _name(head.number)))
      return float((now - then).total_seconds())
    except NotImplementedError:
      return time.time() - head.renewed
    except FileNotFoundError:
      return 0.0  # it was replaced just now
    finally:
      with contextlib.suppress(Exception):
        self._fs.rm_file(self._path(name))

  def put(self, files: Mapping[str, Path]) -> None:
    """Puts files under their checksums."""
    if files:
      names = [self._path(f'files/{checksum}') for checksum in files]
      self._fs.put([os.fspath(path) for path in files.values()], names)

  def get(self, files: Mapping[str, Path]) -> None:
    """Gets files by their checksums; raises FileNotFoundError where one was removed meanwhile."""
    if files:
      names = [self._path(f'files/{checksum}') for checksum in files]
      self._fs.get(names, [os.fspath(path) for path in files.values()])

  def show(self, path: Path, name: str) -> None:
    """Puts a file under its own name, for people."""
    self._fs.put_file(os.fspath(path), f'{self._root}/{name}')

  def hide(self, name: str) -> None:
    """Removes a copy for people."""
    self._remove(f'{self._root}/{name}')

  def remove(self, checksums: Iterable[str]) -> None:
    """Removes files."""
    for checksum in checksums:
      self._remove(self._path(f'files/{checksum}'))

  def remove_head(self, number: int) -> None:
    """Removes the head of a number."""
    self._remove(self._path(_name(number)))

  def _remove(self, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
      self._fs.rm_file(path)

  def files(self) -> set[str]:
    """Returns the checksums of all files there are, also of those that no head names."""
    return {*self._names(self._path('files'))}

  def clear(self, head: Head, before: Collection[str]) -> None:
    """Removes what killed processes left: heads before this one, and files that it does not name.

    Of files those alone that were there before it: later ones are of whoever follows this process.
    """
    for number in self._numbers():
      if number < head.number:
        self.remove_head(number)
    self.remove({*before} - {*head.files.values()})


def _name(number: int) -> str:
  return f'head-{number:09d}.json'


def _content(head: Head) -> bytes:
  return json.dumps(dataclasses.asdict(head) | {'renewed': time.time()}).encode()
