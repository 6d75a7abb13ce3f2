"""Scaling rules as runs: loss curves, their distance from the base, differences of accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.analysis.claims.scaling_rules import setting_at
from bsjax.analysis.claims.tuned_runs import TUNED
from bsjax.analysis.runs.curve_distance import curves
from bsjax.analysis.runs.histories import Row
from bsjax.format import number
from bsjax.report.panels import style
from bsjax.report.panels.conditions import look
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

# Way of a learning rate -> label, colour, marker.
WAYS = {
  'none': ('kept', TRAINING, 'o'),
  'sqrt': ('square root', VALIDATION, 's'),
  'linear': ('linear', BEST, 'D'),
  TUNED: ('tuned', INK, '^'),
}
_TITLES = {
  'none': 'Learning rate kept',
  'sqrt': 'Scaled by the square root',
  'linear': 'Scaled linearly',
}
_SEEDS = '#d5d9e2'
_FARTHEST = 5  # how far an interval may stretch the axis beyond the means, as a factor


def shown(summary: Summary) -> Mapping[str, Any] | None:
  """The learning rate that is best at the base batch size, as a row of the summary."""
  rates = summary['scaling_rules'].get('rates')
  return rates[summary['scaling_rules']['shown']] if rates else None


def draw_curves(axes: Axes, summary: Summary, settings: Settings, rule: str) -> None:
  """The mean log loss of every batch size under one rule, the trials of the base one in grey."""
  found, rate = summary['scaling_rules'], shown(summary)
  base, tints = found['base_batch_size'], style.colours(summary)
  if rate is None:
    style.message(axes, _TITLES[rule], f'Undefined: {found["undefined"]}.')
    return
  missing = []
  axes.set_title(_TITLES[rule])
  own, _ = curves(setting_at(settings[base], rate['learning_rate']).lanes)
  for trial in np.exp(np.array(list(own.values())).T):
    axes.plot(list(own), trial, color=_SEEDS, linewidth=1.2, zorder=1)
  for run in rate['runs']:
    if run['rule'] != rule:
      continue
    setting = setting_at(settings[run['batch_size']], run['learning_rate'])
    there, _ = curves(setting.lanes)
    if not there:
      missing.append(str(run['batch_size']))
    _mean_curve(axes, there, tints[run['batch_size']], '-')
  _mean_curve(axes, own, tints[base], '--', width=2.4)
  style.examples_seen(axes)
  if missing:
    text = f'no curve of {", ".join(missing)}'
    axes.text(0.98, 0.95, text, ha='right', va='top', color=MUTED, transform=axes.transAxes)


def common_height(all_axes: Sequence[Axes]) -> None:
  """One logarithmic loss axis for panels side by side."""
  heights = [y for axes in all_axes for line in axes.lines for y in line.get_ydata()]
  known = [y for y in heights if style.finite(float(y)) and y > 0]
  for axes in all_axes:
    if axes.lines:
      bounds = (min(known) / 1.1, max(known) * 1.1) if known else None
      style.log_axis(axes.yaxis, 'training loss' if axes is all_axes[0] else '', bounds)


def draw_distances(axes: Axes, summary: Summary, rate: Row) -> None:
  """The distance of the curves of each rule from the base's, and that of two seeds as a band."""
  title = f'Base learning rate {rate["learning_rate"]:.4g}'
  if not _with_distance(rate):
    why = rate['base']['problem'] or 'no run has a curve to compare'
    style.message(axes, title, f'Undefined: {why}.')
    return
  axes.set_title(title)
  style.log_axis(axes.yaxis, 'distance of log losses', _distance_bounds(summary))
  _floor(axes, rate['noise_floor'])
  sizes = sorted({run['batch_size'] for run in rate['runs']})
  rules = summary['scaling_rules']['rules']
  for run in rate['runs']:
    x = sizes.index(run['batch_size']) + 0.18 * (rules.index(run['rule']) - (len(rules) - 1) / 2)
    _distance(axes, run, x)
  axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
  axes.set(xlabel='batch size', xlim=(-0.6, len(sizes) - 0.4))


def draw_arms(axes: Axes, found: Mapping[str, Any], size: int, quantity: str) -> None:
  """A quantity by rule at one batch size: a line an arm, and of accuracies their mean."""
  rules, tints = found['rules'], [colour for colour, _ in look(found['arms']).values()]
  for arm, tint in zip(found['arms'], tints, strict=True):
    own = [r for r in found['rows'] if (r['arm'], r['batch_size']) == (arm, size) and r[quantity]]
    known = [row for row in own if row[quantity]['mean'] is not None]
    x, y = [rules.index(row['rule']) for row in known], [row[quantity]['mean'] for row in known]
    axes.plot(x, y, marker='o', markersize=5, color=tint, linewidth=1.4, label=arm)
  if quantity == 'distance':
    axes.set(yscale='log', title=f'Distance of curves, batch size {size}')
  else:
    axes.set_title(f'Final accuracy, batch size {size}')
    axes.axhline(0, color='#b4bac7', linewidth=0.9, zorder=1)
    axes.yaxis.set_major_formatter(lambda y, _: f'{100 * y:+.3g}' if y else '0')
    axes.set_ylabel('percentage points')
    for row in (row for row in found['accuracies'] if row['batch_size'] == size and row['n'] > 1):
      at = rules.index(row['rule']) + 0.12
      axes.plot([at, at], row['ci95'], color=INK, linewidth=2.4, alpha=0.6)
      axes.plot(at, row['mean'], 'o', color=INK, markersize=7, markeredgecolor=PAPER)
  axes.set_xticks(range(len(rules)), [WAYS[rule][0] for rule in rules])
  axes.set_xlim(-0.4, len(rules) - 0.5)


def draw_forest(axes: Axes, summary: Summary, clock: str) -> None:
  """Differences of accuracy to the base batch size, a line a batch size and way."""
  found = summary['scaling_rules']
  title = f'At equal {clock}'
  rows = [row for row in found['ways'].get('rows', []) if row['clock'] == clock]
  known = [row for row in rows if 'undefined' not in row]
  if not known:
    why = found['ways'].get('undefined') or rows[0]['undefined']
    style.message(axes, title, f'Undefined: {why}.')
    return
  margin, tints = found['margin'], style.colours(summary)
  axes.axvspan(-margin, margin, color=style.GRID, zorder=0)
  axes.axvline(0, color='#b4bac7', linewidth=0.9, zorder=1)
  heights = _heights(rows)
  reach = _reach(known, margin)
  axes.set(xlim=reach, ylim=(max(heights) + 0.7, -0.7), title=title)
  for row, y in zip(rows, heights, strict=True):
    tint = tints[row['batch_size']]
    if 'undefined' in row:
      axes.text(0, y, 'no result', color=MUTED, size=8, ha='center', va='center')
      continue
    _line(axes, row, y, tint, reach)
  base = found['base_batch_size']
  axes.set_yticks(heights, [f'{row["batch_size"]}  {WAYS[row["way"]][0]}' for row in rows])
  axes.grid(visible=False)
  axes.set_xlabel(f'{base} less the other, percentage points')
  axes.xaxis.set_major_formatter(lambda x, _: f'{100 * x:.3g}')


def rule_legend(summary: Summary) -> list[Line2D]:
  """The rules as they are drawn against batch size, and the band of two seeds."""
  handles = []
  for rule in summary['scaling_rules']['rules']:
    label, colour, marker = WAYS[rule]
    handles.append(Line2D([], [], linestyle='', color=colour, marker=marker, label=label))
  band = f'two seeds of batch size {summary["scaling_rules"]["base_batch_size"]}'
  return [*handles, Line2D([], [], color=MUTED, linewidth=1.4, linestyle='--', label=band)]


def curve_legend(summary: Summary) -> list[Line2D]:
  """What lines mean in the panels of curves."""
  found, rate, tints = summary['scaling_rules'], shown(summary), style.colours(summary)
  base = found['base_batch_size']
  at = f' at learning rate {number(rate["learning_rate"])}' if rate else ''
  handles = [
    Line2D([], [], color=tints[base], linestyle='--', linewidth=2.4, label=f'{base}, the base{at}')
  ]
  handles.append(Line2D([], [], color=_SEEDS, linewidth=2, label='its trials'))
  others = [size for size in tints if size != base]
  return handles + [Line2D([], [], color=tints[size], label=str(size)) for size in others]


def _mean_curve(
  axes: Axes, found: Mapping[int, Sequence[float]], colour: str, dashes: str, width: float = 1.8
) -> None:
  means = [math.exp(math.fsum(column) / len(column)) for column in found.values()]
  axes.plot(list(found), means, color=colour, linestyle=dashes, linewidth=width, zorder=3)


def _with_distance(rate: Row) -> list[Row]:
  return [run for run in rate['runs'] if 'each' in run.get('distance', {})]


def _distance_bounds(summary: Summary) -> tuple | None:
  """One axis for all learning rates."""
  rates = summary['scaling_rules']['rates']
  found = [run['distance'] for rate in rates for run in _with_distance(rate)]
  found += [rate['noise_floor'] for rate in rates]
  return style.limits([each['mean'] for each in found], [e for each in found for e in each['ci95']])


def _distance(axes: Axes, run: Row, x: float) -> None:
  _, colour, marker = WAYS[run['rule']]
  found = run.get('distance', {})
  if found.get('mean') is None:
    style.cross(axes, x, colour)
    return
  axes.plot([x] * found['n'], found['each'], '.', color=colour, alpha=0.4, zorder=3)
  style.interval(axes, x, found['ci95'], colour)
  dot = {'markersize': 7.5, 'markeredgecolor': PAPER, 'zorder': 5}
  axes.plot(x, found['mean'], marker, color=colour, **dot)


def _floor(axes: Axes, floor: Row) -> None:
  if floor['mean'] is None:
    return
  low, high = floor['ci95']
  if low is not None:
    axes.axhspan(low, high, color=style.GRID, zorder=0)
  axes.axhline(floor['mean'], color=MUTED, linewidth=1.4, linestyle='--', zorder=1)


def _heights(rows: Sequence[Row]) -> list[float]:
  """A line each, with room between batch sizes."""
  heights, at = [], 0.0
  for before, row in zip([None, *rows], rows, strict=False):
    at += 0.0 if before is None else 1.0 + 0.6 * (before['batch_size'] != row['batch_size'])
    heights.append(at)
  return heights


def _reach(rows: Sequence[Row], margin: float) -> tuple[float, float]:
  """Limits for all intervals, unless one would press the means into a point."""
  means = [row['val_accuracy']['mean'] for row in rows]
  ends = [end for row in rows for end in row['val_accuracy']['ci95'] if end is not None]
  inner = [value for value in (*means, -2 * margin, 2 * margin) if value is not None]
  far = _FARTHEST * max(map(abs, inner))
  low, high = max(min([*inner, *ends]), -far), min(max([*inner, *ends]), far)
  room = 0.04 * (high - low)
  return low - room, high + room


def _line(axes: Axes, row: Row, y: float, tint: str, reach: tuple[float, float]) -> None:
  _, _, marker = WAYS[row['way']]
  for key, shift, alpha in (('val_accuracy', 0.0, 1.0), ('reestimated_val_accuracy', 0.25, 0.5)):
    if key not in row or row[key]['mean'] is None:
      continue
    low, high = row[key]['ci95']
    at = y + shift
    if low is not None:
      ends = max(low, reach[0]), min(high, reach[1])
      axes.plot(ends, [at, at], color=tint, linewidth=2.2, alpha=0.5 * alpha, zorder=2)
      for end, drawn, sign in zip((low, high), ends, '<>', strict=True):
        if end != drawn:
          axes.plot(drawn, at, sign, color=tint, markersize=5, alpha=alpha, clip_on=False)
    dot = {'markersize': 7, 'markeredgecolor': PAPER, 'zorder': 4, 'alpha': alpha}
    axes.plot(row[key]['mean'], at, marker, color=tint, **dot)
