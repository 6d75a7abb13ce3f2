"""What batch sizes cost run alone: examples a second, and the memory of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from bsjax.analysis.runs.histories import Row
from bsjax.report.panels import style
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, VALIDATION

Cost = Mapping[str, Any]
MIB = 2**20
TINTS = VALIDATION, INK, BEST, MUTED  # of stages


def draw_throughput(axes: Axes, cost: Cost) -> None:
  """The median of repetitions with their range; hollow where micro-batches had to be gathered."""
  rates = [rate for row in cost['rows'] if (rate := _rate(row))]
  if not rates:
    style.message(axes, 'Examples a second', 'No batch size was run.')
    return
  ends = [rate[end] for rate in rates for end in ('low', 'high')]
  style.log_axis(axes.yaxis, '', style.limits([rate['median'] for rate in rates], ends))
  for tint, (label, rows) in zip(TINTS * len(cost['rows']), _stages(cost).items(), strict=False):
    run = [row for row in rows if _rate(row)]
    points = [row['batch_size'] for row in run], [_rate(row)['median'] for row in run]
    axes.plot(*points, color=tint, linewidth=1.6, label=label)
    for x, row, y in zip(points[0], run, points[1], strict=True):
      style.interval(axes, x, [_rate(row)['low'], _rate(row)['high']], tint)
      _dot(axes, x, y, tint, whole=bool(row['examples_per_second']))
  _finish(axes, cost, 'Examples a second')


def draw_memory(axes: Axes, cost: Cost) -> None:
  """The bytes of a step on the whole batch, run or not, and what the device has."""
  known = [row for row in cost['rows'] if row['memory_bytes']]
  if not known:
    style.message(axes, 'Memory of a step', 'No step could be compiled.')
    return
  totals = [row['memory_bytes']['total'] / MIB for row in known]
  limit = cost['device_memory_gib']
  bound = None if limit is None else limit * 1024
  style.log_axis(axes.yaxis, 'MiB', style.limits(totals, [] if bound is None else [bound]))
  for tint, (label, rows) in zip(TINTS * len(cost['rows']), _stages(cost).items(), strict=False):
    own = [row for row in rows if row['memory_bytes']]
    points = [(row['batch_size'], row['memory_bytes']['total'] / MIB) for row in own]
    axes.plot(*zip(*points, strict=True), color=tint, linewidth=1.6, label=label)
    for (x, y), row in zip(points, own, strict=True):
      _dot(axes, x, y, tint, whole=bool(row['fits']))
  if bound is not None and axes.get_ylim()[0] < bound < axes.get_ylim()[1]:
    axes.axhline(bound, color=MUTED, linestyle='--', linewidth=1.2)
    where = {'transform': axes.get_yaxis_transform(), 'color': MUTED, 'fontsize': 9}
    axes.text(0.01, bound, f'there are {limit:.3g} GiB', va='bottom', **where)
  _finish(axes, cost, 'Memory of a step')


def _rate(row: Row) -> Mapping[str, float] | None:
  """Examples a second of the whole batch, or gathered as suggested."""
  return row['examples_per_second'] or (row['suggestion'] or {}).get('examples_per_second')


def _stages(cost: Cost) -> dict[str, list[Row]]:
  found: dict[str, list[Row]] = {}
  for row in sorted(cost['rows'], key=lambda row: row['batch_size']):
    found.setdefault(row['stage'], []).append(row)
  return found


def _dot(axes: Axes, x: int, y: float, tint: str, whole: bool) -> None:
  face = {'markerfacecolor': tint if whole else PAPER, 'markeredgecolor': PAPER if whole else tint}
  axes.plot(x, y, 'o', markersize=8, zorder=4, **face)


def _finish(axes: Axes, cost: Cost, title: str) -> None:
  sizes = sorted({row['batch_size'] for row in cost['rows']})
  axes.set_xscale('log', base=2)
  axes.set_xlim(min(sizes) / 2**0.5, max(sizes) * 2**0.5)
  axes.set_xticks(sizes, [str(size) for size in sizes])
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set(title=title, xlabel='batch size')
  if len(_stages(cost)) > 1:
    axes.legend(loc='best', fontsize=9)
