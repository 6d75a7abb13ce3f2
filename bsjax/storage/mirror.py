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
import time
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from bsjax.storage import bucket, bucket_errors, records, staging, urls, user_cache
from bsjax.storage.bucket import Bucket, Head
from bsjax.storage.bucket_errors import InUse, NotWritable, reaching
from bsjax.storage.hold import Hold
from bsjax.storage.staging import Home

MEANWHILE = 3.0  # seconds that a process waits for one of its machine that only reads
POLL = 0.1  # seconds between two looks at whether another has fetched the folder


class Mirror:
  """The folder of a URL, `folder`; nothing is read or written before `fetch` or `held`."""

  def __init__(self, url: str):
    self.url = urls.normal(url)
    home = os.environ.get('BSJAX_STAGING') or user_cache.folder('buckets')
    name = hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()
    root = Path(home).expanduser().absolute() / name
    self.folder = root / re.sub(r'[^\w.-]', '_', self.url.rpartition('/')[2])
    self._home = Home(self.url, root, self.folder)
    self._hold: Hold | None = None  # while this process works on the bucket
    self._fetched: tuple[int, str] | None = None  # number and author of the head it is made of

  @property
  def lost(self) -> bool:
    """Whether another process has taken over what this one held."""
    return self._hold is not None and self._hold.lost

  def push(self) -> None:
    """Begins to push the folder as it is, if the bucket is held; raises Lost (`Hold.push`)."""
    if self._hold:
      self._hold.push()

  @contextlib.contextmanager
  def held(self) -> Iterator[None]:
    """Works on the bucket: fetches at first, and pushes at the end; within another it does nothing.

    Raises InUse where another process does, OSError where the end could not be pushed, and Lost
    where another process has taken over.
    """
    if self._hold:
      yield
      return
    there = Bucket(self.url)
    with staging.alone(self._home.root, MEANWHILE) as alone:
      with reaching(self.url):
        if not alone:
          raise InUse(bucket_errors.in_use(self.url, there.newest().holder))
        before, mine = self._take(there)
      self._hold = Hold(there, self._home, mine)
      try:
        with self._hold.alive():
          yield from self._working(there, before, self._hold)
      finally:
        self._hold = None

  def _working(self, there: Bucket, before: Head, hold: Hold) -> Iterator[None]:
    """Fetches, yields once, and pushes; an error of that does not hide one that came before."""
    end = hold.give_up
    try:
      with reaching(self.url):
        self._place(there, before)
      end = hold.give_back
      yield
    except BaseException:
      try:
        end()
      except Exception as error:
        if not hold.lost:
          logging.warning('%s', error)
      raise
    hold.give_back()

  def fetch(self) -> None:
    """Makes the folder what the bucket holds, unless a process of this machine works on it.

    Where one fetches it, it waits for that. Raises ConfigError where the bucket cannot be read.
    """
    while not self._hold:
      with staging.alone(self._home.root) as alone:
        if alone:
          there = Bucket(self.url)
          with reaching(self.url):
            head = there.newest()
            if (head.number, head.by) != self._fetched:
              head = self._place(there, head)
              self._fetched = head.number, head.by
          return
      if 'files' in self._home.base():
        return
      time.sleep(POLL)

  def _take(self, there: Bucket) -> tuple[Head, Head]:
    """Becomes the process that works on the bucket; raises InUse where another is.

    Returns the head before, and that which says so.
    """
    head, this, base = there.newest(), bucket.this_process(), self._home.base()
    # Whoever had the folder before is dead, as this process has it now.
    if head.holder and head.holder['token'] != base.get('token'):
      with reaching(self.url, NotWritable):
        left = bucket.SILENCE - there.silent(head)
      if left > 0:
        raise InUse(bucket_errors.in_use(self.url, head.holder, left))
    self._home.note(**base | {'token': this['token']})
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
    return head, mine

  def _place(self, there: Bucket, head: Head) -> Head:
    """Makes the folder what a head says, but where it is ahead of that, as it could not be pushed.

    A file that is gone was replaced after the head was read, and it is read again. Returns the head
    that counted.
    """
    base = self._home.base()
    token = base.get('token', '')
    for _ in range(5):
      staging.refuse_odd(head.files, head.links, head.shown)
      ahead = base.get('unpushed') and all(base[key] == one for key, one in head.content.items())
      if ahead and staging.checksums(self.folder) == base['unpushed']:
        logging.warning('%s goes on from what could not be pushed: %s', self.url, self.folder)
        self._home.note(token, **head.content, unpushed=base['unpushed'])
        return head
      self._home.note(token)  # it is neither, meanwhile
      with contextlib.suppress(FileNotFoundError):
        staging.place(self.folder, self._home.apart, head.files, head.links, there.get)
        self._home.note(token, **head.content)
        return head
      before, head = head, there.newest()
      if head.number == before.number:
        raise records.Damaged(f'{self.url}: an object that it should hold is missing')
    raise OSError(f'{self.url} changes faster than it can be read; try again later')
