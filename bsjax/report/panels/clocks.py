"""Accuracy, loss and gap along training, and at equal epochs, updates and weighted updates."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.analysis.runs.histories import Curve
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, TRAINING, VALIDATION
from bsjax.report.text.formats import nouns

CLOCKS = {
  'epochs': 'epochs',
  'updates': 'updates',
  'learning_rate_updates': 'weighted updates',
}
# Part of summary['generalization_gap'], prefix of the quantity -> label, colour, marker.
SERIES = {
  ('chosen', ''): ('each batch size at its own learning rate', VALIDATION, 'o'),
  ('chosen', REESTIMATED): ('the same, BatchNorm re-estimated', BEST, 'D'),
  ('common_learning_rate', ''): ('one learning rate for all', TRAINING, 's'),
}


def quantities() -> tuple[str, ...]:
  """Of which curves are drawn."""
  return judged().val, 'train_loss', 'gap'


def series_legend(source: Source) -> dict[str, Any]:
  """The series that some batch size can be read in at some clock."""
  gaps = source.summary['generalization_gap']
  handles = []
  for (part, prefix), (label, colour, marker) in SERIES.items():
    rows = [row for clock in CLOCKS for row in gaps[part].get(clock, {}).get('batch_sizes', ())]
    if any(prefix + judged().val in row for row in rows):
      handles.append(Line2D([], [], linestyle='', color=colour, marker=marker, label=label))
  return {'handles': handles, 'ncols': 3}


def draw_clock(axes: Axes, source: Source, clock: str, quantity: str) -> None:
  """A quantity against batch size where all have run equally long by this clock."""
  short = 'Gap' if quantity == 'gap' else judged().metric.title.capitalize()
  title = style.short(f'{short}, equal {CLOCKS[clock]}', f'{short},\nequal {CLOCKS[clock]}')
  gaps = source.summary['generalization_gap']
  if gaps['chosen'][clock].get('subset'):
    title += ', on a subset'
  drawn = False
  for number, ((part, prefix), (_, colour, marker)) in enumerate(SERIES.items()):
    rows = gaps[part].get(clock, {}).get('batch_sizes', ())
    look = {'marker': marker, 'shift': 2 ** (0.14 * (number - 1))}
    drawn |= marks.estimates(axes, rows, prefix + quantity, colour, **look)
  missing = [row for row in gaps['chosen'][clock]['batch_sizes'] if 'undefined' in row]
  if not drawn:
    why = missing[0]['undefined'] if missing else 'no batch size has a result'
    marks.message(axes, title, f'Undefined: {why}.')
    return
  for row in missing:
    marks.cross(axes, row['batch_size'], VALIDATION)
  style.batch_size_axis(axes, source.sizes, title)
  if quantity == 'gap':
    style.points_axis(axes)
    marks.zero(axes)
  else:
    style.accuracy_axis(axes)


def draw_curves(axes: Axes, source: Source, clock: str, quantity: str) -> None:
  """Means over trials, with the 95% interval at the end; dashed with BatchNorm re-estimated.

  Intervals all along would cover each other.
  """
  heights: list[float] = []
  for prefix, dashes in (('', '-'), (REESTIMATED, '--')):
    curves = source.curves[clock].get(prefix + quantity, {})
    for number, (size, along) in enumerate(curves.items()):
      first = 0 if clock == 'epochs' or not along.x or along.x[0] > 0 else 1  # no 0 on a log axis
      along = Curve(*(column[first:] for column in along))
      # Runs end at one epoch, and their intervals would lie on each other.
      aside = 1.02 + 0.02 * number if clock == 'epochs' else 1
      end = along.x[-1] * aside if along.x and not prefix else 0
      marks.curve(axes, along, source.colours[size], dashes, end)
      heights += along.mean[len(along.mean) // 4 :]
  title = nouns()[quantity].capitalize()
  if not heights:
    marks.message(axes, title, f'No records hold {CLOCKS[clock]}.')
    return
  axes.set_title(title)
  axes.set_xlabel(CLOCKS[clock])
  if clock != 'epochs':
    style.log_axis(axes.xaxis, f'{CLOCKS[clock]} (logarithmic)')
  if quantity == 'train_loss':
    axes.set_ylim(style.limits(heights))
    style.log_axis(axes.yaxis, judged().loss.title)
  elif quantity == 'gap':
    style.points_axis(axes)
    style.later_part(axes, heights, 0.35, math.inf)
  else:
    style.percent_axis(axes)
    style.later_part(axes, heights, 0.35, style.most())
