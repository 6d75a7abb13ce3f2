"""Examples against updates, critical batch sizes beside noise scales, and best learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsjax.report.figures.drawing import themed
from bsjax.report.panels import critical
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, INK, MUTED, VALIDATION, batch_size_axis, log_axis

SIZE = 8.2, 8.4  # inches: small beside its letters, so that a phone shows them
SCALES = {'b_simple': ('B_simple', VALIDATION, 's'), 'b_noise': ('B_noise', '#2a8f6b', '^')}


@themed
def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  result = data['result']
  figure = Figure(figsize=SIZE, layout='constrained')
  (hyperbola, targets), (rates, slopes) = figure.subplots(2, 2)
  middle = next(row for row in result['targets'] if row['target'] == result['target'])
  sizes = [{'batch_size': point['batch_size']} for point in middle['points']]
  source = Source({'batch_sizes': sizes, 'critical_batch_size': middle})
  critical.draw_hyperbola(hyperbola, source)
  hyperbola.set_title(f'To a training loss of {middle["target"]:.2g}')
  hyperbola.legend(loc='upper center', bbox_to_anchor=(0.5, -0.2), fontsize=8.5)
  _targets(targets, result['targets'])
  told = next(row for row in result['targets'] if row['target'] == result['growth_at']['target'])
  _rates(rates, told, source)
  _growth(slopes, told)
  return {'figure.png': figure}


def _targets(axes: Axes, targets: list[Mapping[str, Any]]) -> None:
  """B_crit and the noise scales where runs pass the same loss."""
  places = range(len(targets))
  series = [('B_crit', INK, 'o', [(row.get('b_crit'), row.get('ci95')) for row in targets])]
  for key, (label, colour, mark) in SCALES.items():
    found = [row['noise_scales'][key]['all'] or {'value': None} for row in targets]
    series.append((label, colour, mark, [(one['value'], one.get('ci95')) for one in found]))
  highest = 1.5 * max(value for *_, rows in series for value, _ in rows if value)
  for number, (label, colour, mark, rows) in enumerate(series):
    for place, (value, ends) in zip(places, rows, strict=True):
      if value:
        at = place + 0.17 * (number - 1)
        high = highest if ends[1] is None else ends[1]
        axes.plot([at, at], [max(ends[0], 1), high], color=colour, linewidth=3, alpha=0.4)
        axes.plot(at, value, mark, color=colour)
    axes.plot([], [], mark, color=colour, label=label)
  log_axis(axes.yaxis, 'examples')
  axes.set_xticks(places, [f'{row["target"]:.2g}' for row in targets])
  axes.set(xlabel='training loss', title='Critical batch size, noise scales')
  axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8.5)


def _rates(axes: Axes, target: Mapping[str, Any], source: Source) -> None:
  """The learning rate that needs the fewest examples to a target."""
  known = [row for row in target['learning_rates'] if row['learning_rate']]
  for row in known:
    size, colour = row['batch_size'], source.colours[row['batch_size']]
    axes.plot([size, size], row['ci95'], color=colour, linewidth=3, alpha=0.5)
    axes.plot(size, row['learning_rate'], 'o', color=colour)
  first, last = known[0], known[-1]
  x = np.array([first['batch_size'], last['batch_size']])
  axes.plot(x, first['learning_rate'] * x / x[0], '--', color=MUTED, linewidth=1, label='linear')
  saturation = target['growth']['saturation']
  if saturation.get('b_learning_rate'):
    at = saturation['b_learning_rate']
    shape = np.array([1 / (1 + at / row['batch_size']) for row in known])
    rates = np.array([row['learning_rate'] for row in known])
    most = np.exp(np.mean(np.log(rates / shape)))
    fine = np.geomspace(*x, 100)
    axes.plot(fine, most / (1 + at / fine), color=BEST, linewidth=1.4, label='levels off')
  batch_size_axis(axes, source.sizes, f'Fastest rate to {target["target"]:.2g}')
  log_axis(axes.yaxis, 'learning rate')
  axes.set_ylim(
    0.6 * min(row['ci95'][0] for row in known), 2 * max(row['ci95'][1] for row in known)
  )
  axes.legend(fontsize=8.5)


def _growth(axes: Axes, target: Mapping[str, Any]) -> None:
  """The exponent of the learning rate over neighbouring batch sizes."""
  local = target['growth']['local']
  for place, row in enumerate(local):
    axes.plot([place, place], row['ci95'], color=VALIDATION, linewidth=3, alpha=0.5)
    axes.plot(place, row['value'], 'o', color=VALIDATION)
  for exponent in (0, 1):
    axes.axhline(exponent, color=INK, linewidth=1, linestyle='--')
  names = [f'{row["batch_sizes"][0]:.0f} to\n{row["batch_sizes"][-1]:.0f}' for row in local]
  axes.set_xticks(range(len(local)), names)
  axes.set(xlabel='batch sizes', ylabel='exponent', title='Its growth; 1 is linear')
  axes.set_xlim(-0.5, len(local) - 0.5)
