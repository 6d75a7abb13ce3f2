"""What a person sees while a study runs: one live line on a terminal, nothing elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

WIDTH_OF_FILES = 160  # characters


def make_console() -> Console:
  """Returns the terminal, or whatever takes its place, wide enough there for the tables."""
  console = Console()
  return console if console.is_terminal else Console(width=WIDTH_OF_FILES)


class _Rate(ProgressColumn):
  """Examples per second over all lanes."""

  def render(self, task: Task) -> Text:
    return Text(f'{task.speed:,.0f} examples/s' if task.speed else '')


def progress_line(console: Console, lanes: int, total: int, done: int) -> Progress:
  """Returns a live line for `lanes` lanes that have seen `done` of `total` examples together."""
  line = Progress(
    TextColumn('{task.description}'),
    BarColumn(),
    TextColumn('{task.percentage:>3.0f}%'),
    _Rate(),
    TimeRemainingColumn(),
    console=console,
    disable=not console.is_terminal,
    speed_estimate_period=60,
  )
  line.add_task(f'{lanes} lanes', total=total, completed=done)
  return line


class Pace:
  """Chooses how many blocks to run at a time, so that the host looks up about once a second.

  Only the pace depends on the clock; what is computed does not.
  """

  SECONDS = 1.0

  def __init__(self):
    self.blocks = 1

  def measured(self, blocks: int, seconds: float) -> None:
    """Takes note that so many blocks took so many seconds."""
    wanted = blocks * self.SECONDS / max(seconds, 1e-6)
    # At most doubling: the first run includes compilation, and machines have moods.
    self.blocks = max(1, min(int(wanted), 2 * self.blocks))


def now() -> float:
  """Returns a monotonic time in seconds."""
  return time.perf_counter()
