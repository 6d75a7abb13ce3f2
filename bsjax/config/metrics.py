"""The metric and the loss by which runs are judged: names of columns, words, direction, unit.

Nothing else says them: `models/task.py` adds how they are computed, and whoever reads records or
writes about them takes names and words from here.
"""

from typing import NamedTuple


class MetricEntry(NamedTuple):
  """All that is said of a metric, without the function that computes it."""

  name: str  # in columns of records.jsonl and keys of summary.json
  title: str
  plural: str
  higher_is_better: bool
  unit: str  # as `report.text.formats` shows a difference
  lowest: float
  highest: float
  # Whether targets are the indices of classes, one for each output, and records also hold the means
  # over the examples of each class, and the mean of those (the "balanced" metric).
  by_class: bool = False

  def cost(self, value: float) -> float:
    """How much is missing to the best value, and from it the value again."""
    return self.highest - value if self.higher_is_better else value


class LossEntry(NamedTuple):
  title: str
  unit: str


METRIC = MetricEntry(
  name='accuracy',
  title='accuracy',
  plural='accuracies',
  higher_is_better=True,
  unit='fraction',
  lowest=0.0,
  highest=1.0,
  by_class=True,
)
LOSS = LossEntry(title='cross entropy', unit='nats')

REESTIMATED = 'reestimated_'  # the prefix of quantities under re-estimated BatchNorm statistics
TRAIN, VAL = f'train_{METRIC.name}', f'val_{METRIC.name}'
REESTIMATED_VAL = REESTIMATED + VAL
# The mean over classes, and the list of all classes; in records of the validation split.
BALANCED, OF_CLASSES = f'balanced_{METRIC.name}', f'class_{METRIC.name}'
VAL_BALANCED, VAL_OF_CLASSES = f'val_{BALANCED}', f'val_{OF_CLASSES}'

A_METRIC = f'{"an" if METRIC.title[0] in "aeiou" else "a"} {METRIC.title}'
TRAIN_TITLE, VAL_TITLE = f'training {METRIC.title}', f'validation {METRIC.title}'
