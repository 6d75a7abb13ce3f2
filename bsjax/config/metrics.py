"""The metric and the loss by which runs are judged: names of columns, words, direction, unit.

Nothing else says them: `models/task.py` adds how they are computed, and whoever reads records or
writes about them asks `judged()`. Without another task these are the words of classification; a
study with a task of its own has them in its config.json, and is read inside `judging`.
"""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError

FRACTION = 'fraction'  # the unit of what lies between 0 and 1 and is shown in percent
NAME = re.compile('[a-z][a-z0-9_]*')
TAKEN = 'loss', 'gap', 'error'  # of which records and summaries speak already


class MetricEntry(NamedTuple):
  """All that is said of a metric, without the function that computes it."""

  name: str  # in columns of records.jsonl and keys of summary.json
  title: str
  plural: str
  higher_is_better: bool
  unit: str = ''  # as people read it, or FRACTION
  lowest: float = -math.inf
  highest: float = math.inf
  # Whether targets are the indices of classes, one for each output, and records also hold the means
  # over the examples of each class, and the mean of those (the "balanced" metric).
  by_class: bool = False
  margin: float | None = (
    None  # the largest difference that counts as none; None: see `MARGIN_SHARE`
  )

  @property
  def percent(self) -> bool:
    """Whether values are shown in percent, and differences in percentage points."""
    return self.unit == FRACTION

  def allows(self, value: float) -> bool:
    return self.lowest <= value <= self.highest

  def merit(self, value: float) -> float:
    """A value, or less it, as one of which more is better."""
    return value if self.higher_is_better else -value

  def cost(self, value: float) -> float:
    """A value as one of which less is better, and back; the best possible one costs nothing."""
    return self.highest - value if self.higher_is_better else value


class LossEntry(NamedTuple):
  """All that is said of a loss, without the function that computes it."""

  title: str
  unit: str = ''
  lowest: float = -math.inf


ACCURACY = MetricEntry(
  'accuracy',
  'accuracy',
  'accuracies',
  higher_is_better=True,
  unit=FRACTION,
  lowest=0,
  highest=1,
  by_class=True,
  margin=0.005,
)
CROSS_ENTROPY = LossEntry('cross entropy', 'nats', lowest=0)

REESTIMATED = 'reestimated_'  # the prefix of quantities under re-estimated BatchNorm statistics
# Of the middle final value of all runs: the margin of a metric that comes without one.
MARGIN_SHARE = 0.01
NEAR_MARGINS = 4  # learning rates that fall short of the best by more are not read with it


@dataclass(frozen=True)
class Judged:
  """By what runs are judged; `margin` is the largest difference that counts as none."""

  metric: MetricEntry = ACCURACY
  loss: LossEntry = CROSS_ENTROPY
  margin: float = 0.005

  @property
  def val(self) -> str:
    return f'val_{self.metric.name}'

  @property
  def train(self) -> str:
    return f'train_{self.metric.name}'

  @property
  def reestimated_val(self) -> str:
    return REESTIMATED + self.val

  @property
  def balanced(self) -> str:
    """The mean over classes."""
    return f'balanced_{self.metric.name}'

  @property
  def of_classes(self) -> str:
    """The list of those of all classes."""
    return f'class_{self.metric.name}'

  @property
  def val_balanced(self) -> str:
    return f'val_{self.balanced}'

  @property
  def val_of_classes(self) -> str:
    return f'val_{self.of_classes}'

  @property
  def val_cost(self) -> str:
    """The quantity of which less is better, from the metric on validation data."""
    if not self.metric.higher_is_better:
      return self.val
    return 'val_error' if math.isfinite(self.metric.highest) else 'val_loss'

  @property
  def train_title(self) -> str:
    return f'training {self.metric.title}'

  @property
  def val_title(self) -> str:
    return f'validation {self.metric.title}'

  @property
  def a_metric(self) -> str:
    return f'{"an" if self.metric.title[0] in "aeiou" else "a"} {self.metric.title}'

  @property
  def gap_title(self) -> str:
    """Positive where training looks better."""
    if self.metric.higher_is_better:
      return f'training minus {self.val_title}'
    return f'validation minus {self.train_title}'

  @property
  def best_mean(self) -> str:
    return 'highest' if self.metric.higher_is_better else 'lowest'

  @property
  def better_side(self) -> str:
    """On which side of zero a difference is for the better."""
    return 'above' if self.metric.higher_is_better else 'below'

  @property
  def worse_side(self) -> str:
    return 'below' if self.metric.higher_is_better else 'above'

  @property
  def better_than(self) -> str:
    """How a better value lies beside a worse one: 'higher'."""
    return 'higher' if self.metric.higher_is_better else 'lower'

  @property
  def worse_than(self) -> str:
    return 'lower' if self.metric.higher_is_better else 'higher'

  @property
  def unit(self) -> str:
    """The code of the unit of the metric, in `report.text.formats.units`."""
    return FRACTION if self.metric.percent else 'metric'

  @property
  def loss_unit(self) -> str:
    """The code of that of the loss."""
    return 'nats' if self.loss.unit == 'nats' else 'loss'

  @property
  def of_points(self) -> str:
    """What follows a difference of the metric: ' percentage points'."""
    unit = 'percentage points' if self.metric.percent else self.metric.unit
    return f' {unit}' if unit else ''

  def gap(self, train: float, val: float) -> float:
    """How much better training looks than validation."""
    return train - val if self.metric.higher_is_better else val - train

  def is_metric(self, column: str) -> bool:
    """Whether a column or quantity is the metric itself, of whatever split or statistics."""
    return column == self.metric.name or column.endswith(f'_{self.metric.name}')

  def bounds(self, column: str) -> tuple[float | int, float | int]:
    """The least and the most that a column or quantity can be; infinite where that is not known."""
    if self.is_metric(column):
      return self.metric.lowest, self.metric.highest
    is_loss = column.endswith(('train_loss', 'val_loss'))  # and no difference of two
    return (self.loss.lowest if is_loss else -math.inf), math.inf

  def clip(self, value: float | int, column: str) -> float:
    """The nearest value that a column or quantity can have."""
    low, high = self.bounds(column)
    return float(min(max(value, low), high))


USUAL = Judged()  # also of tables that no config describes
_JUDGED: ContextVar[Judged] = ContextVar('judged', default=USUAL)


def judged() -> Judged:
  """By what the runs at hand are judged."""
  return _JUDGED.get()


@contextlib.contextmanager
def judging(by: Judged) -> Iterator[Judged]:
  """Has all inside read and write about runs by this metric and loss."""
  token = _JUDGED.set(by)
  try:
    yield by
  finally:
    _JUDGED.reset(token)


def stored(metric: MetricEntry, loss: LossEntry) -> dict[str, Any]:
  """What config.json says of a task: `judged_of` reads it."""
  return {'metric': _said(metric), 'loss': _said(loss)}


def _said(entry: MetricEntry | LossEntry) -> dict[str, Any]:
  """What JSON can hold of an entry; what is left out is the default."""
  infinite = -math.inf, math.inf
  return {key: x for key, x in entry._asdict().items() if x is not None and x not in infinite}


def judged_of(config: Mapping[str, Any] | ConfigDict, level: float = math.nan) -> Judged:
  """By what the runs of a config are judged; `level` is a usual value of the metric."""
  task = (config.get('own') or {}).get('task')
  if not task:
    return Judged()
  metric = MetricEntry(**task['metric'])
  margin = metric.margin
  if margin is None:
    margin = MARGIN_SHARE * abs(level) if math.isfinite(level) and level else MARGIN_SHARE
  return Judged(metric, LossEntry(**task['loss']), margin)


def check_name(name: str) -> None:
  """Raises ConfigError for a name that records cannot have as a column."""
  if not NAME.fullmatch(name) or name in TAKEN:
    raise ConfigError(
      f'a metric is called {name!r}: give small letters, digits and underscores, beginning with a '
      f'letter, and none of {", ".join(TAKEN)}'
    )
