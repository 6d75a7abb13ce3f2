"""The panels of a study's figures: each function draws one into the axes it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from bsjax.analysis.tables import Row, Setting, curve, noise_curve

INK, MUTED, GRID, PAPER = '#1d2433', '#667085', '#e7eaf0', '#ffffff'
VALIDATION, TRAINING, BEST = '#1f5fbf', '#8a94a6', '#e8871e'
SHADES = LinearSegmentedColormap.from_list('shades', ['#f3f7fb', '#a9cbe6', '#3d83bd', '#0d3b73'])

Summary = Mapping[str, Any]
Settings = Mapping[int, Sequence[Setting]]


def colours(summary: Summary) -> dict[int, str]:
  """A colour for each batch size: lightness grows with the size, so grey prints keep the order."""
  sizes = sorted(row['batch_size'] for row in summary['batch_sizes'])
  shades = matplotlib.colormaps['plasma'](np.linspace(0.0, 0.8, len(sizes)))
  return {size: to_hex(shade) for size, shade in zip(sizes, shades, strict=True)}


def chosen(summary: Summary, settings: Settings) -> dict[int, Setting]:
  """The setting of each batch size at its best learning rate; without one it is left out."""
  rates = {row['batch_size']: row['learning_rate'] for row in summary['batch_sizes']}
  return {
    size: setting
    for size, tried in settings.items()
    for setting in tried
    if setting.learning_rate == rates[size]
  }


def draw_accuracy(axes: Axes, summary: Summary, settings: Settings) -> None:
  """Means with intervals, and each trial as a faint dot."""
  rows = [row for row in summary['batch_sizes'] if row['learning_rate'] is not None]
  best = chosen(summary, settings)
  for key, colour, label, shift in (
    ('train_accuracy', TRAINING, 'training', 2**0.07),
    ('val_accuracy', VALIDATION, 'validation', 2**-0.07),
  ):
    for row in rows:
      trials = best[row['batch_size']].finals(key)
      axes.plot([row['batch_size'] * shift] * len(trials), trials, '.', color=colour, alpha=0.35)
    _means(axes, rows, key, colour, label, shift)
  _batch_size_axis(axes, summary, 'Accuracy at best learning rate')
  axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.4g}%'))
  axes.set_ylim(top=min(axes.get_ylim()[1], 1.005))  # an interval may pass 100%, accuracy cannot
  if rows:
    place = {'loc': 'lower right', 'bbox_to_anchor': (1, 1), 'borderaxespad': 0.2}
    axes.legend(ncols=2, handlelength=0.7, handletextpad=0.4, columnspacing=1, **place)


def draw_gap(axes: Axes, summary: Summary, settings: Settings) -> None:
  """Training minus validation accuracy: mean with interval, and each trial as a faint dot."""
  rows = [row for row in summary['batch_sizes'] if row['learning_rate'] is not None]
  for size, setting in chosen(summary, settings).items():
    pairs = zip(setting.finals('train_accuracy'), setting.finals('val_accuracy'), strict=True)
    for train, val in pairs:
      axes.plot(size, train - val, '.', color=INK, alpha=0.3)
  axes.axhline(0, color='#b4bac7', linewidth=0.9)
  _means(axes, rows, 'generalization_gap', INK, None, 1.0)
  _batch_size_axis(axes, summary, 'Generalization gap: training minus validation accuracy')
  axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.3g}'))
  axes.set_ylabel('percentage points')


def draw_noise_scale(axes: Axes, summary: Summary) -> None:
  """B_simple with its interval; an arrow upwards where the data set no upper bound."""
  rows = [(row['batch_size'], row['noise_scale']) for row in summary['batch_sizes']]
  tints = colours(summary)
  numbers = [n for _, noise in rows for n in (noise['b_simple'], *noise['ci95']) if n and n > 0]
  if numbers:
    low_end, high_end = min(numbers) / 1.6, max(numbers) * 1.8
    axes.set_ylim(low_end, high_end)
    for size, noise in rows:
      low, high = noise['ci95']
      if low is not None:
        bar = [max(low, low_end), high_end if high is None else high]
        axes.plot([size] * 2, bar, color=tints[size], linewidth=2.4, alpha=0.55, zorder=2)
      if noise['unbounded']:
        at_top = {'transform': axes.get_xaxis_transform(), 'clip_on': False, 'zorder': 4}
        axes.plot(size, 1.0, '^', color=tints[size], markersize=9, **at_top)
      if noise['b_simple']:
        style = {'markersize': 8, 'markeredgecolor': PAPER, 'zorder': 3}
        axes.plot(size, noise['b_simple'], 'o', color=tints[size], **style)
    line = [min(size for size, _ in rows) / 2, max(size for size, _ in rows) * 2]
    label = 'noise scale = batch size'
    axes.plot(line, line, '--', color=MUTED, linewidth=1, zorder=1, label=label)
    axes.legend(loc='best')
  _batch_size_axis(axes, summary, 'Gradient noise scale, late in training')
  _examples_axis(axes)


def draw_noise_curves(axes: Axes, summary: Summary, settings: Settings) -> None:
  """The noise scale of each stretch between records, trials pooled, along training."""
  tints = colours(summary)
  for size, setting in chosen(summary, settings).items():
    examples, values = noise_curve(setting)
    style = {'markersize': 3.5, 'linewidth': 1.7}
    axes.plot(examples, values, 'o-', color=tints[size], **style)
  axes.set_title('Gradient noise scale along training')
  axes.set_xlabel('examples seen')
  axes.xaxis.set_major_formatter(EngFormatter(sep=''))
  _examples_axis(axes)


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


def draw_curves(
  axes: Axes, summary: Summary, settings: Settings, clock: str, quantity: str
) -> None:
  """Mean over trials with the range of the trials as a band; `clock` is 'epoch' or 'updates'."""
  tints, shown = colours(summary), []
  for size, setting in chosen(summary, settings).items():
    x, mean, low, high = curve(setting, clock, quantity)
    first = 1 if clock == 'updates' else 0  # a logarithmic axis has no 0
    axes.fill_between(x[first:], low[first:], high[first:], color=tints[size], alpha=0.16, lw=0)
    axes.plot(x[first:], mean[first:], color=tints[size], linewidth=1.9)
    shown += [*low[len(low) // 4 :], *high[len(high) // 4 :]]
  name = {'val_accuracy': 'Validation accuracy', 'train_loss': 'Training loss'}[quantity]
  axes.set_title(f'{name} against {"epochs" if clock == "epoch" else "updates"}')
  axes.set_xlabel('epochs' if clock == 'epoch' else 'updates (logarithmic)')
  if clock == 'updates':
    axes.set_xscale('log')
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
  if quantity == 'train_loss':
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{y:g}'))
  else:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.4g}%'))
    if shown:  # the steep start would press the ends, which matter, into one line
      margin = 0.06 * (max(shown) - min(shown)) or 0.01
      axes.set_ylim(min(shown) - margin, max(shown) + margin)


def _means(
  axes: Axes, rows: Sequence[Row], key: str, colour: str, label: str | None, shift: float
) -> None:
  """Means over trials, joined, with their intervals; `shift` moves them aside by a factor."""
  x = [row['batch_size'] * shift for row in rows]
  axes.plot(x, [row[key]['mean'] for row in rows], color=colour, linewidth=1.2, alpha=0.5)
  style = {'markersize': 7, 'markeredgecolor': PAPER, 'zorder': 3}
  axes.plot(x, [row[key]['mean'] for row in rows], 'o', color=colour, label=label, **style)
  for at, row in zip(x, rows, strict=True):
    if row[key]['ci95'][0] is not None:
      axes.plot([at, at], row[key]['ci95'], color=colour, linewidth=2.4, alpha=0.55, zorder=2)


def _batch_size_axis(axes: Axes, summary: Summary, title: str) -> None:
  sizes = [row['batch_size'] for row in summary['batch_sizes']]
  axes.set_xscale('log', base=2)
  axes.set_xlim(min(sizes) / 2**0.5, max(sizes) * 2**0.5)
  axes.set_xticks(sizes, [str(size) for size in sizes])
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set_xlabel('batch size')
  axes.set_title(title)


def _examples_axis(axes: Axes) -> None:
  """A logarithmic axis with ticks that a person reads, over less than a decade or many."""
  axes.set_yscale('log')
  axes.set_ylabel('examples')
  low, high = axes.get_ylim()
  axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
  axes.yaxis.set_major_formatter(EngFormatter(sep=''))
  axes.yaxis.set_minor_locator(NullLocator())


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
  style = {'edgecolor': BEST, 'linewidth': 2.2, 'linestyle': '--' if at_edge else '-', 'zorder': 4}
  axes.add_patch(Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, fill=False, **style))
