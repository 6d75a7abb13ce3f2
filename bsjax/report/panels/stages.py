"""Stages of training: curves with the ends of stages, and batch sizes compared at epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from bsjax.analysis.runs.histories import Curve, Row
from bsjax.report.panels import style
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, TRAINING, VALIDATION, Summary

NAMES = {
  'val_accuracy': 'Validation accuracy',
  'train_accuracy': 'Training accuracy',
  'gap': 'Generalization gap',
}


def draw_stage_curves(
  axes: Axes, summary: Summary, lines: Mapping[str, Mapping[int, Curve]], quantity: str, title: str
) -> None:
  """A quantity against epochs by batch size; dashed with BatchNorm statistics re-estimated.

  `lines` are those of the epochs from `analysis.gap.curves`. Lines across mark the ends of stages.
  """
  tints, heights = style.colours(summary), []
  for prefix, dashes in (('', '-'), ('reestimated_', '--')):
    for number, (size, found) in enumerate(lines.get(prefix + quantity, {}).items()):
      axes.plot(found.x, found.mean, color=tints[size], linestyle=dashes, linewidth=1.8)
      heights += found.mean[1 + len(found.mean) // 8 :]
      if found.x and not prefix:
        end = found.x[-1] * (1.015 + 0.015 * number)
        ends = [found.low[-1], found.high[-1]]
        axes.plot([end, end], ends, color=tints[size], linewidth=2.2, alpha=0.6)
  axes.set_title(title)
  axes.set_xlabel('epochs')
  style.percent_axis(axes)
  if heights:
    margin = 0.12 * (max(heights) - min(heights)) or 0.01
    top = max(heights) + 1.8 * margin  # room for the names of stages, also above 100%
    axes.set_ylim(min(heights) - margin, top)
    axes.set_yticks([at for at in axes.get_yticks() if min(heights) - margin < at < 1.001])
  _mark_stages(axes, summary['stages']['stages'])


def draw_accuracy_at(
  axes: Axes, summary: Summary, found: Mapping[str, Any], title: str, prefix: str
) -> None:
  """Validation and training accuracy against batch size at one value of a clock."""
  style.batch_size_axis(axes, summary, title)
  for key, colour, shift in (
    ('train_accuracy', TRAINING, 2**0.07),
    ('val_accuracy', VALIDATION, 2**-0.07),
  ):
    _points(axes, found, prefix + key, colour, shift)
  style.percent_axis(axes)
  axes.set_ylim(top=min(axes.get_ylim()[1], 1.005))
  _why_empty(axes, found)


def draw_gap_at(axes: Axes, summary: Summary, found: Mapping[str, Any], title: str) -> None:
  """Training minus validation accuracy there; orange with BatchNorm re-estimated."""
  style.batch_size_axis(axes, summary, title)
  axes.axhline(0, color='#b4bac7', linewidth=0.9, zorder=1)
  _points(axes, found, 'gap', INK, 2**-0.05)
  _points(axes, found, 'reestimated_gap', BEST, 2**0.05)
  style.points_axis(axes)
  _why_empty(axes, found)


def _points(axes: Axes, found: Mapping[str, Any], key: str, colour: str, shift: float) -> None:
  rows: Sequence[Row] = found.get('batch_sizes', ())
  known = [row for row in rows if key in row and row[key]['mean'] is not None]
  x, means = [row['batch_size'] * shift for row in known], [row[key]['mean'] for row in known]
  axes.plot(x, means, color=colour, linewidth=1.2, alpha=0.5)
  axes.plot(x, means, 'o', color=colour, markersize=6.5, markeredgecolor=PAPER, zorder=3)
  for at, row in zip(x, known, strict=True):
    if row[key]['ci95'][0] is not None:
      axes.plot([at, at], row[key]['ci95'], color=colour, linewidth=2.2, alpha=0.5, zorder=2)


def _why_empty(axes: Axes, found: Mapping[str, Any]) -> None:
  """A cross for each batch size that could not be read; the reason, where none could."""
  rows = found.get('batch_sizes', ())
  missing = [row for row in rows if 'undefined' in row]
  if len(missing) == len(rows):
    why = found.get('undefined') or next((row['undefined'] for row in rows), 'nothing was read')
    style.message(axes, axes.get_title(loc='left'), f'Undefined: {why}.')
    return
  for row in missing:
    style.cross(axes, row['batch_size'], VALIDATION)


def _mark_stages(axes: Axes, stages: Sequence[Row]) -> None:
  """A line where a stage ends, and its name above its stretch."""
  last = stages[-1]['epoch']
  for row in stages:
    if row['epoch'] < last:
      axes.axvline(row['epoch'], color='#9aa3b2', linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    narrow = row['epoch'] - row['start_epoch'] < 0.12 * last
    axes.text(
      (row['start_epoch'] + row['epoch']) / 2,
      0.985,
      row['name'],
      transform=axes.get_xaxis_transform(),
      color=MUTED,
      fontsize=8.5,
      ha='center',
      va='top',
      rotation=90 if narrow else 0,
    )
