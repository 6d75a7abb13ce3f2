"""Signals that ask a command to stop, and the exit code that says it was not done.

It imports nothing of bsjax and nothing heavy, so that a command listens from its first moment on.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run the same command again
# An interrupt, and what schedulers send ahead of the end; those that this system has.
NAMES = ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1')
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
_when = ['before there was anything to save']  # as what a signal ends says; the last counts


def leave_on_signal(tell: Callable[[str], None] | None = None) -> None:
  """From now on a signal ends the process, as there is nothing to save; within `asking` it asks.

  `tell` is called with the name of the signal before, and when that was (`leaving`).

  It ends at once, as if it were killed: an exception would be lost where Python ignores those of
  callbacks, such as that by which JAX hears of garbage collections, and the study would run on.
  """

  def leave(number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    for stream in sys.stdout, sys.stderr:
      with contextlib.suppress(Exception):  # it may be in the midst of a write, or gone
        stream.flush()
    stopped = f'{name} {_when[-1]}'
    if tell:
      with contextlib.suppress(Exception):  # nothing keeps it from its end
        tell(stopped)
    with contextlib.suppress(OSError):
      os.write(2, f'bsjax: stopped by {stopped}\n'.encode())
    os._exit(UNFINISHED)

  for number in SIGNALS:
    if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
      signal.signal(number, leave)


@contextlib.contextmanager
def leaving(when: str) -> Iterator[None]:
  """Has a signal that ends the process in the context say when it did."""
  _when.append(when)
  try:
    yield
  finally:
    _when.pop()


@contextlib.contextmanager
def asking(ask: Callable[[], None]) -> Iterator[None]:
  """Has the first signal in the context call `ask`; any again, or SIGINT, ends the process at once.

  One of each kind is one request: of a job that is preempted Slurm tells the script, which passes
  SIGUSR1 on, and its processes by SIGTERM.
  """

  def handle(number: int, _: FrameType | None) -> None:
    for each in heard:
      signal.signal(each, signal.SIG_DFL if each in (number, signal.SIGINT) else let_pass)
    ask()

  def let_pass(number: int, _: FrameType | None) -> None:
    """Once; no SIG_IGN, of which Python complains where the signal is waiting to be handled."""
    signal.signal(number, signal.SIG_DFL)

  on_main = threading.current_thread() is threading.main_thread()  # only it may set handlers
  heard = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN] if on_main else []
  before = {number: signal.signal(number, handle) for number in heard}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
