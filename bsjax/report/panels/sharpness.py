"""Sharpness against the learning rate and against the gap; never without the training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.report.panels import style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import MUTED, PAPER


def latest(sharpness: Mapping[str, Any]) -> list[Row]:
  """The rows of sharpness.json at the last checkpoint measured of each lane."""
  rows = {row['lane']: row for row in sorted(sharpness['rows'], key=lambda row: row['examples'])}
  return [rows[lane] for lane in sorted(rows)]


def draw_lambda_max(axes: Axes, source: Source) -> None:
  """The largest eigenvalue of each lane, and where descent is unstable for such steps."""
  rows = source.sharpness
  _against_rate(axes, source, 'lambda_max', 'Largest eigenvalue of the Hessian')
  thresholds = {row['stability_threshold'] for row in rows} - {None}
  if len(thresholds) == 1 and _rate_key(rows) == 'learning_rate_now':
    rates = np.geomspace(*axes.get_xlim(), 50)
    threshold = thresholds.pop()
    label = f'stability: {threshold:.3g} / learning rate'
    line = {'color': MUTED, 'linestyle': '--', 'linewidth': 1.2, 'scaley': False}
    handle = axes.plot(rates, threshold / rates, label=label, **line)
    axes.legend(handles=[*handle, *_open_dot(rows)], loc='best', fontsize=9)


def draw_trace(axes: Axes, source: Source) -> None:
  """The trace of the Hessian of each lane."""
  _against_rate(axes, source, 'trace', 'Trace of the Hessian')


def draw_sam(axes: Axes, source: Source) -> None:
  """The generalization gap of each lane against the rise of the loss that SAM looks at."""
  known: list[float] = []
  for row in source.sharpness:
    pair = row[judged().train], row[judged().val]
    if row['sam'] is not None and row['sam'] > 0 and None not in pair:
      known.append(row['sam'])
      gap, dot = judged().gap(*pair), {'markersize': 7, 'markeredgecolor': PAPER}
      axes.plot(row['sam'], gap, 'o', color=source.colours[row['batch_size']], **dot)
  axes.set_title('Generalization gap against SAM sharpness')
  style.log_axis(axes.xaxis, 'rise of the loss', style.limits(known))
  style.points_axis(axes)


def _against_rate(axes: Axes, source: Source, name: str, title: str) -> None:
  rows, tints = source.sharpness, source.colours
  key = _rate_key(rows)
  known = [row for row in rows if row[name] is not None and row[name] > 0]
  # Beside each other: all batch sizes are tried at the same learning rates.
  aside = dict(zip(tints, np.geomspace(0.88, 1 / 0.88, len(tints)), strict=True))
  for row in known:
    sure = name != 'lambda_max' or row['eigenvalues'][0]['converged']
    tint = tints[row['batch_size']]
    face = {'markerfacecolor': tint if sure else PAPER, 'markeredgecolor': tint}
    axes.plot(row[key] * aside[row['batch_size']], row[name], 'o', markersize=5.5, **face)
  axes.set_title(title)
  label = 'learning rate' if key == 'learning_rate_now' else 'learning rate, peak of the schedule'
  style.log_axis(axes.xaxis, label, style.limits([row[key] for row in rows]))
  style.log_axis(axes.yaxis, '', style.limits([row[name] for row in known]))


def _rate_key(rows: Sequence[Row]) -> str:
  """The learning rate of the next update, unless a schedule has brought it to 0."""
  return 'learning_rate_now' if all(row['learning_rate_now'] for row in rows) else 'learning_rate'


def _open_dot(rows: Sequence[Row]) -> list[Line2D]:
  measured = [row for row in rows if row['lambda_max'] is not None]
  if all(row['eigenvalues'][0]['converged'] for row in measured):
    return []
  hollow = {'linestyle': '', 'markerfacecolor': PAPER, 'markeredgecolor': MUTED}
  return [Line2D([], [], marker='o', label='not converged: too low', **hollow)]
