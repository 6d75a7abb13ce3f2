"""Noise scales: all kinds beside each other, along training, by batch size and by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bsjax.analysis.runs.histories import Setting, noise_curve
from bsjax.noise import entries
from bsjax.noise.entries import NoiseScale
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source, Summary
from bsjax.report.panels.style import MUTED, PAPER

CRITICAL, FROM_RATES = '#e8871e', '#667085'


def kinds(summary: Summary) -> list[NoiseScale]:
  """The kinds that some batch size has."""
  return [
    kind for kind in _all() if any(kind.name in row['late'] for row in summary['noise_scales'])
  ]


def _all() -> list[NoiseScale]:
  return [*entries.ONLINE.values(), *entries.EXACT.values()]


def middle(summary: Summary) -> Mapping[str, Any] | None:
  """The entry of the middle batch size, or None without any."""
  rows = summary['noise_scales']
  return rows[len(rows) // 2] if rows else None


def draw_late(axes: Axes, source: Source) -> None:
  """Every kind with its interval against batch size; B_crit and B_lr as horizontal bands."""
  summary = source.summary
  rows, shown = summary['noise_scales'], kinds(summary)
  bands = _bands(summary)
  values = [row['late'][kind.name] for row in rows for kind in shown if kind.name in row['late']]
  ends = [end for value in values for end in value['ci95']]
  ends += [end for _, value, ci95, _ in bands for end in (value, *ci95)]
  # Without any value the interval of the critical batch size still has a place.
  bounds = style.limits([value['value'] for value in values], ends) or style.limits(ends)
  if bounds is None:
    marks.message(
      axes, 'Noise scale, late in training', 'No noise scale with a value was measured.'
    )
    return
  style.log_axis(axes.yaxis, 'examples', bounds)
  for _, value, ci95, colour in bands:
    _draw_band(axes, value, ci95, colour)
  for number, kind in enumerate(shown):
    shift = 2 ** (0.16 * (number - (len(shown) - 1) / 2))
    for row in rows:
      if kind.name in row['late']:
        late, x = row['late'][kind.name], row['batch_size'] * shift
        marks.estimate(axes, x, late['value'], late['ci95'], kind.colour, marker=kind.marker)
  line = [source.sizes[0] / 2, source.sizes[-1] * 2]
  axes.plot(line, line, '--', color=MUTED, linewidth=1, zorder=1, scaley=False)
  style.batch_size_axis(axes, source.sizes, 'Noise scale, late in training')


def legend(source: Source) -> dict[str, Any]:
  """The kinds and bands of `draw_late` and `draw_training`."""
  summary = source.summary
  dot = {'linestyle': '', 'markersize': 7}
  handles: list[Any] = [
    Line2D([], [], color=kind.colour, marker=kind.marker, label=kind.title, **dot)
    for kind in kinds(summary)
  ]
  handles += [Patch(color=colour, alpha=0.35, label=name) for name, *_, colour in _bands(summary)]
  dashed = {'linestyle': '--', 'color': MUTED, 'linewidth': 1}
  handles.append(Line2D([], [], label='noise scale = batch size', **dashed))
  return {'handles': handles, 'ncols': 3}


def draw_training(axes: Axes, source: Source) -> None:
  """All kinds of the middle batch size against examples seen, trials pooled."""
  row = middle(source.summary)
  if row is None:
    marks.message(axes, 'Noise scale along training', 'No batch size has a result.')
    return
  lines = {
    kind: [(at['examples'], *_ends(at[kind.name])) for at in row['training'] if kind.name in at]
    for kind in _all()
  }
  values = [value for line in lines.values() for _, value, _, _ in line]
  ends = [end for line in lines.values() for _, _, *both in line for end in both]
  title, bounds = f'Along training, batch size {row["batch_size"]}', style.limits(values, ends)
  if bounds is None:
    marks.message(axes, title, 'No noise scale with a value was measured.')
    return
  style.log_axis(axes.yaxis, 'examples', bounds)
  top = axes.get_ylim()[1]
  for kind, line in lines.items():
    if not line:
      continue
    x, value, low, high = zip(*line, strict=True)
    high = [top if math.isinf(end) else end for end in high]
    axes.fill_between(x, low, high, color=kind.colour, alpha=0.12, linewidth=0)
    axes.plot(x, value, marker=kind.marker, color=kind.colour, markersize=4, linewidth=1.6)
  axes.set_title(title)
  style.examples_seen(axes)


def draw_noise_curves(axes: Axes, source: Source) -> None:
  """The noise scale of each stretch between records, trials pooled, for every batch size."""
  for size, setting in source.chosen.items():
    examples, values = noise_curve(setting)
    line = {'markersize': 3.5, 'linewidth': 1.7}
    axes.plot(examples, values, 'o-', color=source.colours[size], **line)
  axes.set_title('From the batches, along training')
  style.examples_seen(axes)
  style.log_axis(axes.yaxis, 'examples')


def layers(setting: Setting) -> dict[str, float | None]:
  """The noise scale of each layer from single examples, at the end of training.

  A ratio of means over trials; None where they are not above zero. Empty without a measurement.
  """
  probes = [lane.rows[-1].get('exact', {}).get('plain', {}).get('layers') for lane in setting.lanes]
  if not probes or not all(probes):
    return {}
  result: dict[str, float | None] = {}
  for layer in probes[0]:
    pairs = [(probe[layer]['trace'], probe[layer]['grad_sq']) for probe in probes]
    trace, grad_sq = (
      math.fsum(_or_nan(value) for value in column) for column in zip(*pairs, strict=True)
    )
    result[layer] = trace / grad_sq if trace >= 0 and grad_sq > 0 else None
  return result


def draw_layers(axes: Axes, source: Source) -> None:
  """One row per layer, one dot per batch size, a cross where a layer has no noise scale."""
  scales = {size: layers(setting) for size, setting in source.chosen.items()}
  names = list(next((by_layer for by_layer in scales.values() if by_layer), {}))
  values = [value for by_layer in scales.values() for value in by_layer.values()]
  style.log_axis(axes.xaxis, 'examples', style.limits(values))
  for size, by_layer in scales.items():
    for name, value in by_layer.items():
      place = {'color': source.colours[size], 'zorder': 3}
      if value is None:
        axes.plot(0.985, names.index(name), 'x', transform=axes.get_yaxis_transform(), **place)
      else:
        axes.plot(value, names.index(name), 'o', markersize=8, markeredgecolor=PAPER, **place)
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(len(names) - 0.5, -0.5)
  axes.set_title('By layer, from single examples, at the end')


def _bands(summary: Summary) -> list[tuple[str, float | None, list[float | None], str]]:
  """(name, value, interval, colour) of the batch sizes that other measurements suggest."""
  critical, rates = summary['critical_batch_size'], summary['learning_rates']['noise_scale']
  bands = []
  if critical.get('b_crit') is not None:
    bands.append(('critical batch size', critical['b_crit'], critical['ci95'], CRITICAL))
  if 'undefined' not in rates and (rates['b_learning_rate'] or rates['ci95'][0] is not None):
    name = 'from the best learning rates'
    bands.append((name, rates['b_learning_rate'], rates['ci95'], FROM_RATES))
  return bands


def _draw_band(axes: Axes, value: float | None, ci95: list[float | None], colour: str) -> None:
  """An interval across the axes; one without an upper bound goes to the frame."""
  (low, high), (bottom, top) = ci95, axes.get_ylim()
  if low is not None:
    ends = max(low, bottom), top if high is None else min(high, top)
    axes.axhspan(*ends, color=colour, alpha=0.13, linewidth=0, zorder=0)
  if value is not None:
    axes.axhline(value, color=colour, linewidth=1.5, alpha=0.8, zorder=1)


def _ends(scale: Mapping[str, Any]) -> tuple[float, float, float]:
  """Value and interval; NaN draws nothing, infinity is no upper bound."""
  low, high = scale['ci95']
  if low is None or (low == 0 and high is None):  # a band over everything says nothing
    return _or_nan(scale['value']), math.nan, math.nan
  return _or_nan(scale['value']), low, math.inf if high is None else high


def _or_nan(value: float | None) -> float:
  return math.nan if value is None else value
