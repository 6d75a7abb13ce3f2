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
from bsjax.config.metrics import judged
from bsjax.format import number
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source, Summary
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, TRAINING, VALIDATION

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


def draw_curves(axes: Axes, source: Source, rule: str) -> None:
  """The mean log loss of every batch size under one rule, the trials of the base one in grey."""
  compared, rate = source.summary['scaling_rules'], shown(source.summary)
  base = compared['base_batch_size']
  if rate is None:
    marks.message(axes, _TITLES[rule], f'Undefined: {compared["undefined"]}.')
    return
  missing = []
  axes.set_title(_TITLES[rule])
  of_base, _ = curves(setting_at(source.settings[base], rate['learning_rate']).lanes)
  for trial in np.exp(np.array(list(of_base.values())).T):
    axes.plot(list(of_base), trial, color=_SEEDS, linewidth=1.2, zorder=1)
  for run in rate['runs']:
    if run['rule'] != rule:
      continue
    setting = setting_at(source.settings[run['batch_size']], run['learning_rate'])
    of_run, _ = curves(setting.lanes)
    if not of_run:
      missing.append(str(run['batch_size']))
    _mean_curve(axes, of_run, source.colours[run['batch_size']], '-')
  _mean_curve(axes, of_base, source.colours[base], '--', width=2.4)
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


def draw_distances(axes: Axes, source: Source, rate: Row) -> None:
  """The distance of the curves of each rule from the base's, and that of two seeds as a band."""
  title = f'Base learning rate {rate["learning_rate"]:.4g}'
  if not _with_distance(rate):
    why = rate['base']['problem'] or 'no run has a curve to compare'
    marks.message(axes, title, f'Undefined: {why}.')
    return
  axes.set_title(title)
  style.log_axis(axes.yaxis, 'distance of log losses', _distance_bounds(source.summary))
  _floor(axes, rate['noise_floor'])
  sizes = sorted({run['batch_size'] for run in rate['runs']})
  rules = source.summary['scaling_rules']['rules']
  for run in rate['runs']:
    x = sizes.index(run['batch_size']) + 0.18 * (rules.index(run['rule']) - (len(rules) - 1) / 2)
    _distance(axes, run, x)
  axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
  axes.set(xlabel='batch size', xlim=(-0.6, len(sizes) - 0.4))


def draw_forest(axes: Axes, source: Source, clock: str) -> None:
  """Differences of accuracy to the base batch size, one line per batch size and way."""
  compared = source.summary['scaling_rules']
  title = f'At equal {clock}'
  rows = [row for row in compared['ways'].get('rows', []) if row['clock'] == clock]
  known = [row for row in rows if 'undefined' not in row]
  if not known:
    why = compared['ways'].get('undefined') or rows[0]['undefined']
    marks.message(axes, title, f'Undefined: {why}.')
    return
  margin = compared['margin']
  axes.axvspan(-margin, margin, color=style.GRID, zorder=0)
  axes.axvline(0, color='#b4bac7', linewidth=0.9, zorder=1)
  heights = _heights(rows)
  reach = _reach(known, margin)
  axes.set(xlim=reach, ylim=(max(heights) + 0.7, -0.7), title=title)
  for row, y in zip(rows, heights, strict=True):
    if 'undefined' in row:
      axes.text(0, y, 'no result', color=MUTED, size=8, ha='center', va='center')
      continue
    _line(axes, row, y, source.colours[row['batch_size']], reach)
  base = compared['base_batch_size']
  axes.set_yticks(heights, [f'{row["batch_size"]}  {WAYS[row["way"]][0]}' for row in rows])
  axes.grid(visible=False)
  unit = judged().of_points.strip()
  axes.set_xlabel(f'{base} less the other' + (f', {unit}' if unit else ''))
  style.difference_axis(axes.xaxis, sign='')


def rule_legend(source: Source) -> dict[str, Any]:
  """The rules as they are drawn against batch size, and the band of two seeds."""
  compared, handles = source.summary['scaling_rules'], []
  for rule in compared['rules']:
    label, colour, marker = WAYS[rule]
    handles.append(Line2D([], [], linestyle='', color=colour, marker=marker, label=label))
  band = f'two seeds of batch size {compared["base_batch_size"]}'
  handles.append(Line2D([], [], color=MUTED, linewidth=1.4, linestyle='--', label=band))
  return {'handles': handles, 'ncols': len(handles)}


def curve_legend(source: Source) -> dict[str, Any]:
  """What lines mean in the panels of curves."""
  base, rate = source.summary['scaling_rules']['base_batch_size'], shown(source.summary)
  label = f'{base}, the base' + (
    f' at learning rate {number(rate["learning_rate"])}' if rate else ''
  )
  handles = [
    Line2D([], [], color=source.colours[base], linestyle='--', linewidth=2.4, label=label),
    Line2D([], [], color=_SEEDS, linewidth=2, label='its trials'),
  ]
  others = [size for size in source.sizes if size != base]
  handles += [Line2D([], [], color=source.colours[size], label=str(size)) for size in others]
  return {'handles': handles, 'ncols': len(handles)}


def _mean_curve(
  axes: Axes, curve: Mapping[int, Sequence[float]], colour: str, dashes: str, width: float = 1.8
) -> None:
  means = [math.exp(math.fsum(column) / len(column)) for column in curve.values()]
  axes.plot(list(curve), means, color=colour, linestyle=dashes, linewidth=width, zorder=3)


def _with_distance(rate: Row) -> list[Row]:
  return [run for run in rate['runs'] if 'each' in run.get('distance', {})]


def _distance_bounds(summary: Summary) -> tuple | None:
  """One axis for all learning rates."""
  rates = summary['scaling_rules']['rates']
  distances = [run['distance'] for rate in rates for run in _with_distance(rate)]
  distances += [rate['noise_floor'] for rate in rates]
  ends = [end for distance in distances for end in distance['ci95']]
  return style.limits([distance['mean'] for distance in distances], ends)


def _distance(axes: Axes, run: Row, x: float) -> None:
  _, colour, marker = WAYS[run['rule']]
  distance = run.get('distance', {})
  if distance.get('mean') is None:
    marks.cross(axes, x, colour)
    return
  marks.trials(axes, x, distance['each'], colour)
  marks.estimate(axes, x, distance['mean'], distance['ci95'], colour, marker=marker)


def _floor(axes: Axes, floor: Row) -> None:
  if floor['mean'] is None:
    return
  low, high = floor['ci95']
  if low is not None:
    axes.axhspan(low, high, color=style.GRID, zorder=0)
  axes.axhline(floor['mean'], color=MUTED, linewidth=1.4, linestyle='--', zorder=1)


def _heights(rows: Sequence[Row]) -> list[float]:
  """One line per row, with room between batch sizes."""
  heights, at = [], 0.0
  for before, row in zip([None, *rows], rows, strict=False):
    at += 0.0 if before is None else 1.0 + 0.6 * (before['batch_size'] != row['batch_size'])
    heights.append(at)
  return heights


def _reach(rows: Sequence[Row], margin: float) -> tuple[float, float]:
  """Limits for all intervals, unless one would press the means into a point."""
  means = [row[judged().val]['mean'] for row in rows]
  ends = [end for row in rows for end in row[judged().val]['ci95'] if end is not None]
  inner = [value for value in (*means, -2 * margin, 2 * margin) if value is not None]
  far = _FARTHEST * max(map(abs, inner))
  low, high = max(min([*inner, *ends]), -far), min(max([*inner, *ends]), far)
  room = 0.04 * (high - low)
  return low - room, high + room


def _line(axes: Axes, row: Row, y: float, tint: str, reach: tuple[float, float]) -> None:
  _, _, marker = WAYS[row['way']]
  for key, shift, alpha in ((judged().val, 0.0, 1.0), (judged().reestimated_val, 0.25, 0.5)):
    if key not in row or row[key]['mean'] is None:
      continue
    low, high = row[key]['ci95']
    at = y + shift
    if low is not None:
      ends = max(low, reach[0]), min(high, reach[1])
      marks.bar(axes, at, ends, tint, lying=True, alpha=0.5 * alpha)
      for end, drawn, sign in zip((low, high), ends, '<>', strict=True):
        if end != drawn:
          axes.plot(drawn, at, sign, color=tint, markersize=5, alpha=alpha, clip_on=False)
    dot = {'markersize': 7, 'markeredgecolor': PAPER, 'zorder': 4, 'alpha': alpha}
    axes.plot(row[key]['mean'], at, marker, color=tint, **dot)
