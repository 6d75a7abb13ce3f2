"""What all panels share: colours, and axes that people read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from bsjax.config.metrics import ACCURACY, judged

INK, MUTED, GRID, PAPER = '#1d2433', '#667085', '#e7eaf0', '#ffffff'
VALIDATION, TRAINING, BEST = '#1f5fbf', '#8a94a6', '#e8871e'

MOST_ACCURATE = 1.005  # the top of an axis of accuracies
_FARTHEST = 30  # how far an interval may stretch an axis beyond the values, as a factor


def limits(values: Iterable[float | None], ends: Iterable[float | None] = ()) -> tuple | None:
  """Limits of a logarithmic axis around the values, and around ends that lie not too far off."""
  inner = [value for value in values if value is not None and value > 0]
  if not inner:
    return None
  low, high = min(inner) / _FARTHEST, max(inner) * _FARTHEST
  outer = [end for end in ends if end is not None and low <= end <= high]
  return min(inner + outer) / 1.6, max(inner + outer) * 1.6


def batch_size_axis(axes: Axes, sizes: Sequence[int], title: str) -> None:
  """A logarithmic x axis with the batch sizes as its ticks."""
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


def short(title: str, instead: str) -> str:
  """The title, or one that fits where the metric has a longer name than that of classification."""
  return title if len(judged().metric.title) <= len(ACCURACY.title) else instead


def percent_axis(axes: Axes) -> None:
  """The y axis of the metric, fractions in percent."""
  if judged().metric.percent:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.4g}%'))
  elif judged().metric.unit:
    axes.set_ylabel(judged().metric.unit)


def accuracy_axis(axes: Axes) -> None:
  """The same, drawn already: an interval may pass 100%, accuracy cannot."""
  percent_axis(axes)
  axes.set_ylim(top=min(axes.get_ylim()[1], most()))


def most() -> float:
  """The top of an axis of the metric."""
  return MOST_ACCURATE if judged().metric.percent else math.inf


def later_part(axes: Axes, heights: Sequence[float], room: float, most: float = math.inf) -> None:
  """Limits by the means of the later part: the steep start and wide intervals are cut off."""
  if heights:
    margin = room * (max(heights) - min(heights)) or 0.01
    axes.set_ylim(min(heights) - margin, min(max(heights) + margin, most))


def points_axis(axes: Axes) -> None:
  """The y axis of a difference of the metric."""
  if judged().metric.percent:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{100 * y:.3g}'))
  axes.set_ylabel(judged().of_points.strip())


def difference_axis(axis: Axis, sign: str = '+') -> None:
  """An axis of differences with their signs, and a plain 0."""
  scale = 100 if judged().metric.percent else 1
  zero = '0' if sign else f'{0:.3g}'
  axis.set_major_formatter(FuncFormatter(lambda x, _: f'{scale * x:{sign}.3g}' if x else zero))


def finite(value: float | None) -> bool:
  return value is not None and math.isfinite(value)


def _plain(value: float, _: Any) -> str:
  return f'{value:g}' if value >= 1e-4 else f'{value:.0e}'
