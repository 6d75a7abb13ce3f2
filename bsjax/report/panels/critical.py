"""The critical batch size: updates against examples to a target, and its value at all targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bsjax.analysis.runs.histories import Row
from bsjax.format import measured
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER
from bsjax.report.text.words import loss_text

# Status of a run that is only bounded -> the way to where it may lie: more of both, or less.
_BEYOND = {'never': 1, 'before first evaluation': -1}


def draw_hyperbola(axes: Axes, source: Source) -> None:
  """One point per batch size, the trials faint, and S = S_min (1 + B_crit / B) through them."""
  critical = source.summary['critical_batch_size']
  points = critical.get('points', [])
  if not points:
    title = 'Updates and examples to a target'
    marks.message(axes, title, f'Undefined: {critical["undefined"]}.')
    return
  examples = list(_numbers(points))
  axes.set_title(f'What it takes to reach {loss_text(critical)}')
  for point in points:
    _draw_point(axes, point, source.colours[point['batch_size']])
  updates = [value / point['batch_size'] for point in points for value in _numbers([point])]
  fitted = critical.get('b_crit') is not None
  style.log_axis(axes.xaxis, 'updates', style.limits(updates))
  bounds = style.limits(examples, [critical['examples_min']] if fitted else [])
  style.log_axis(axes.yaxis, 'examples', bounds)
  if fitted:
    _draw_fit(axes, critical)
    axes.legend(loc='best', fontsize=9)


def draw_targets(axes: Axes, source: Source, loss: str) -> None:
  """B_crit with its interval at every target, from easy to hard; the one of the page is ringed.

  `loss` is 'training' or 'validation'; the panels of both have the same limits.
  """
  critical = source.summary['critical_batch_size']
  both = {'training': critical, 'validation': critical['validation']}
  entry, bounds, title = both[loss], _bounds(both.values()), f'{loss.capitalize()} loss'
  targets = entry['targets']
  if not targets or bounds is None:
    why = entry.get('undefined') or 'no target has a critical batch size'
    marks.message(axes, title, f'Undefined: {why}.')
    return
  style.log_axis(axes.yaxis, 'critical batch size, examples', bounds)
  for place, row in enumerate(targets):
    colour = BEST if row['target'] == entry['target'] else INK
    if 'undefined' in row:
      marks.cross(axes, place, MUTED)
    else:
      marks.estimate(axes, place, row['b_crit'], row['ci95'], colour)
  labels = [f'{row["target"]:.2g}' for row in targets]
  axes.set_xticks(range(len(targets)), labels, fontsize=8)
  axes.set(title=title, xlabel='target, from easy to hard', xlim=(-0.5, len(targets) - 0.5))


def _bounds(entries: Iterable[Mapping[str, Any]]) -> tuple | None:
  """Limits that suit all targets of all entries."""
  known = [row for entry in entries for row in entry['targets'] if 'undefined' not in row]
  ends = [end for row in known for end in row['ci95']]
  return style.limits([row['b_crit'] for row in known], ends) or style.limits(ends)


def _numbers(points: Iterable[Row]) -> Iterable[float]:
  """The examples of every run, or their bound."""
  for point in points:
    for value, bound in zip(point['examples'], point['bounds'], strict=True):
      yield bound if value is None else value


def _draw_point(axes: Axes, point: Row, tint: str) -> None:
  size, reached = point['batch_size'], [value for value in point['examples'] if value is not None]
  axes.plot([e / size for e in reached], reached, '.', color=tint, alpha=0.45, zorder=3)
  for bound, status in zip(point['bounds'], point['status'], strict=True):
    if status in _BEYOND:
      at, way = (bound / size, bound), 17 * _BEYOND[status]
      axes.plot(*at, 'o', markeredgecolor=tint, markerfacecolor=PAPER, markersize=6, zorder=4)
      line = {'arrowstyle': '<|-', 'color': tint, 'shrinkA': 0, 'shrinkB': 3}
      # The tip is the text, and the run what it is about: only a text may stand at an offset.
      axes.annotate('', at, (way, way), textcoords='offset points', arrowprops=line)
  # A mean of those that arrived would make a batch size look faster than it is.
  if reached and len(reached) == len(point['examples']):
    mean = math.exp(math.fsum(map(math.log, reached)) / len(reached))
    dot = {'markersize': 9, 'markeredgecolor': PAPER, 'zorder': 5}
    axes.plot(mean / size, mean, 'o', color=tint, **dot)


def _draw_fit(axes: Axes, critical: Mapping[str, Any]) -> None:
  """The hyperbola, the part of it within the interval of B_crit, and B_crit itself."""
  b_crit, (low, high) = critical['b_crit'], critical['ci95']
  fewest, shortest = critical['examples_min'], critical['updates_min']

  def curve(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return shortest * (1 + b_crit / sizes), fewest * (1 + sizes / b_crit)

  everywhere = np.geomspace(b_crit * 1e-3, b_crit * 1e3, 400)
  axes.plot(*curve(everywhere), color=INK, linewidth=1.4, zorder=2, label='fitted hyperbola')
  if low is not None:
    inside = np.geomspace(max(low, b_crit * 1e-3), min(high or math.inf, b_crit * 1e3), 200)
    axes.plot(*curve(inside), color=BEST, linewidth=7, alpha=0.3, zorder=1, solid_capstyle='butt')
  value, least, most = (measured(x, low, high) for x in (b_crit, low, high))
  label = f'critical batch size {value} ({least} to {"no bound" if high is None else most})'
  star = {'markersize': 14, 'markeredgecolor': PAPER, 'zorder': 6, 'linestyle': ''}
  axes.plot(2 * shortest, 2 * fewest, '*', color=BEST, label=label, **star)
  limits = {'color': MUTED, 'linewidth': 0.9, 'linestyle': ':', 'zorder': 1}
  axes.axhline(fewest, **limits)
  axes.axvline(shortest, **limits)
