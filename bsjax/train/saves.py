"""The checkpoints of a training: when the next one is due, and which of them can be used."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax.console import now
from bsjax.engine import processes
from bsjax.storage import buckets, checkpoint
from bsjax.storage.position import Position
from bsjax.storage.records import Damaged
from bsjax.train.kept_rows import Damage

LEAST_BETWEEN = 20  # times as long as a save takes: no more than a twentieth goes into them


class Saves:
  """Saves and restores states, which the first process alone writes and reads, while `opened`.

  A disk that takes no more is an OSError, which says what to do.
  """

  def __init__(self, workdir: Path, keys: ConfigDict):
    """`keys` are those of `config.checkpoint`."""
    self.workdir, self.keys = workdir, keys
    self.mirror = buckets.of(workdir)
    self.saved_at, self.seconds = now(), 0.0
    self.manager: Any = contextlib.nullcontext()
    if processes.is_first():
      self.manager = checkpoint.open_manager(workdir, keys.keep_all)

  @contextlib.contextmanager
  def opened(self) -> Iterator[None]:
    """A context that ends when a save under way is finished."""
    with checkpoint.without_traces(), contextlib.ExitStack() as stack:
      stack.enter_context(self.manager)
      try:
        yield
      except BaseException:
        with contextlib.suppress(Exception):  # of a save: what came first is said
          stack.close()
        raise
      self._write(stack.close)

  @property
  def overdue(self) -> bool:
    """Whether the last save was longer ago than `checkpoint.seconds`, by this process's clock."""
    if self.mirror and self.mirror.lost:
      return True  # and the save says so
    return now() - self.saved_at > max(self.keys.seconds, LEAST_BETWEEN * self.seconds)

  def save(self, states: Sequence[PyTree], position: Position) -> None:
    """Begins a save of host arrays; it may end while lanes train."""
    begun = now()
    write = functools.partial(checkpoint.save, self.manager, states, position)
    processes.first(lambda: self._push_after(write))
    self.saved_at = now()
    self.seconds = self.saved_at - begun

  def _push_after(self, write: Callable[[], None]) -> None:
    """Calls what writes; what lies in a bucket is pushed when that is on disk."""
    self._write(write)
    if self.mirror:
      self._write(self.manager.wait_until_finished)
      self.mirror.push()

  def wait(self) -> None:
    """Returns when what was saved is on disk."""
    processes.first(lambda: self._write(self.manager.wait_until_finished))

  def _write(self, call: Callable[[], None]) -> None:
    """Calls what writes, or waits for it; raises OSError where the disk takes no more."""
    try:
      call()
    except (OSError, ValueError) as error:  # ValueError: as TensorStore says it
      code = re.search(r"os_error_code='(\d+)'", str(error))
      if not code and not isinstance(error, OSError):
        raise
      reason = os.strerror(int(code[1])) if code else str(error)
      raise OSError(
        f'a checkpoint cannot be written to {self.workdir / "checkpoints"} ({reason}); free space '
        'there: those before it are whole, and the same command goes on from the newest'
      ) from error

  def load_newest(self, load: Callable[[int], None], rows: Damage) -> bool:
    """Calls `load` with the steps of checkpoints, newest first, until one can be used.

    That is one of which the `rows` that go before it are sound. Returns whether one was; False:
    there are none. Raises Damaged where none of them can be.
    """
    self.wait()  # after memory ran out a save may still be under way
    damaged: list[str] = []
    later: list[int] = []  # than the damage of rows
    for step in processes.first(lambda: checkpoint.newest_first(self.manager)):
      try:
        if self.position(step).evaluated >= rows.before:
          later.append(step)
          continue
        load(step)
      except checkpoint.Unreadable as error:
        damaged.append(str(error))
        continue
      for sentence in damaged:
        logging.warning('%s; continuing from the one before it', sentence)
      if later or rows.found:
        logging.warning('%s; continuing from checkpoint %d, from before that', rows.why, step)
      return True
    if later:
      damaged.append(f'{rows.why}, and checkpoints from {later[-1]} on are from after that')
    if damaged:
      names = filter(lambda name: (self.workdir / name).exists(), ('checkpoints', 'summary.json'))
      remove = ' and '.join(str(self.workdir / name) for name in names)
      raise Damaged(
        f'no checkpoint of {self.workdir} can be used ({"; ".join(damaged)}); remove {remove} to '
        'train from the beginning, restore what is damaged, or choose another --workdir'
      )
    return False

  def position(self, step: int) -> Position:
    """Where the states of a checkpoint stand."""
    return processes.first(lambda: checkpoint.position(self.manager, step))

  def states(self, step: int, like: Sequence[PyTree]) -> Sequence[PyTree]:
    """The states of a checkpoint, in the form of `like`."""
    return processes.first(lambda: checkpoint.restore(self.manager, step, like))
