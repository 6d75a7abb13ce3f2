"""Accuracy by class: of rare, medium and frequent classes, and of each against its examples."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, INK, TRAINING, VALIDATION


def _series() -> dict[str, tuple[str, str, str]]:
  """Quantity -> its label, colour and marker."""
  return {
    'rare': ('rare classes', BEST, 'v'),
    'medium': ('medium', TRAINING, 's'),
    'frequent': ('frequent', VALIDATION, '^'),
    judged().balanced: ('balanced, all classes', INK, 'o'),
  }


def draw_groups(axes: Axes, source: Source) -> None:
  """Mean accuracy of each group of classes with its interval, against batch size."""
  rows = _rows(source)
  series = _series()
  shown = [name for name in series if any(name in row for row in rows)]
  for place, name in enumerate(shown):
    label, colour, marker = series[name]
    shift = 2 ** (0.06 * (place - (len(shown) - 1) / 2))
    marks.estimates(axes, rows, name, colour, shift=shift, marker=marker, label=label)
  title = f'{judged().val_title.capitalize()} of rare and frequent classes'
  style.batch_size_axis(axes, source.sizes, title)
  _within_accuracies(axes)
  if rows:
    # Below the axis: between lines close to 0 and 100% no place is sure to be free.
    axes.legend(fontsize=9, ncols=4, loc='upper center', bbox_to_anchor=(0.5, -0.15))


def draw_classes(axes: Axes, source: Source) -> None:
  """The accuracy of every class against its training examples, one colour per batch size."""
  counts = source.summary['by_class']['class_counts']['train']
  order = [label for label in sorted(range(len(counts)), key=counts.__getitem__) if counts[label]]
  rows = _rows(source)
  for place, row in enumerate(rows):
    shift, colour = 2 ** (0.08 * (place - (len(rows) - 1) / 2)), source.colours[row['batch_size']]
    of_classes = row[judged().of_classes]
    classes = [{'examples': counts[k], 'class': of_classes[k]} for k in order]
    marks.estimates(axes, classes, 'class', colour, x='examples', shift=shift, dashes='')
  present = [counts[label] for label in order]
  if max(present) > min(present):
    style.log_axis(axes.xaxis, 'training examples of the class')
  else:
    axes.set_xlabel('training examples of the class')
    axes.xaxis.set_minor_locator(NullLocator())
  axes.set_title(f'{judged().val_title.capitalize()} of each class')
  _within_accuracies(axes)


def _rows(source: Source) -> list[Row]:
  return [row for row in source.summary['by_class']['batch_sizes'] if 'undefined' not in row]


def _within_accuracies(axes: Axes) -> None:
  """An interval may leave 0 to 100%, accuracy cannot."""
  style.accuracy_axis(axes)
  axes.set_ylim(bottom=max(axes.get_ylim()[0], -0.005))
