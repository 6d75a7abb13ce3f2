"""What all panels share: colours, axes that people read, intervals that may have no end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from bsjax.analysis.runs.histories import LaneHistory, Row, Setting

INK, MUTED, GRID, PAPER = '#1d2433', '#667085', '#e7eaf0', '#ffffff'
VALIDATION, TRAINING, BEST = '#1f5fbf', '#8a94a6', '#e8871e'

Summary = Mapping[str, Any]
Settings = Mapping[int, Sequence[Setting]]

_FARTHEST = 30  # how far an interval may stretch an axis beyond the values, as a factor
_SIDES = ('above', 'below')


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


def reported(row: Row, tried: Sequence[Setting]) -> list[LaneHistory]:
  """The runs behind a row of results: each trial's, at the rate that the others chose for it."""
  by_rate = {setting.learning_rate: setting for setting in tried}
  return [by_rate[rate].lanes[trial] for trial, rate in enumerate(row['trial_learning_rates'])]


def limits(values: Iterable[float | None], ends: Iterable[float | None] = ()) -> tuple | None:
  """Limits of a logarithmic axis around the values, and around ends that lie not too far off."""
  inner = [value for value in values if value is not None and value > 0]
  if not inner:
    return None
  low, high = min(inner) / _FARTHEST, max(inner) * _FARTHEST
  outer = [end for end in ends if end is not None and low <= end <= high]
  return min(inner + outer) / 1.6, max(inner + outer) * 1.6


def interval(
  axes: Axes, x: int | float, ends: Sequence[float | None], colour: str, width: float = 2.4
) -> None:
  """A bar on a logarithmic axis whose limits are set; an arrow where there is no bound.

  `ends` are low and high; None as high, or 0 as low, bounds nothing on that side. Without a low end
  there is no interval. A bar that leaves the axes goes on beyond them.
  """
  low, high = ends
  if low is None:
    return
  bottom, top = axes.get_ylim()
  bar = [max(low, bottom), top if high is None else min(high, top)]
  if bar[0] <= bar[1]:
    axes.plot([x, x], bar, color=colour, linewidth=width, alpha=0.5, zorder=2)
  if high is None:
    arrow(axes, x, colour, 'above')
  if low == 0:
    arrow(axes, x, colour, 'below')


def arrow(axes: Axes, x: int | float, colour: str, side: str) -> None:
  """At the frame, for what goes on without a bound."""
  if side not in _SIDES:
    raise ValueError(f'side is {side!r}: give one of {", ".join(_SIDES)}.')
  at_frame = {'transform': axes.get_xaxis_transform(), 'clip_on': False, 'zorder': 4}
  up = side == 'above'
  axes.plot(x, float(up), '^' if up else 'v', color=colour, markersize=7, **at_frame)


def cross(axes: Axes, x: int | float, colour: str, at: float = 0.04) -> None:
  """For what is undefined, at a height of the frame."""
  style = {'markersize': 6, 'markeredgewidth': 1.6, 'zorder': 4}
  axes.plot(x, at, 'x', color=colour, transform=axes.get_xaxis_transform(), **style)


def message(axes: Axes, title: str, text: str) -> None:
  """Empty axes that say why they are empty."""
  axes.set_title(title)
  axes.set(xticks=[], yticks=[])
  axes.spines[:].set_visible(False)
  words = textwrap.shorten(text, 230, placeholder=' …')
  wrapped = '\n'.join(textwrap.wrap(words, 46))
  style = {'ha': 'center', 'va': 'center', 'color': MUTED, 'transform': axes.transAxes}
  axes.text(0.5, 0.5, wrapped, **style)


def batch_size_axis(axes: Axes, summary: Summary, title: str) -> None:
  """A logarithmic x axis with the batch sizes of the study as its ticks."""
  sizes = [row['batch_size'] for row in summary['batch_sizes']]
  axes.set_xscale('log', base=2)
  axes.set_xlim(min(sizes) / 2**0.5, max(sizes) * 2**0.5)
  axes.set_xticks(sizes, [str(size) for size in sizes])
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set_xlabel('batch size')
  axes.set_title(title)


def log_axis(axis: Axis, label: str, bounds: tuple | None = None) -> None:
  """A logarithmic axis with ticks that a person reads, over less than a decade or many."""
  side = axis.axis_name
  axis.axes.set(**{f'{side}scale': 'log', f'{side}label': label})
  if bounds:
    axis.axes.set(**{f'{side}lim': bounds})
  low, high = sorted(axis.get_view_interval())
  if low <= 0:  # nothing was drawn
    low, high = 1.0, 10.0
    axis.axes.set(**{f'{side}lim': (low, high)})
  axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
  axis.set_major_formatter(EngFormatter(sep='') if high > 1000 else FuncFormatter(_plain))
  axis.set_minor_locator(NullLocator())


def examples_seen(axes: Axes) -> None:
  axes.set_xlabel('examples seen')
  axes.xaxis.set_major_formatter(EngFormatter(sep=''))


def percent_axis(axes: Axes) -> None:
  """The y axis of an accuracy."""
  axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.4g}%'))


def points_axis(axes: Axes) -> None:
  """The y axis of a difference of accuracies."""
  axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.3g}'))
  axes.set_ylabel('percentage points')


def finite(value: float | None) -> bool:
  return value is not None and math.isfinite(value)


def _plain(value: float, _: Any) -> str:
  return f'{value:g}' if value >= 1e-4 else f'{value:.0e}'
