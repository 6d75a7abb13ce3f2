"""What a person sees while a study runs: one live line on a terminal, log lines elsewhere."""

import contextlib
import datetime
import importlib.util
import io
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

WIDTH_OF_FILES = 160  # characters


def make_console(speaks: bool = True) -> Console:
  """Returns the terminal, or whatever takes its place, wide enough there for the tables.

  What does not speak prints nothing.
  """
  if not speaks:
    return Console(quiet=True, file=io.StringIO())
  file = _Heedless(sys.stdout)
  # Names and paths are shown as they are, whatever brackets and colons they hold.
  plain: dict[str, Any] = {'file': file, 'markup': False, 'emoji': False}
  console = Console(**plain)
  return console if console.is_terminal else Console(**plain, width=WIDTH_OF_FILES)


def printable(text: str, encoding: str | None) -> str:
  """Returns a text with '?' for each character that a stream of this encoding cannot take."""
  encoding = encoding or 'utf-8'
  return text.encode(encoding, 'replace').decode(encoding)


class _Heedless:
  """Standard output, which may lose its reader: a training must not end with its terminal."""

  def __init__(self, stream: io.TextIOBase | TextIO):
    self._stream = stream

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    text = printable(text, getattr(self._stream, 'encoding', None))
    return self._heedless(lambda: self._stream.write(text)) or len(text)

  def flush(self) -> None:
    self._heedless(self._stream.flush)

  def _heedless(self, call: Callable[[], Any]) -> Any:
    try:
      return call()
    except OSError:
      with contextlib.suppress(OSError, ValueError):  # so that no later write fails, at the end too
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
      return None


class _Rate(ProgressColumn):
  """Examples per second over all lanes."""

  def render(self, task: Task) -> Text:
    return Text(f'{task.speed:,.0f} examples/s' if task.speed else '')


def is_live(console: Console) -> bool:
  """Returns whether a line on it can change: a terminal, or a notebook that has widgets."""
  notebook = console.is_jupyter and importlib.util.find_spec('ipywidgets') is not None
  return console.is_terminal or notebook


class ProgressLine:
  """How far a training has come: one live line on a terminal or in a notebook, else log lines.

  In a log file, and in a notebook without ipywidgets, there is a line per minute.

  `lanes` lanes have seen `done` of `total` examples together when it begins; it is a context.
  """

  LOG_SECONDS = 60.0

  def __init__(self, console: Console, lanes: int, total: int, done: int):
    self._console, self._lanes, self._total = console, lanes, total
    self._begun = self._seen = done
    self._since = self._said = now()
    self._note = ''
    self._is_live = is_live(console)
    self._live = Progress(
      TextColumn('{task.description}'),
      BarColumn(),
      TextColumn('{task.percentage:>3.0f}%'),
      _Rate(),
      TimeRemainingColumn(),
      console=console,
      disable=not self._is_live,
      speed_estimate_period=60,
    )
    self._task = self._live.add_task(f'{lanes} lanes', total=total, completed=done)

  def __enter__(self) -> 'ProgressLine':
    self._live.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._live.stop()

  def advance(self, examples: int) -> None:
    """Takes note that the lanes have seen so many more examples together."""
    self._seen += examples
    self._live.advance(self._task, examples)
    if not self._is_live and now() - self._said >= self.LOG_SECONDS:
      self._said = now()
      self._console.print(self._log_line(), soft_wrap=True)

  def note(self, text: str) -> None:
    """Takes what a log line says besides, such as the best result so far."""
    self._note = text

  def _log_line(self) -> str:
    rate = (self._seen - self._begun) / max(now() - self._since, 1e-9)
    said = f'{self._seen / self._total:.1%} of {self._lanes} lanes, {rate:,.0f} examples/s'
    if rate > 0:
      left = datetime.timedelta(seconds=round((self._total - self._seen) / rate))
      said += f', {left} left'
    return f'{said}; {self._note}' if self._note else said


class Pace:
  """Chooses how many blocks to run at a time, so that the host looks up about once a second.

  Only the pace depends on the clock; what is computed does not.
  """

  SECONDS = 1.0

  def __init__(self) -> None:
    self.blocks = 1

  def measured(self, blocks: int, seconds: float) -> None:
    """Takes note that so many blocks took so many seconds."""
    wanted = blocks * self.SECONDS / max(seconds, 1e-6)
    # At most doubling: the first run includes compilation, and machines have moods.
    self.blocks = max(1, min(int(wanted), 2 * self.blocks))


def now() -> float:
  """Returns a monotonic time in seconds."""
  return time.perf_counter()
