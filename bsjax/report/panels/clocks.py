"""Accuracy, loss and gap along training, and at equal epochs, updates and weighted updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bsjax.analysis.runs.histories import Curve, Row
from bsjax.report.panels import style
from bsjax.report.panels.style import BEST, PAPER, TRAINING, VALIDATION, Summary

CLOCKS = {
  'epochs': 'epochs',
  'updates': 'updates',
  'learning_rate_updates': 'weighted updates',
}
NAMES = {
  'val_accuracy': 'Validation accuracy',
  'train_loss': 'Training loss',
  'gap': 'Generalization gap',
}
_SHORT = {'val_accuracy': 'Accuracy', 'gap': 'Gap'}
# Part of summary['generalization_gap'], prefix of the quantity -> label, colour, marker.
SERIES = {
  ('chosen', ''): ('each batch size at its own learning rate', VALIDATION, 'o'),
  ('chosen', 'reestimated_'): ('the same, BatchNorm re-estimated', BEST, 'D'),
  ('common_learning_rate', ''): ('one learning rate for all', TRAINING, 's'),
}


def has_series(summary: Summary, part: str, prefix: str) -> bool:
  """Whether some batch size can be read in this series at some clock."""
  found = summary['generalization_gap'][part]
  rows = [row for clock in CLOCKS if clock in found for row in found[clock]['batch_sizes']]
  return any(f'{prefix}val_accuracy' in row for row in rows)


def draw_clock(axes: Axes, summary: Summary, clock: str, quantity: str) -> None:
  """A quantity against batch size where all have run equally long by this clock."""
  title = f'{_SHORT[quantity]}, equal {CLOCKS[clock]}'
  drawn = False
  for number, ((part, prefix), (_, colour, marker)) in enumerate(SERIES.items()):
    rows = summary['generalization_gap'][part].get(clock, {'batch_sizes': []})['batch_sizes']
    key, shift = prefix + quantity, 2 ** (0.14 * (number - 1))
    known = [row for row in rows if key in row and row[key]['mean'] is not None]
    if known:
      _points(axes, known, key, colour, marker, shift)
      drawn = True
  own = summary['generalization_gap']['chosen'][clock]['batch_sizes']
  missing = {row['batch_size']: row['undefined'] for row in own if 'undefined' in row}
  if not drawn:
    why = next(iter(missing.values()), 'no batch size has a result')
    style.message(axes, title, f'Undefined: {why}.')
    return
  for size in missing:
    style.cross(axes, size, VALIDATION)
  style.batch_size_axis(axes, summary, title)
  if quantity == 'gap':
    style.points_axis(axes)
    axes.axhline(0, color='#b4bac7', linewidth=0.9, zorder=1)
  else:
    style.percent_axis(axes)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.005))  # an interval may pass 100%, accuracy cannot


def draw_curves(
  axes: Axes,
  summary: Summary,
  lines: Mapping[str, Mapping[int, Curve]],
  clock: str,
  quantity: str,
) -> None:
  """Means over trials, with the 95% interval at the end; dashed with BatchNorm re-estimated.

  `lines` are those of the clock from `analysis.gap.curves`. Intervals all along would cover each
  other.
  """
  tints, heights = style.colours(summary), []
  for prefix, dashes in (('', '-'), ('reestimated_', '--')):
    for number, (size, found) in enumerate(lines.get(prefix + quantity, {}).items()):
      first = 0 if clock == 'epochs' or not found.x or found.x[0] > 0 else 1  # no 0 on a log axis
      x, mean, low, high = (list(column)[first:] for column in found)
      axes.plot(x, mean, color=tints[size], linewidth=1.8, linestyle=dashes)
      heights += mean[len(mean) // 4 :]
      if x and not prefix:
        # Runs end at one epoch, and their intervals would lie on each other.
        end = x[-1] * (1.02 + 0.02 * number) if clock == 'epochs' else x[-1]
        axes.plot([end, end], [low[-1], high[-1]], color=tints[size], linewidth=2.4, alpha=0.6)
  if not heights:
    style.message(axes, NAMES[quantity], f'No records hold {CLOCKS[clock]}.')
    return
  axes.set_title(NAMES[quantity])
  axes.set_xlabel(CLOCKS[clock])
  if clock != 'epochs':
    style.log_axis(axes.xaxis, f'{CLOCKS[clock]} (logarithmic)')
  _height(axes, quantity, heights)


def _height(axes: Axes, quantity: str, heights: Sequence[float]) -> None:
  """Limits by the means of the later part: the steep start and wide intervals are cut off."""
  if quantity == 'train_loss':
    axes.set_ylim(style.limits(heights))
    style.log_axis(axes.yaxis, 'cross entropy')
    return
  margin = 0.35 * (max(heights) - min(heights)) or 0.01
  top = max(heights) + margin
  if quantity == 'gap':
    style.points_axis(axes)
  else:
    style.percent_axis(axes)
    top = min(top, 1.005)
  axes.set_ylim(min(heights) - margin, top)


def _points(
  axes: Axes, rows: Sequence[Row], key: str, colour: str, marker: str, shift: float
) -> None:
  """Means, joined, with their intervals; `shift` moves them aside by a factor."""
  x, means = [row['batch_size'] * shift for row in rows], [row[key]['mean'] for row in rows]
  axes.plot(x, means, color=colour, linewidth=1.2, alpha=0.45)
  axes.plot(x, means, marker, color=colour, markersize=6, markeredgecolor=PAPER, zorder=3)
  for at, row in zip(x, rows, strict=True):
    low, high = row[key]['ci95']
    if low is not None:
      axes.plot([at, at], [low, high], color=colour, linewidth=2, alpha=0.5, zorder=2)
