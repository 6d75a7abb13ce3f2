"""What each batch size reached at the end: accuracy, gap, and the map of all learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Rectangle

from bsjax.analysis.runs.histories import Row, Setting
from bsjax.config.metrics import judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, TRAINING, VALIDATION
from bsjax.report.text.formats import value_head

SHADES = LinearSegmentedColormap.from_list('shades', ['#f3f7fb', '#a9cbe6', '#3d83bd', '#0d3b73'])


def draw_accuracy(axes: Axes, source: Source) -> None:
  """Means with intervals, and each trial as a faint dot."""
  rows = _with_result(source)
  for key, colour, label, shift in (
    (judged().train, TRAINING, 'training', 2**0.07),
    (judged().val, VALIDATION, 'validation', 2**-0.07),
  ):
    for row in rows:
      # A parabola's top may lie above what is possible.
      values = [judged().clip(x, key) for x in source.ends[row['batch_size']].values[key].tolist()]
      marks.trials(axes, row['batch_size'] * shift, values, colour)
    marks.estimates(axes, rows, key, colour, shift=shift, label=label)
  name = judged().metric.title.capitalize()
  title = style.short(f'{name} at the best learning rates', name)
  style.batch_size_axis(axes, source.sizes, title)
  style.accuracy_axis(axes)
  if rows:
    place = {'loc': 'lower right', 'bbox_to_anchor': (1, 1), 'borderaxespad': 0.2}
    axes.legend(ncols=2, handlelength=0.7, handletextpad=0.4, columnspacing=1, **place)


def draw_gap(axes: Axes, source: Source) -> None:
  """The generalization gap: mean with interval, and each trial as a faint dot."""
  rows = _with_result(source)
  for row in rows:
    gaps = source.ends[row['batch_size']].values['gap'].tolist()
    marks.trials(axes, row['batch_size'], gaps, INK)
  marks.zero(axes)
  marks.estimates(axes, rows, 'generalization_gap', INK)
  title = style.short(f'Generalization gap: {judged().gap_title}', 'Generalization gap')
  style.batch_size_axis(axes, source.sizes, title)
  style.points_axis(axes)


def map_size(source: Source) -> tuple[float, float]:
  """Inches of the map, wide enough for the title of a study of one batch size."""
  return max(4.6, 2.4 + 1.1 * len(source.settings)), 1.5 + 0.55 * len(source.learning_rates)


def draw_learning_rates(axes: Axes, source: Source) -> None:
  """Mean final validation metric of every setting, the best of each batch size framed."""
  settings, rates = source.settings, source.learning_rates
  sizes = sorted(settings)
  means = {
    (setting.batch_size, setting.learning_rate): float(np.mean(setting.finals(judged().val)))
    for tried in settings.values()
    for setting in tried
    if setting.problem is None
  }
  floor = _shade_floor([*map(judged().metric.merit, means.values())])
  for column, size in enumerate(sizes):
    for setting in settings[size]:
      _cell(axes, column, rates.index(setting.learning_rate), setting, means, floor)
  for row in _with_result(source):
    corner = sizes.index(row['batch_size']), rates.index(row['learning_rate'])
    _frame(axes, *corner, row['at_grid_edge'])
  axes.set_xticks(np.arange(len(sizes)) + 0.5, [str(size) for size in sizes])
  axes.set_yticks(np.arange(len(rates)) + 0.5, [f'{rate:.4g}' for rate in rates])
  axes.set(xlim=(-0.05, len(sizes) + 0.05), ylim=(-0.05, len(rates) + 0.05))
  axes.grid(visible=False)
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0)
  axes.set(xlabel='batch size', ylabel='learning rate')
  unit = value_head().removeprefix(', ')
  axes.set_title(
    f'{judged().val_title.capitalize()}{f" ({unit})" if unit else ""} of every setting'
  )


def _with_result(source: Source) -> list[Row]:
  return [row for row in source.summary['batch_sizes'] if row['learning_rate'] is not None]


def _shade_floor(means: Sequence[float]) -> float:
  """The merit at which shading ends: a failed setting must not press the good ones into one."""
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
    why = 'diverged' if diverged else 'dropped' if setting.dropped else 'no result'
    fill, ink, text = '#f1f2f5', MUTED, why
  else:
    merits = [*map(judged().metric.merit, means.values())]
    share = (judged().metric.merit(mean) - floor) / max(max(merits) - floor, 1e-9)
    shade = np.clip(share, 0, 1)
    fill, ink, text = to_hex(SHADES(shade)), PAPER if shade > 0.55 else INK, _number(mean)
  axes.add_patch(Rectangle((column, row), 1, 1, facecolor=fill, edgecolor=PAPER, linewidth=2))
  size = 10 if mean is not None else 8
  axes.text(column + 0.5, row + 0.5, text, color=ink, size=size, ha='center', va='center')


def _number(mean: float) -> str:
  return f'{100 * mean:.1f}' if judged().metric.percent else f'{mean:.3g}'


def _frame(axes: Axes, column: int, row: int, at_edge: bool) -> None:
  line = {'edgecolor': BEST, 'linewidth': 2.2, 'linestyle': '--' if at_edge else '-', 'zorder': 4}
  axes.add_patch(Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, fill=False, **line))
