"""Accuracy by class: of rare, medium and frequent classes, and of each against its examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from bsjax.analysis.runs.histories import Row
from bsjax.report.panels import style
from bsjax.report.panels.style import BEST, INK, PAPER, TRAINING, VALIDATION, Summary

# Quantity -> its label, colour and marker.
SERIES = {
  'rare': ('rare classes', BEST, 'v'),
  'medium': ('medium', TRAINING, 's'),
  'frequent': ('frequent', VALIDATION, '^'),
  'balanced_accuracy': ('balanced, all classes', INK, 'o'),
}


def draw_groups(axes: Axes, summary: Summary) -> None:
  """Mean accuracy of each group of classes with its interval, against batch size."""
  rows = _rows(summary)
  shown = [name for name in SERIES if any(name in row for row in rows)]
  for place, name in enumerate(shown):
    label, colour, marker = SERIES[name]
    shift = 2 ** (0.06 * (place - (len(shown) - 1) / 2))
    dots = {'markersize': 7, 'markeredgecolor': PAPER, 'zorder': 3}
    known = [row for row in rows if row[name]['mean'] is not None]
    x, y = [row['batch_size'] * shift for row in known], [row[name]['mean'] for row in known]
    axes.plot(x, y, marker=marker, color=colour, linewidth=1.2, label=label, **dots)
    for at, row in zip(x, known, strict=True):
      _interval(axes, at, row[name], colour)
  style.batch_size_axis(axes, summary, 'Validation accuracy of rare and frequent classes')
  style.percent_axis(axes)
  _within_accuracies(axes)
  if rows:
    # Below the axis: between lines close to 0 and 100% no place is sure to be free.
    axes.legend(fontsize=9, ncols=4, loc='upper center', bbox_to_anchor=(0.5, -0.15))


def draw_classes(axes: Axes, summary: Summary) -> None:
  """The accuracy of every class against its training examples, a colour each batch size."""
  counts, tints = summary['by_class']['class_counts']['train'], style.colours(summary)
  order = [label for label in sorted(range(len(counts)), key=counts.__getitem__) if counts[label]]
  rows = _rows(summary)
  for place, row in enumerate(rows):
    shift, tint = 2 ** (0.08 * (place - (len(rows) - 1) / 2)), tints[row['batch_size']]
    known = [label for label in order if row['class_accuracy'][label]['mean'] is not None]
    x = [counts[label] * shift for label in known]
    y = [row['class_accuracy'][label]['mean'] for label in known]
    axes.plot(x, y, 'o', color=tint, markersize=5, markeredgecolor=PAPER, zorder=3)
    for at, label in zip(x, known, strict=True):
      _interval(axes, at, row['class_accuracy'][label], tint, width=1.6)
  present = [counts[label] for label in order]
  if max(present) > min(present):
    style.log_axis(axes.xaxis, 'training examples of the class')
  else:
    axes.set_xlabel('training examples of the class')
    axes.xaxis.set_minor_locator(NullLocator())
  axes.set_title('Validation accuracy of each class')
  style.percent_axis(axes)
  _within_accuracies(axes)


def _rows(summary: Summary) -> Sequence[Row]:
  return [row for row in summary['by_class']['batch_sizes'] if 'undefined' not in row]


def _interval(axes: Axes, x: float, found: Row, colour: str, width: float = 2.4) -> None:
  low, high = found['ci95']
  if low is not None and math.isfinite(low):
    axes.plot([x, x], [low, high], color=colour, linewidth=width, alpha=0.5, zorder=2)


def _within_accuracies(axes: Axes) -> None:
  """An interval may leave 0 to 100%, accuracy cannot."""
  low, high = axes.get_ylim()
  axes.set_ylim(max(low, -0.005), min(high, 1.005))
