"""What batch sizes cost run alone: examples per second, and the memory of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.axes import Axes

from bsjax.analysis.runs.histories import Row
from bsjax.format import MIB
from bsjax.report.panels import marks, style
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, VALIDATION

Cost = Mapping[str, Any]
TINTS = VALIDATION, INK, BEST, MUTED  # of stages


def draw_throughput(axes: Axes, source: Source) -> None:
  """The median of repetitions with their range; hollow where micro-batches had to be gathered."""
  cost = source.native_cost
  rates = [rate for row in cost['rows'] if (rate := _rate(row))]
  if not rates:
    marks.message(axes, 'Examples a second', 'No batch size was run.')
    return
  ends = [rate[end] for rate in rates for end in ('low', 'high')]
  style.log_axis(axes.yaxis, '', style.limits([rate['median'] for rate in rates], ends))
  _draw_stages(axes, cost, _rate, 'median', 'examples_per_second')
  _finish(axes, cost, 'Examples a second')


def draw_memory(axes: Axes, source: Source) -> None:
  """The bytes of a step on the whole batch, run or not, and what the device has."""
  cost = source.native_cost
  totals = [memory['MiB'] for row in cost['rows'] if (memory := _memory(row))]
  if not totals:
    marks.message(axes, 'Memory of a step', 'No step could be compiled.')
    return
  limit = cost['device_memory_gib']
  bound = None if limit is None else limit * 1024
  style.log_axis(axes.yaxis, 'MiB', style.limits(totals, [] if bound is None else [bound]))
  _draw_stages(axes, cost, _memory, 'MiB', 'fits')
  if bound is not None and axes.get_ylim()[0] < bound < axes.get_ylim()[1]:
    axes.axhline(bound, color=MUTED, linestyle='--', linewidth=1.2)
    where = {'transform': axes.get_yaxis_transform(), 'color': MUTED, 'fontsize': 9}
    axes.text(0.01, bound, f'there are {limit:.3g} GiB', va='bottom', **where)
  _finish(axes, cost, 'Memory of a step')


def _rate(row: Row) -> Mapping[str, float] | None:
  """Examples per second of the whole batch, or gathered as suggested."""
  return row['examples_per_second'] or (row['suggestion'] or {}).get('examples_per_second')


def _memory(row: Row) -> Mapping[str, float] | None:
  return row['memory_bytes'] and {'MiB': row['memory_bytes']['total'] / MIB}


def _draw_stages(
  axes: Axes, cost: Cost, measure: Callable[[Row], Any], key: str, whole: str
) -> None:
  """One line per stage; hollow are batch sizes without the column `whole`."""
  stages = _stages(cost).items()
  for tint, (label, rows) in zip(TINTS * len(cost['rows']), stages, strict=False):
    known = [(row, measured) for row in rows if (measured := measure(row))]
    x, y = [row['batch_size'] for row, _ in known], [measured[key] for _, measured in known]
    axes.plot(x, y, color=tint, linewidth=1.6, label=label)
    for at, value, (row, measured) in zip(x, y, known, strict=True):
      face, edge = (tint, PAPER) if row[whole] else (PAPER, tint)
      ends = measured.get('low'), measured.get('high')
      look = {'markerfacecolor': face, 'markeredgecolor': edge}
      marks.estimate(axes, at, value, ends, tint, **look)


def _stages(cost: Cost) -> dict[str, list[Row]]:
  stages: dict[str, list[Row]] = {}
  for row in sorted(cost['rows'], key=lambda row: row['batch_size']):
    stages.setdefault(row['stage'], []).append(row)
  return stages


def _finish(axes: Axes, cost: Cost, title: str) -> None:
  style.batch_size_axis(axes, sorted({row['batch_size'] for row in cost['rows']}), title)
  if len(_stages(cost)) > 1:
    axes.legend(loc='best', fontsize=9)
