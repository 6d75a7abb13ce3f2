"""How results are drawn: means with intervals, curves, and what has no bound or no value."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

from bsjax.analysis.runs.histories import Curve, Row
from bsjax.report.panels.style import MUTED, PAPER

Number = int | float
Ends = Sequence[Number | None]  # low and high of an interval

_SIDES = ('above', 'below')


def estimates(
  axes: Axes,
  rows: Iterable[Row],
  key: str,
  colour: str,
  *,
  x: str = 'batch_size',
  shift: Number = 1,
  marker: str = 'o',
  dashes: str = '-',
  label: str | None = None,
) -> bool:
  """Means joined by a line, with their intervals, against column `x`; says whether any was drawn.

  Rows that lack the estimate `key`, or whose mean is None, are left out. `shift` moves all aside by
  a factor, so that series do not cover each other; `dashes` '' joins nothing.
  """
  known = [row for row in rows if key in row and row[key]['mean'] is not None]
  if not known:
    return False
  at, means = [row[x] * shift for row in known], [row[key]['mean'] for row in known]
  axes.plot(at, means, color=colour, linestyle=dashes, linewidth=1.2, alpha=0.5)
  dot = {'markersize': 6.5, 'markeredgecolor': PAPER, 'zorder': 3}
  axes.plot(at, means, marker, color=colour, label=label, **dot)
  for place, row in zip(at, known, strict=True):
    bar(axes, place, row[key]['ci95'], colour)
  return True


def bar(
  axes: Axes, at: Number, ends: Ends, colour: str, *, lying: bool = False, **look: Any
) -> None:
  """An interval with two ends, upright or lying; nothing where there is none."""
  if ends[0] is not None:
    line = {'color': colour, 'linewidth': 2.2, 'alpha': 0.5, 'zorder': 2, **look}
    axes.plot(*((ends, [at, at]) if lying else ([at, at], ends)), **line)


def estimate(
  axes: Axes, x: Number, value: Number | None, ends: Ends, colour: str, **look: Any
) -> None:
  """A value with its interval on a logarithmic axis whose limits are set; a cross for neither."""
  interval(axes, x, ends, colour)
  if value is not None:
    dot = {'color': colour, 'marker': 'o', 'markersize': 7.5, 'markeredgecolor': PAPER, **look}
    axes.plot(x, value, linestyle='', zorder=5, **dot)
  elif ends[0] is None:
    cross(axes, x, colour)


def interval(axes: Axes, x: Number, ends: Ends, colour: str) -> None:
  """A bar on a logarithmic axis whose limits are set; an arrow where there is no bound.

  None as high, or 0 as low, bounds nothing on that side. Without a low end there is no interval. A
  bar that leaves the axes goes on beyond them.
  """
  low, high = ends
  if low is None:
    return
  bottom, top = axes.get_ylim()
  inside = max(low, bottom), top if high is None else min(high, top)
  if inside[0] <= inside[1]:
    bar(axes, x, inside, colour)
  if high is None:
    arrow(axes, x, colour, 'above')
  if low == 0:
    arrow(axes, x, colour, 'below')


def trials(axes: Axes, x: Number, values: Sequence[Number], colour: str) -> None:
  """Single trials as faint dots."""
  axes.plot([x] * len(values), values, '.', color=colour, alpha=0.35, zorder=2)


def curve(axes: Axes, along: Curve, colour: str, dashes: str = '-', end: Number = 0) -> None:
  """A mean along training; its last interval stands at `end`, unless that is 0."""
  axes.plot(along.x, along.mean, color=colour, linestyle=dashes, linewidth=1.8)
  if along.x and end:
    bar(axes, end, (along.low[-1], along.high[-1]), colour)


def arrow(axes: Axes, x: Number, colour: str, side: str) -> None:
  """At the frame, for what goes on without a bound."""
  if side not in _SIDES:
    raise ValueError(f'side is {side!r}: give one of {", ".join(_SIDES)}.')
  at_frame = {'transform': axes.get_xaxis_transform(), 'clip_on': False, 'zorder': 4}
  up = side == 'above'
  axes.plot(x, float(up), '^' if up else 'v', color=colour, markersize=7, **at_frame)


def cross(axes: Axes, x: Number, colour: str, at: float = 0.04, look: str = 'x') -> None:
  """For what is undefined, at a height of the frame."""
  size = {'markersize': 6, 'markeredgewidth': 1.6, 'zorder': 4}
  axes.plot(x, at, look, color=colour, transform=axes.get_xaxis_transform(), **size)


def message(axes: Axes, title: str, text: str) -> None:
  """Empty axes that say why they are empty."""
  axes.set_title(title)
  axes.set(xticks=[], yticks=[])
  axes.spines[:].set_visible(False)
  words = textwrap.shorten(text, 230, placeholder=' …')
  wrapped = '\n'.join(textwrap.wrap(words, 46))
  look = {'ha': 'center', 'va': 'center', 'color': MUTED, 'transform': axes.transAxes}
  axes.text(0.5, 0.5, wrapped, **look)


def zero(axes: Axes) -> None:
  """A line at no difference."""
  axes.axhline(0, color='#b4bac7', linewidth=0.9, zorder=1)
