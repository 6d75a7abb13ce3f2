"""One process's hold of a workdir in a bucket: signs of life, pushes of its folder, the end."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

from absl import logging

from bsjax.storage import bucket, staging
from bsjax.storage.bucket import Bucket, Head
from bsjax.storage.bucket_errors import Lost, said
from bsjax.storage.staging import Home, Piece, Snapshot

PAUSES = 1.0, 3.0, 9.0  # seconds between tries of the last push
NOT_PUSHED = '%s cannot be pushed to (%s); every checkpoint tries it again, and the study is in %s'


class Hold:
  """The folder of `home` is pushed to a bucket, whose newest `head` this process created."""

  def __init__(self, there: Bucket, home: Home, head: Head):
    self._there, self._home, self._head = there, home, head
    self._guard = threading.RLock()  # while a head is created, or put again
    self._push: threading.Thread | None = None  # the last one
    self._failed = False  # whether the last push did
    self._known: dict[str, Piece] = {}  # what was pushed
    self._over = threading.Event()
    self.lost = False  # whether another process has taken over

  @contextlib.contextmanager
  def alive(self) -> Iterator[None]:
    """A context in which it gives signs of life."""
    threading.Thread(target=self._live, daemon=True).start()
    try:
      yield
    finally:
      self._over.set()

  def _live(self) -> None:
    """Gives signs of life, and notices where another process has taken over."""
    while not self._over.wait(bucket.BEAT) and not self.lost:
      with contextlib.suppress(Exception), self._guard:  # of the network: pushes tell of it
        newest = self._there.newest()
        if newest.number > self._head.number:
          if newest.by != self._head.by:
            self._lose()
          self._head = newest  # it got there, although that seemed to fail
        self._there.renew(self._head)

  def _lose(self) -> None:
    self.lost = True
    raise Lost(
      f'{self._there.url}: another process has taken over, as this one had given no sign of life '
      f'for {bucket.SILENCE:.0f} seconds; nothing more is written there by this one'
    )

  def push(self) -> None:
    """Begins to push the folder as it is, unless the push before is still under way.

    What fails is said, and tried again by the next push. Raises Lost.
    """
    if self.lost:
      self._lose()
    if not (self._push and self._push.is_alive()):
      with self._tried():
        self._push = threading.Thread(target=self._try, args=(self._snapshot(),), daemon=True)
        self._push.start()

  def _try(self, taken: Snapshot) -> None:
    with self._tried():
      self._send(taken)
      self._failed = False

  @contextlib.contextmanager
  def _tried(self) -> Iterator[None]:
    """Says what fails in the context, once, and goes on."""
    try:
      yield
    except Exception as error:  # of the network or the bucket, of whatever kind
      if not (self._failed or self.lost):
        logging.warning(NOT_PUSHED, self._there.url, said(error), self._home.folder)
      self._failed = True

  def _snapshot(self) -> Snapshot:
    there = {*self._head.files.values()}
    return staging.snapshot(self._home.folder, self._home.apart, self._known, there)

  def _send(self, taken: Snapshot) -> None:
    """Makes the bucket what a snapshot is, at one stroke."""
    pieces, before = staging.with_checksums(taken.pieces), self._head
    files = {name: piece.checksum for name, piece in pieces.items()}
    content = {'files': files, 'links': taken.links}
    if content == before.content:
      return
    known = {*before.files.values()}
    new = {one.checksum: one.apart for one in pieces.values() if one.checksum not in known}
    self._there.put({sum_: path for sum_, path in new.items() if path})
    self._create(**content)
    self._known = {name: piece._replace(apart=None) for name, piece in pieces.items()}
    self._there.remove(known - {*files.values()})

  def _next(self, **changed: Any) -> Head:
    return dataclasses.replace(self._head, number=self._head.number + 1, **changed)

  def _create(self, **changed: Any) -> None:
    """Creates the next head; raises Lost where another process has."""
    with self._guard:
      head = self._next(**changed)
      if not self._there.create(head):
        self._lose()
      self._head = head
      self._home.note(head.by, **head.content)
    self._there.remove_head(head.number - 1)

  def give_up(self) -> None:
    """Works on the bucket no more, and leaves there what is there."""
    self._there.create(self._next(holder=None))

  def give_back(self) -> None:
    """Pushes all there is, with copies for people, and works on the bucket no more."""
    if self._push:
      self._push.join()
    for pause in (*PAUSES, None):
      if self.lost:
        self._lose()
      try:
        self._send(self._snapshot())
        self._show()
        self._create(holder=None)
        return
      except Lost:
        raise
      except Exception as error:  # of the network or the bucket, of whatever kind
        if pause is None:
          head, sums = self._head, staging.checksums(self._home.folder)
          self._home.note(head.by, **head.content, unpushed=sums)
          raise OSError(
            f'{self._there.url}: what came after the last push could not be written there '
            f'({said(error)}); it is in {self._home.folder}, from where the same command on this '
            'machine goes on, unless another process has gone on from the bucket'
          ) from error
        time.sleep(pause)

  def _show(self) -> None:
    """Puts copies of the files at the top under their own names, and removes those of others."""
    wanted = {name: sum_ for name, sum_ in self._head.files.items() if '/' not in name}
    shown = self._head.shown
    if wanted == shown:
      return
    for name, sum_ in wanted.items():
      if shown.get(name) != sum_:
        self._there.show(self._home.folder / name, name)
    for name in shown.keys() - wanted.keys():
      self._there.hide(name)
    self._create(shown=wanted)
