"""Stages of training: curves with the ends of stages, and batch sizes compared at epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.analysis.measures import gap
from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, INK, MUTED, TRAINING, VALIDATION
from bsjax.report.text.formats import nouns


def draw_stage_curves(axes: Axes, source: Source, branch: str, quantity: str) -> None:
  """A quantity against epochs by batch size; dashed with BatchNorm statistics re-estimated.

  Lines across mark the ends of stages.
  """
  heights: list[float] = []
  curves = gap.curves(source.branches[branch])['epochs']
  for prefix, dashes in (('', '-'), (REESTIMATED, '--')):
    for number, (size, along) in enumerate(curves.get(prefix + quantity, {}).items()):
      end = along.x[-1] * (1.015 + 0.015 * number) if along.x and not prefix else 0
      marks.curve(axes, along, source.colours[size], dashes, end)
      heights += along.mean[1 + len(along.mean) // 8 :]
  axes.set_title(nouns()[quantity].capitalize() + (f': {branch}' if branch else ''))
  axes.set_xlabel('epochs')
  style.percent_axis(axes)
  if heights:
    margin = 0.12 * (max(heights) - min(heights)) or 0.01
    top = max(heights) + 1.8 * margin  # room for the names of stages, also above 100%
    axes.set_ylim(min(heights) - margin, top)
    most = 1.001 if judged().metric.percent else top
    axes.set_yticks([at for at in axes.get_yticks() if min(heights) - margin < at < most])
  _mark_stages(axes, source.summary['stages']['stages'])


def draw_accuracy_at(
  axes: Axes, source: Source, at: Mapping[str, Any], title: str, prefix: str = ''
) -> None:
  """Validation and training accuracy against batch size at one value of a clock."""
  style.batch_size_axis(axes, source.sizes, title)
  for key, colour, shift in (
    (judged().train, TRAINING, 2**0.07),
    (judged().val, VALIDATION, 2**-0.07),
  ):
    marks.estimates(axes, at.get('batch_sizes', ()), prefix + key, colour, shift=shift)
  style.accuracy_axis(axes)
  _why_empty(axes, at)


def draw_reestimated_at(axes: Axes, source: Source, at: Mapping[str, Any], title: str) -> None:
  """The same with BatchNorm statistics re-estimated."""
  draw_accuracy_at(axes, source, at, title, REESTIMATED)


def draw_gap_at(axes: Axes, source: Source, at: Mapping[str, Any], title: str) -> None:
  """The generalization gap there; orange with BatchNorm re-estimated."""
  style.batch_size_axis(axes, source.sizes, title)
  marks.zero(axes)
  rows = at.get('batch_sizes', ())
  marks.estimates(axes, rows, 'gap', INK, shift=2**-0.05)
  marks.estimates(axes, rows, REESTIMATED + 'gap', BEST, shift=2**0.05)
  style.points_axis(axes)
  _why_empty(axes, at)


def reestimated(rows: Sequence[Row]) -> bool:
  """Whether some batch size was read with BatchNorm statistics re-estimated."""
  name = judged().reestimated_val
  return any(name in size for row in rows for size in row['epochs']['batch_sizes'])


def at_legend(rows: Sequence[Row]) -> dict[str, Any]:
  """What the colours of points mean."""
  looks = [('validation', VALIDATION), ('training', TRAINING), ('gap', INK)]
  looks += [('gap, BatchNorm re-estimated', BEST)] * reestimated(rows)
  dot = {'linestyle': '', 'marker': 'o'}
  handles = [Line2D([], [], color=colour, label=label, **dot) for label, colour in looks]
  return {'handles': handles, 'ncols': 4}


def _why_empty(axes: Axes, at: Mapping[str, Any]) -> None:
  """A cross for each batch size that could not be read; the reason, where none could."""
  rows = at.get('batch_sizes', ())
  missing = [row for row in rows if 'undefined' in row]
  if len(missing) == len(rows):
    why = at.get('undefined') or (missing[0]['undefined'] if missing else 'nothing was read')
    marks.message(axes, axes.get_title(loc='left'), f'Undefined: {why}.')
    return
  for row in missing:
    marks.cross(axes, row['batch_size'], VALIDATION)


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
