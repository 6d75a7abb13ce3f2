"""What each batch size reached at the end: accuracy, gap, and the map of all learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Rectangle

from bsjax.analysis.runs.histories import Row, Setting
from bsjax.report.panels import style
from bsjax.report.panels.style import (
  BEST,
  INK,
  MUTED,
  PAPER,
  TRAINING,
  VALIDATION,
  Settings,
  Summary,
)

SHADES = LinearSegmentedColormap.from_list('shades', ['#f3f7fb', '#a9cbe6', '#3d83bd', '#0d3b73'])


def draw_accuracy(axes: Axes, summary: Summary, settings: Settings) -> None:
  """Means with intervals, and each trial as a faint dot."""
  rows = [row for row in summary['batch_sizes'] if row['learning_rate'] is not None]
  for key, colour, label, shift in (
    ('train_accuracy', TRAINING, 'training', 2**0.07),
    ('val_accuracy', VALIDATION, 'validation', 2**-0.07),
  ):
    for row in rows:
      lanes = style.reported(row, settings[row['batch_size']])
      trials = [lane.final[key] for lane in lanes]
      axes.plot([row['batch_size'] * shift] * len(trials), trials, '.', color=colour, alpha=0.35)
    _means(axes, rows, key, colour, label, shift)
  style.batch_size_axis(axes, summary, 'Accuracy at the learning rate chosen')
  style.percent_axis(axes)
  axes.set_ylim(top=min(axes.get_ylim()[1], 1.005))  # an interval may pass 100%, accuracy cannot
  if rows:
    place = {'loc': 'lower right', 'bbox_to_anchor': (1, 1), 'borderaxespad': 0.2}
    axes.legend(ncols=2, handlelength=0.7, handletextpad=0.4, columnspacing=1, **place)


def draw_gap(axes: Axes, summary: Summary, settings: Settings) -> None:
  """Training minus validation accuracy: mean with interval, and each trial as a faint dot."""
  rows = [row for row in summary['batch_sizes'] if row['learning_rate'] is not None]
  for row in rows:
    for lane in style.reported(row, settings[row['batch_size']]):
      gap = lane.final['train_accuracy'] - lane.final['val_accuracy']
      axes.plot(row['batch_size'], gap, '.', color=INK, alpha=0.3)
  axes.axhline(0, color='#b4bac7', linewidth=0.9)
  _means(axes, rows, 'generalization_gap', INK, None, 1.0)
  style.batch_size_axis(axes, summary, 'Generalization gap: training minus validation accuracy')
  style.points_axis(axes)


def draw_learning_rates(axes: Axes, summary: Summary, settings: Settings) -> None:
  """Mean final validation accuracy of every setting, the best of each batch size framed."""
  sizes = sorted(settings)
  rates = sorted({setting.learning_rate for tried in settings.values() for setting in tried})
  means = {
    (setting.batch_size, setting.learning_rate): float(np.mean(setting.finals('val_accuracy')))
    for tried in settings.values()
    for setting in tried
    if setting.problem is None
  }
  floor = _shade_floor(list(means.values()))
  for column, size in enumerate(sizes):
    for setting in settings[size]:
      _cell(axes, column, rates.index(setting.learning_rate), setting, means, floor)
  for row in summary['batch_sizes']:
    if row['learning_rate'] is not None:
      corner = sizes.index(row['batch_size']), rates.index(row['learning_rate'])
      _frame(axes, *corner, row['at_grid_edge'])
  axes.set_xticks(np.arange(len(sizes)) + 0.5, [str(size) for size in sizes])
  axes.set_yticks(np.arange(len(rates)) + 0.5, [f'{rate:.4g}' for rate in rates])
  axes.set(xlim=(-0.05, len(sizes) + 0.05), ylim=(-0.05, len(rates) + 0.05))
  axes.grid(visible=False)
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0)
  axes.set(xlabel='batch size', ylabel='learning rate')
  axes.set_title('Validation accuracy (%) of every setting')


def _means(
  axes: Axes, rows: Sequence[Row], key: str, colour: str, label: str | None, shift: float
) -> None:
  """Means over trials, joined, with their intervals; `shift` moves them aside by a factor."""
  x = [row['batch_size'] * shift for row in rows]
  axes.plot(x, [row[key]['mean'] for row in rows], color=colour, linewidth=1.2, alpha=0.5)
  dots = {'markersize': 7, 'markeredgecolor': PAPER, 'zorder': 3}
  axes.plot(x, [row[key]['mean'] for row in rows], 'o', color=colour, label=label, **dots)
  for at, row in zip(x, rows, strict=True):
    if row[key]['ci95'][0] is not None:
      axes.plot([at, at], row[key]['ci95'], color=colour, linewidth=2.4, alpha=0.55, zorder=2)


def _shade_floor(means: Sequence[float]) -> float:
  """The accuracy at which shading ends: a failed setting must not press the good ones into one."""
  if not means:
    return 0.0
  best, middle = max(means), float(np.median(means))
  return max(min(means), best - 2 * (best - middle))


def _cell(
  axes: Axes, column: int, row: int, setting: Setting, means: Mapping, floor: float
) -> None:
  mean = means.get((setting.batch_size, setting.learning_rate))
  if mean is None:
    diverged = any(record['diverged'] for lane in setting.lanes for record in lane.rows)
    fill, ink, text = '#f1f2f5', MUTED, 'diverged' if diverged else 'no result'
  else:
    shade = np.clip((mean - floor) / max(max(means.values()) - floor, 1e-9), 0, 1)
    fill, ink, text = to_hex(SHADES(shade)), PAPER if shade > 0.55 else INK, f'{100 * mean:.1f}'
  axes.add_patch(Rectangle((column, row), 1, 1, facecolor=fill, edgecolor=PAPER, linewidth=2))
  size = 10 if mean is not None else 8
  axes.text(column + 0.5, row + 0.5, text, color=ink, size=size, ha='center', va='center')


def _frame(axes: Axes, column: int, row: int, at_edge: bool) -> None:
  line = {'edgecolor': BEST, 'linewidth': 2.2, 'linestyle': '--' if at_edge else '-', 'zorder': 4}
  axes.add_patch(Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, fill=False, **line))
