"""A folder of this machine that stands for a workdir in a bucket: fetched, and pushed as it grows.

A study runs in the folder as in any other. What is pushed is the folder as it was between two
operations of the study, and it counts all at once (bucket.py). So whatever a start finds in the
bucket is what a disk could hold as well, of a process killed at the moment of a push.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from bsjax.storage import bucket, bucket_errors, records, staging, urls, user_cache
from bsjax.storage.bucket import Bucket, Head
from bsjax.storage.bucket_errors import InUse, Lost, NotWritable, reaching, said
from bsjax.storage.staging import Piece, Snapshot

BASE, APART = 'base.json', 'apart'  # beside the folder
PAUSES = 1.0, 3.0, 9.0  # seconds between tries of the last push
NOT_PUSHED = '%s cannot be pushed to (%s); every checkpoint tries it again, and the study is in %s'
MEANWHILE = 3.0  # seconds that a process waits for one of its machine that only reads
POLL = 0.1  # seconds between two looks at whether another has fetched the folder


class Mirror:
  """The folder of a URL, `folder`; nothing is read or written before `fetch` or `held`."""

  def __init__(self, url: str):
    self.url = urls.normal(url)
    home = os.environ.get('BSJAX_STAGING') or user_cache.folder('buckets')
    name = hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()
    self._home = Path(home).expanduser().absolute() / name
    self.folder = self._home / re.sub(r'[^\w.-]', '_', self.url.rpartition('/')[2])
    self._bucket: Bucket | None = None  # while this process works on it
    self._head = Head()  # the newest one then, which this process created
    self._guard = threading.RLock()  # while a head is created, or put again
    self._push: threading.Thread | None = None  # the last one
    self._failed = False  # whether the last push did
    self._known: dict[str, Piece] = {}  # what was pushed
    self.lost = False  # whether another process has taken over

  @contextlib.contextmanager
  def held(self) -> Iterator[None]:
    """Works on the bucket: fetches at first, and pushes at the end; within another it does nothing.

    Raises InUse where another process does, OSError where the end could not be pushed, and Lost
    where another process has taken over.
    """
    if self._bucket:
      yield
      return
    there = Bucket(self.url)
    with staging.alone(self._home, MEANWHILE) as alone, contextlib.ExitStack() as over:
      fetched = False
      with reaching(self.url):
        if not alone:
          raise InUse(bucket_errors.in_use(self.url, there.newest().holder))
        head = self._take(there)
      over.callback(self._stay(there))
      try:
        with reaching(self.url):
          self._place(there, head)
        fetched = True
        yield
      except BaseException:
        try:
          self._give_back(there) if fetched else there.create(self._next(holder=None))
        except Exception as error:  # it must not hide what came first
          if not self.lost:
            logging.warning('%s', error)
        raise
      else:
        self._give_back(there)

  def fetch(self) -> None:
    """Makes the folder what the bucket holds, unless a process of this machine works on it.

    Where one fetches it, it waits for that. Raises ConfigError where the bucket cannot be read.
    """
    while not self._bucket:
      with staging.alone(self._home) as alone:
        if alone:
          there = Bucket(self.url)
          with reaching(self.url):
            self._place(there, there.newest())
          return
      if 'files' in self._base():
        return
      time.sleep(POLL)

  def _take(self, there: Bucket) -> Head:
    """Becomes the process that works on the bucket; raises InUse where another is.

    Returns the head before.
    """
    head, this, base = there.newest(), bucket.this_process(), self._base()
    # Whoever had the folder before is dead, as this process has it now.
    if head.holder and head.holder['token'] != base.get('token'):
      with reaching(self.url, NotWritable):
        left = bucket.SILENCE - there.silent(head)
      if left > 0:
        raise InUse(bucket_errors.in_use(self.url, head.holder, left))
    records.write_json(self._home / BASE, base | {'token': this['token']})
    mine = dataclasses.replace(head, number=head.number + 1, holder=this, by=this['token'])
    before = there.files()
    with reaching(self.url, NotWritable):
      first = there.create(mine)
    if not first:
      raise InUse(bucket_errors.in_use(self.url, there.newest().holder, bucket.SILENCE))
    if not there.is_exclusive(mine):
      logging.warning(bucket_errors.NOT_EXCLUSIVE, self.url)
    with contextlib.suppress(Exception):  # the next one may
      there.clear(mine, before)
    self._head, self._known, self._failed, self.lost = mine, {}, False, False
    return head

  def _stay(self, there: Bucket) -> Callable[[], None]:
    """Gives signs of life from now on; returns what ends that."""
    over, self._bucket = threading.Event(), there
    threading.Thread(target=self._live, args=(there, over), daemon=True).start()

    def leave() -> None:
      over.set()
      self._bucket = None

    return leave

  def _place(self, there: Bucket, head: Head) -> None:
    """Makes the folder what a head says, but where it is ahead of that, as it could not be pushed.

    A file that is gone was replaced after the head was read, and it is read again.
    """
    base = self._base()
    token = base.get('token', '')
    for _ in range(5):
      staging.refuse_odd(head.files, head.links, head.shown)
      ahead = base.get('unpushed') and base['files'] == head.files and base['links'] == head.links
      if ahead and staging.checksums(self.folder) == base['unpushed']:
        logging.warning('%s goes on from what could not be pushed: %s', self.url, self.folder)
        self._note(head, token, base['unpushed'])
        return
      records.write_json(self._home / BASE, {'token': token})  # it is neither, meanwhile
      with contextlib.suppress(FileNotFoundError):
        staging.place(self.folder, self._home / APART, head.files, head.links, there.get)
        self._note(head, token)
        return
      before, head = head, there.newest()
      if head.number == before.number:
        raise records.Damaged(f'{self.url}: an object that it should hold is missing')
    raise OSError(f'{self.url} changes faster than it can be read; try again later')

  def _base(self) -> dict[str, Any]:
    """What the folder was when it was last in step with the bucket, and who had it."""
    try:
      return records.read_json(self._home / BASE)
    except (FileNotFoundError, records.Damaged):
      return {}

  def _note(self, head: Head, token: str, unpushed: Mapping[str, str] | None = None) -> None:
    base = {'url': self.url, 'token': token, 'files': head.files, 'links': head.links}
    records.write_json(self._home / BASE, base | {'unpushed': unpushed or {}})

  def _live(self, there: Bucket, over: threading.Event) -> None:
    """Gives signs of life, and notices where another process has taken over."""
    while not over.wait(bucket.BEAT) and not self.lost:
      with contextlib.suppress(Exception), self._guard:  # of the network: pushes tell of it
        newest = there.newest()
        if newest.number > self._head.number:
          if newest.by != self._head.by:
            self._lose()
          self._head = newest  # it got there, although that seemed to fail
        there.renew(self._head)

  def _lose(self) -> None:
    self.lost = True
    raise Lost(
      f'{self.url}: another process has taken over, as this one had given no sign of life for '
      f'{bucket.SILENCE:.0f} seconds; nothing more is written there by this one'
    )

  def push(self) -> None:
    """Begins to push the folder as it is, unless the push before is still under way.

    What fails is said, and tried again by the next push. Raises Lost.
    """
    if self.lost:
      self._lose()
    if self._bucket and not (self._push and self._push.is_alive()):
      with self._tried():
        taken = self._snapshot()
        self._push = threading.Thread(target=self._try, args=(self._bucket, taken), daemon=True)
        self._push.start()

  def _try(self, there: Bucket, taken: Snapshot) -> None:
    with self._tried():
      self._send(there, taken)
      self._failed = False

  @contextlib.contextmanager
  def _tried(self) -> Iterator[None]:
    """Says what fails in the context, once, and goes on."""
    try:
      yield
    except Exception as error:  # of the network or the bucket, of whatever kind
      if not (self._failed or self.lost):
        logging.warning(NOT_PUSHED, self.url, said(error), self.folder)
      self._failed = True

  def _snapshot(self) -> Snapshot:
    there = {*self._head.files.values()}
    return staging.snapshot(self.folder, self._home / APART, self._known, there)

  def _send(self, there: Bucket, taken: Snapshot) -> None:
    """Makes the bucket what a snapshot is, at one stroke."""
    pieces, before = staging.with_checksums(taken.pieces), self._head
    files = {name: piece.checksum for name, piece in pieces.items()}
    if (files, taken.links) == (before.files, before.links):
      return
    known = {*before.files.values()}
    new = {one.checksum: one.apart for one in pieces.values() if one.checksum not in known}
    there.put({sum_: path for sum_, path in new.items() if path})
    self._create(there, files=files, links=taken.links)
    self._known = {name: piece._replace(apart=None) for name, piece in pieces.items()}
    there.remove(known - {*files.values()})

  def _next(self, **changed: Any) -> Head:
    return dataclasses.replace(self._head, number=self._head.number + 1, **changed)

  def _create(self, there: Bucket, **changed: Any) -> None:
    """Creates the next head; raises Lost where another process has."""
    with self._guard:
      head = self._next(**changed)
      if not there.create(head):
        self._lose()
      self._head = head
      self._note(head, head.by)
    there.remove_head(head.number - 1)

  def _give_back(self, there: Bucket) -> None:
    """Pushes all there is, with copies for people, and works on the bucket no more."""
    if self._push:
      self._push.join()
    for pause in (*PAUSES, None):
      if self.lost:
        self._lose()
      try:
        self._send(there, self._snapshot())
        self._show(there)
        self._create(there, holder=None)
        return
      except Lost:
        raise
      except Exception as error:  # of the network or the bucket, of whatever kind
        if pause is None:
          self._note(self._head, self._head.by, staging.checksums(self.folder))
          raise OSError(
            f'{self.url}: what came after the last push could not be written there '
            f'({said(error)}); it is in {self.folder}, from where the same command on this machine '
            'goes on, unless another process has gone on from the bucket'
          ) from error
        time.sleep(pause)

  def _show(self, there: Bucket) -> None:
    """Puts copies of the files at the top under their own names, and removes those of others."""
    wanted = {name: sum_ for name, sum_ in self._head.files.items() if '/' not in name}
    shown = self._head.shown
    if wanted == shown:
      return
    for name, sum_ in wanted.items():
      if shown.get(name) != sum_:
        there.show(self.folder / name, name)
    for name in shown.keys() - wanted.keys():
      there.hide(name)
    self._create(there, shown=wanted)
