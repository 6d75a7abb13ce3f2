"""The best learning rate against batch size, with the rules drawn over it, and its valleys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.analysis.runs import dropped
from bsjax.analysis.runs.histories import Setting
from bsjax.config.metrics import judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source, Summary
from bsjax.report.panels.style import INK, MUTED, PAPER
from bsjax.report.text.formats import nouns
from bsjax.report.text.words import RULES

_COLOURS = {
  'linear': '#1f5fbf',
  'square_root': '#2a8f6b',
  'mccandlish': '#c2410c',
  'mccandlish_adam': '#b7791f',
  'surge': '#8b3fa8',
}


def by_training(summary: Summary) -> Mapping[str, Any]:
  """What the training loss says of the learning rate, with its exponent."""
  return {**summary['learning_rates'], 'exponent': summary['learning_rate_exponent']}


def draw_optimum(axes: Axes, source: Source, entry: Mapping[str, Any]) -> None:
  """Measured optima with intervals or bounds, over the curves of the rules.

  `entry` is one of `analysis.learning_rate`.
  """
  axes.set_yscale('log')
  axes.set_ylim(source.learning_rates[0] / 1.8, source.learning_rates[-1] * 1.8)
  for size, tried in source.settings.items():
    rates = [setting.learning_rate for setting in tried]
    axes.plot([size] * len(rates), rates, '_', color='#cfd5e0', markersize=13, zorder=1)
  handles = _draw_rules(axes, entry)
  for row in entry['optimum']:
    size, colour = row['batch_size'], source.colours[row['batch_size']]
    if row['state'] == 'at_grid_edge':
      bound = row['bound']
      ends = (bound['above'], None) if 'above' in bound else (0.0, bound['below'])
      marks.interval(axes, size, ends, colour)
    elif row['learning_rate'] is None:
      marks.cross(axes, size, colour)
    else:
      face = colour if row['state'] == 'found' else PAPER
      dot = {'markerfacecolor': face, 'markeredgecolor': colour, 'markeredgewidth': 1.8}
      marks.estimate(axes, size, row['learning_rate'], row['ci95'], colour, **dot)
  handles += _states({row['state'] for row in entry['optimum']})
  title = f'Best learning rate by {nouns()[entry["merit"]]}'
  style.batch_size_axis(axes, source.sizes, title)
  style.log_axis(axes.yaxis, 'learning rate')
  below = {'loc': 'upper center', 'bbox_to_anchor': (0.5, -0.17), 'ncols': 2, 'fontsize': 9}
  axes.legend(handles=handles, **below)


def draw_valleys(axes: Axes, source: Source, merit: str) -> None:
  """What the optima are read from: the mean merit at the end against the learning rate."""
  heights: list[float] = []
  for number, (size, tried) in enumerate(source.settings.items()):
    rates, means, colour = [], [], source.colours[size]
    for setting in tried:
      if setting.problem:
        look = '|' if dropped.unknown(setting) else 'x'
        marks.cross(axes, setting.learning_rate, colour, at=0.98 - 0.03 * number, look=look)
        continue
      values = _merits(setting, merit)
      if all(map(style.finite, values)):
        rates.append(setting.learning_rate)
        means.append(math.fsum(values) / len(values))
    axes.plot(rates, means, 'o-', color=colour, linewidth=1.6, markersize=4.5)
    heights += means
  name = nouns()[merit]
  axes.set_title(f'{name[0].upper()}{name[1:]} at the end')
  style.log_axis(axes.xaxis, 'learning rate')
  style.log_axis(axes.yaxis, name, style.limits(heights))


def _merits(setting: Setting, merit: str) -> list[float | None]:
  """The values of the trials at the end; an error is what is missing to an accuracy of 1."""
  if merit == 'val_error':
    return [*map(judged().metric.cost, setting.finals(judged().val))]
  return setting.finals(merit)


def _draw_rules(axes: Axes, entry: Mapping[str, Any]) -> list[Line2D]:
  handles = []
  for rule in entry['rules']:
    if 'undefined' in rule:
      continue
    colour = _COLOURS[rule['rule']]
    misfit = f'{RULES[rule["rule"]]} (misfit {100 * rule["rms_log_misfit"]:.0f}%)'
    line = {'color': colour, 'linewidth': 1.8}
    if rule['applies'] is not True:
      line |= {'linestyle': '--', 'alpha': 0.45, 'linewidth': 1.3}
    curve = rule['curve']
    if curve['low'] is not None and rule['applies'] is not False:
      band = {'color': colour, 'alpha': 0.12, 'linewidth': 0}
      axes.fill_between(curve['batch_size'], curve['low'], curve['high'], **band)
    handles += axes.plot(curve['batch_size'], curve['learning_rate'], label=misfit, **line)
  return handles + _draw_exponent(axes, entry)


def _draw_exponent(axes: Axes, entry: Mapping[str, Any]) -> list[Line2D]:
  """The fitted power law, which goes through the mean of the logs."""
  exponent = entry['exponent']
  if 'undefined' in exponent:
    return []
  used = {row['batch_size']: row for row in entry['optimum']}
  sizes, value = exponent['batch_sizes'], exponent['value']
  x = math.fsum(map(math.log, sizes)) / len(sizes)
  y = math.fsum(math.log(used[size]['learning_rate']) for size in sizes) / len(sizes)
  ends = [min(sizes), max(sizes)]
  rates = [math.exp(y + value * (math.log(size) - x)) for size in ends]
  low, high = exponent['ci95']
  bounds = 'no interval' if low is None else f'{low:.2f} to {high:.2f}'
  label = f'fitted exponent {value:.2f} ({bounds})'
  return axes.plot(ends, rates, ':', color=INK, linewidth=1.8, label=label)


def _states(states: set[str]) -> list[Line2D]:
  """Legend entries of the states that occur."""
  dot = {'markersize': 7, 'markeredgecolor': MUTED, 'linestyle': '', 'color': MUTED}
  looks = {
    'found': ('optimum', 'o', MUTED),
    'next_to_divergence': ('next to divergence', 'o', PAPER),
    'at_grid_edge': ('only bounded (edge of grid)', '^', MUTED),
    'undetermined': ('undetermined', 'x', MUTED),
  }
  return [
    Line2D([], [], marker=marker, markerfacecolor=face, label=label, **dot)
    for state, (label, marker, face) in looks.items()
    if state in states
  ]
