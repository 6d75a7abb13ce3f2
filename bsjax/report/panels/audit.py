"""What somebody's curves show: batch sizes, learning rates, curves, and trends over cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from bsjax.analysis.runs.histories import LaneHistory
from bsjax.config.metrics import USUAL, judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.style import BEST, MUTED, VALIDATION
from bsjax.report.text.formats import LOG_POINTS

_LATE = 0.1  # of a curve: its first part is cut off
_MOST_CELLS = 40


@dataclass(frozen=True)
class AuditSource:
  """The content of audit.json and, for each cell, its runs as the audit was given them."""

  result: Mapping[str, Any]
  cells: Sequence[Any]

  @property
  def loss_only(self) -> bool:
    return self.result['read']['loss_only']

  @property
  def quantity(self) -> str:
    return 'Validation loss' if self.loss_only else judged().val_title.capitalize()

  @cached_property
  def sizes(self) -> list[int]:
    return sorted({size for cell in self.cells for size in cell.tried})

  @cached_property
  def colours(self) -> dict[int, str]:
    """A colour by batch size: lightness grows with the size, so grey prints keep the order."""
    shades = matplotlib.colormaps['plasma'](np.linspace(0.0, 0.8, len(self.sizes)))
    return {size: to_hex(shade) for size, shade in zip(self.sizes, shades, strict=True)}

  def shown(self, value: float | None) -> float:
    """The metric, or the loss where its negative log is compared; NaN where it is missing."""
    if value is None:
      return math.nan
    return math.exp(-value) if self.loss_only else value

  def axis(self, axes: Axes) -> None:
    if not self.loss_only:
      style.percent_axis(axes)


def draw_sizes(axes: Axes, source: AuditSource) -> None:
  """Each batch size at its best rate and end: mean, 95% interval, single runs."""
  rows = [row for row in source.result['batch_sizes'] if row['value']['mean'] is not None]
  given = source.cells[0]
  for row in rows:
    finals = given.chosen[row['batch_size']].finals(USUAL.val)
    marks.trials(axes, row['batch_size'], [source.shown(x) for x in finals], VALIDATION)
  marks.estimates(axes, rows, 'value', VALIDATION)
  _sizes_axis(axes, source)
  axes.set_title(source.quantity)
  source.axis(axes)


def _sizes_axis(axes: Axes, source: AuditSource) -> None:
  style.batch_size_axis(axes, source.sizes, '')
  if len(source.sizes) > 7:  # labels would touch
    kept = source.sizes[:: math.ceil(len(source.sizes) / 6)]
    axes.set_xticks(kept, [str(size) for size in kept])


def draw_rates(axes: Axes, source: AuditSource) -> None:
  """The metric at every learning rate, one line for each batch size."""
  given, ends = source.cells[0], []
  for size, settings in given.tried.items():
    use = [setting for setting in settings if setting.problem is None]
    means = [source.shown(float(np.mean(setting.finals(USUAL.val)))) for setting in use]
    rates = [setting.learning_rate for setting in use]
    axes.plot(rates, means, 'o-', color=source.colours[size], markersize=4, linewidth=1.4)
    ends += means
  style.log_axis(axes.xaxis, 'learning rate')
  _crop(axes, ends, source)
  axes.set_title(f'{source.quantity} at each learning rate')
  source.axis(axes)


def _crop(axes: Axes, values: Sequence[float], source: AuditSource) -> None:
  """Limits by the better half: a run that failed must not press the others into one line."""
  known = sorted(value for value in values if math.isfinite(value))
  if len(known) < 2:
    return
  best, middle = (known[0] if source.loss_only else known[-1]), known[len(known) // 2]
  reach = 3 * abs(best - middle) or 0.01
  low, high = (best, best + reach) if source.loss_only else (best - reach, best)
  margin = 0.06 * (high - low)
  axes.set_ylim(max(low, known[0]) - margin, min(high, known[-1]) + margin)


def draw_curves(axes: Axes, source: AuditSource, clock: str, label: str) -> None:
  """The runs of each batch size at its best rate, against a clock; the start is cut off."""
  late = []
  for size, tuned in source.cells[0].chosen.items():
    for lane in tuned.lanes:
      x, y = _curve(lane, clock, source)
      axes.plot(x, y, color=source.colours[size], linewidth=1.1, alpha=0.75)
      late += y[int(_LATE * len(y)) :]
  finite = [value for value in late if math.isfinite(value)]
  style.later_part(axes, finite, 0.05, math.inf if source.loss_only else style.MOST_ACCURATE)
  if clock == 'updates':
    style.log_axis(axes.xaxis, label)
  axes.set_xlabel(label)
  axes.set_title(f'{source.quantity} against {label}')
  source.axis(axes)


def _curve(lane: LaneHistory, clock: str, source: AuditSource) -> tuple[list, list]:
  rows = [row for row in lane.planned_rows if row['updates'] and not row['diverged']]
  return [row[clock] for row in rows], [source.shown(row[USUAL.val]) for row in rows]


def draw_cells(axes: Axes, source: AuditSource) -> None:
  """The trend of each cell, and over all with the 95% interval over cells."""
  trends = [(cell['cell'], _trend(cell['claims'])) for cell in source.result['cells']]
  known = [(name, row) for name, row in trends if row and row['effect'] is not None][:_MOST_CELLS]
  over = _trend(source.result['claims'])
  for place, (_, row) in enumerate(known, 1):
    marks.bar(axes, place, row['ci95'], VALIDATION, lying=True)
    axes.plot(row['effect'], place, 'o', color=VALIDATION, markersize=5)
  if over and over['effect'] is not None:
    marks.bar(axes, 0, over['ci95'], BEST, lying=True)
    axes.plot(over['effect'], 0, 'D', color=BEST, markersize=7)
  names = ['all', *(_short(name) for name, _ in known)]
  axes.set_yticks(range(len(names)), names, fontsize=7 if len(names) > 12 else 9)
  axes.set_ylim(-0.7, len(names) - 0.3)
  axes.axvline(0, color=MUTED, linewidth=0.9)
  axes.grid(visible=False)
  axes.set_title(f'Change of {source.quantity[0].lower()}{source.quantity[1:]}\nper doubling')
  metric = judged().metric
  scale = 100 if source.loss_only or metric.percent else 1
  axes.xaxis.set_major_formatter(lambda x, _: f'{scale * x:.3g}')
  points = f'points of {metric.title}' if metric.percent else metric.unit or metric.title
  axes.set_xlabel(f'{LOG_POINTS} of the loss' if source.loss_only else points)


def _trend(claims: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
  for claim in claims:
    asked = claim['kind'], claim['budget'], claim['question']['margin']
    if asked == ('trend', 'epochs', None) and claim['quantity'] in (judged().val, 'val_loss'):
      return claim
  return None


def _short(name: str) -> str:
  return name if len(name) <= 26 else f'{name[:25]}…'
