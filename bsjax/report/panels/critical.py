"""The critical batch size: updates against examples to a target, and its value at all targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bsjax.analysis.runs.histories import Row
from bsjax.format import number
from bsjax.report.panels import style
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, Summary
from bsjax.report.text.words import loss_text

# Status of a run that is only bounded -> the way to where it may lie: more of both, or less.
_BEYOND = {'never': 1, 'before first evaluation': -1}


def draw_hyperbola(axes: Axes, summary: Summary) -> None:
  """A point a batch size, the trials faint, and S = S_min (1 + B_crit / B) through them."""
  found, tints = summary['critical_batch_size'], style.colours(summary)
  points = found.get('points', [])
  if not points:
    style.message(axes, 'Updates and examples to a target', f'Undefined: {found["undefined"]}.')
    return
  examples = list(_numbers(points))
  axes.set_title(f'What it takes to reach {loss_text(found)}')
  for point in points:
    _draw_point(axes, point, tints[point['batch_size']])
  updates = [value / point['batch_size'] for point in points for value in _numbers([point])]
  fitted = found.get('b_crit') is not None
  style.log_axis(axes.xaxis, 'updates', style.limits(updates))
  bounds = style.limits(examples, [found['examples_min']] if fitted else [])
  style.log_axis(axes.yaxis, 'examples', bounds)
  if fitted:
    _draw_fit(axes, found)
    axes.legend(loc='best', fontsize=9)


def draw_targets(axes: Axes, found: Mapping[str, Any], title: str, bounds: tuple | None) -> None:
  """B_crit with its interval at every target, from easy to hard; the one of the page is ringed.

  `found` is an entry of `analysis.critical_batch_size`, `bounds` the limits of the axis.
  """
  targets = found['targets']
  if not targets or bounds is None:
    why = found.get('undefined') or 'no target has a critical batch size'
    style.message(axes, title, f'Undefined: {why}.')
    return
  style.log_axis(axes.yaxis, 'critical batch size, examples', bounds)
  for place, each in enumerate(targets):
    if 'undefined' in each:
      style.cross(axes, place, MUTED)
      continue
    main = each['target'] == found['target']
    style.interval(axes, place, each['ci95'], BEST if main else INK)
    if each['b_crit'] is not None:
      dot = {'markersize': 8, 'markeredgecolor': PAPER, 'zorder': 5}
      axes.plot(place, each['b_crit'], 'o', color=BEST if main else INK, **dot)
  labels = [f'{each["target"]:.2g}' for each in targets]
  axes.set_xticks(range(len(targets)), labels, fontsize=8)
  axes.set(title=title, xlabel='target, from easy to hard', xlim=(-0.5, len(targets) - 0.5))


def target_bounds(*entries: Mapping[str, Any]) -> tuple | None:
  """Limits that suit all targets of all entries."""
  known = [each for entry in entries for each in entry['targets'] if 'undefined' not in each]
  ends = [end for each in known for end in each['ci95']]
  return style.limits([each['b_crit'] for each in known], ends) or style.limits(ends)


def _numbers(points: Iterable[Row]) -> Iterable[float]:
  """The examples of every run, or their bound."""
  for point in points:
    for value, bound in zip(point['examples'], point['bounds'], strict=True):
      yield bound if value is None else value


def _draw_point(axes: Axes, point: Row, tint: str) -> None:
  size, reached = point['batch_size'], [e for e in point['examples'] if e is not None]
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


def _draw_fit(axes: Axes, found: Mapping[str, Any]) -> None:
  """The hyperbola, the part of it within the interval of B_crit, and B_crit itself."""
  b_crit, (low, high) = found['b_crit'], found['ci95']
  fewest, shortest = found['examples_min'], found['updates_min']

  def curve(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return shortest * (1 + b_crit / sizes), fewest * (1 + sizes / b_crit)

  everywhere = np.geomspace(b_crit * 1e-3, b_crit * 1e3, 400)
  axes.plot(*curve(everywhere), color=INK, linewidth=1.4, zorder=2, label='fitted hyperbola')
  if low is not None:
    inside = np.geomspace(max(low, b_crit * 1e-3), min(high or math.inf, b_crit * 1e3), 200)
    axes.plot(*curve(inside), color=BEST, linewidth=7, alpha=0.3, zorder=1, solid_capstyle='butt')
  ends = f'{number(low)} to {"no bound" if high is None else number(high)}'
  label = f'critical batch size {number(b_crit)} ({ends})'
  star = {'markersize': 14, 'markeredgecolor': PAPER, 'zorder': 6, 'linestyle': ''}
  axes.plot(2 * shortest, 2 * fewest, '*', color=BEST, label=label, **star)
  limits = {'color': MUTED, 'linewidth': 0.9, 'linestyle': ':', 'zorder': 1}
  axes.axhline(fewest, **limits)
  axes.axvline(shortest, **limits)
