"""The metric and the loss by which runs are judged: names of columns, words, direction, unit.

Nothing else says them: `models/task.py` adds how they are computed, and whoever reads records or
writes about them takes names and words from here.
"""

import math
from typing import NamedTuple


class MetricEntry(NamedTuple):
  """All that is said of a metric, without the function that computes it."""

  name: str  # in columns of records.jsonl and keys of summary.json
  title: str
  plural: str
  higher_is_better: bool
  unit: str = ''  # of a difference, in `report.text.formats.UNITS`
  lowest: float = -math.inf
  highest: float = math.inf
  # Whether targets are the indices of classes, one for each output, and records also hold the means
  # over the examples of each class, and the mean of those (the "balanced" metric).
  by_class: bool = False

  def allows(self, value: float) -> bool:
    return self.lowest <= value <= self.highest

  def clip(self, value: float) -> float:
    """The nearest value that is possible."""
    return float(min(max(value, self.lowest), self.highest))

  def merit(self, value: float) -> float:
    """A value, or less it, as one of which more is better."""
    return value if self.higher_is_better else -value

  def cost(self, value: float) -> float:
    """A value as one of which less is better, and back; the best possible one costs nothing."""
    return self.highest - value if self.higher_is_better else value


class LossEntry(NamedTuple):
  """All that is said of a loss, without the function that computes it."""

  title: str
  unit: str


METRIC = MetricEntry(
  'accuracy',
  'accuracy',
  'accuracies',
  higher_is_better=True,
  unit='fraction',
  lowest=0,
  highest=1,
  by_class=True,
)
LOSS = LossEntry('cross entropy', 'nats')

REESTIMATED = 'reestimated_'  # the prefix of quantities under re-estimated BatchNorm statistics
TRAIN, VAL = f'train_{METRIC.name}', f'val_{METRIC.name}'
REESTIMATED_VAL = REESTIMATED + VAL
BALANCED, OF_CLASSES = f'balanced_{METRIC.name}', f'class_{METRIC.name}'  # mean, and list
VAL_BALANCED, VAL_OF_CLASSES = f'val_{BALANCED}', f'val_{OF_CLASSES}'

TRAIN_TITLE, VAL_TITLE = f'training {METRIC.title}', f'validation {METRIC.title}'
A_METRIC = f'{"an" if METRIC.title[0] in "aeiou" else "a"} {METRIC.title}'


def is_metric(column: str) -> bool:
  """Whether a column or quantity is the metric itself, of whatever split or statistics."""
  return column.endswith(METRIC.name)
