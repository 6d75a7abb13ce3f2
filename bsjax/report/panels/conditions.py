"""Conditions beside each other: their differences, and what each reached and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.analysis.claims.condition_contrasts import POOLED, is_pooled
from bsjax.analysis.claims.conditions import Held
from bsjax.analysis.measures.gap import curve
from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.style import BEST, INK, MUTED
from bsjax.report.text.condition_words import pooled
from bsjax.report.text.formats import nouns

# Told apart also by those who see few colours; conditions beyond take them again, dashed.
COLOURS = ('#1f5fbf', '#e8871e', '#1b8a5a', '#b3368f', '#7a5c3e', '#4aa3c7', '#c23b3b', '#6d7685')
VERDICTS = {'supported': '#1b8a5a', 'refuted': '#c23b3b', 'undetermined': '#7d8798'}
MOST_PAIRS = 8  # of which single batch sizes are drawn too
_LONGEST = 34  # characters of a label before it is cut

Place = tuple[str, str, int | str]


@dataclass(frozen=True)
class Conditions:
  """What figures of conditions are drawn from: their part of the summary, and their runs."""

  compared: Mapping[str, Any]
  held: Mapping[str, Held] = field(default_factory=dict)

  @property
  def looks(self) -> dict[str, tuple[str, str]]:
    """condition -> colour and line style."""
    return looks(self.compared['names'])

  @property
  def clocks(self) -> list[str]:
    """The clocks at which validation accuracy is compared."""
    return [clock for clock in ('examples', 'updates') if pooled(self.compared, clock=clock)]

  def contrasts(self, clock: str) -> list[Row]:
    """The pooled difference of each pair, and beneath it, of few pairs, those by batch size."""
    whole, rows = pooled(self.compared, clock=clock), []
    for row in whole:
      rows.append(row)
      if len(whole) <= MOST_PAIRS:
        same = ('first', 'second', 'clock', 'quantity')
        rows += [
          single
          for single in self.compared['contrasts']
          if not is_pooled(single) and all(single[key] == row[key] for key in same)
        ]
    return rows


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
  """condition -> colour and line style."""
  count = len(COLOURS)
  return {
    name: (COLOURS[i % count], ('-', '--', ':')[i // count % 3]) for i, name in enumerate(names)
  }


def legend(source: Conditions) -> dict[str, Any]:
  """The colours and line styles of the conditions."""
  widest = 6 + max(map(len, source.looks), default=1)
  handles = [
    Line2D([], [], color=colour, linestyle=dashes, linewidth=3, label=name)
    for name, (colour, dashes) in source.looks.items()
  ]
  return {'handles': handles, 'ncols': max(1, 110 // widest)}


def draw_forest(axes: Axes, source: Conditions, clock: str) -> None:
  """Differences with their intervals, one line per contrast; a diamond where re-estimated.

  Pooled ones are large, those of a batch size small; the margin of no difference is shaded. Lines
  are the same at every clock, and have labels at the first.
  """
  places = source.contrasts('examples')
  rows = {_place(row): row for row in source.contrasts(clock)}
  margins = [row['equivalent']['margin'] for row in rows.values() if row['equivalent']]
  if margins:
    axes.axvspan(-margins[0], margins[0], color=style.GRID, alpha=0.75, zorder=0, linewidth=0)
  axes.axvline(0, color='#9aa3b2', linewidth=1, zorder=1)
  for y, at in enumerate(map(_place, places)):
    if at in rows and rows[at]['effect'] is not None:
      _effect(axes, y, rows[at])
    else:
      why = ' not compared' if at in rows or at[2] == POOLED else ''
      axes.text(0, y, why, color=MUTED, fontsize=8.5, va='center')
  axes.set_ylim(len(places) - 0.4, -0.6)
  first = clock == source.clocks[0]
  axes.set_yticks(range(len(places)), [_label(row) if first else '' for row in places])
  for tick, row in zip(axes.get_yticklabels(), places, strict=True):
    tick.set(color=INK if is_pooled(row) else MUTED, fontsize=8.5)
  axes.grid(axis='x')
  axes.grid(visible=False, axis='y')
  axes.spines['left'].set_visible(False)
  axes.set_xlim(_bounds(list(rows.values()), margins))
  axes.set_title(f'{judged().val_title.capitalize()}, equal {clock}')
  style.difference_axis(axes.xaxis)
  axes.set_xlabel(judged().of_points.strip())


def draw_sizes(axes: Axes, source: Conditions, quantity: str) -> None:
  """A quantity at the end of training against batch size, one line per condition."""
  table, count = source.compared['table'], len(source.looks)
  for number, (name, (colour, dashes)) in enumerate(source.looks.items()):
    shift = 2 ** (0.12 * (number - (count - 1) / 2) / max(1, count / 3))
    rows = [row for row in table if row['condition'] == name]
    marks.estimates(axes, rows, quantity, colour, shift=shift, dashes=dashes)
  sizes = sorted({row['batch_size'] for row in table})
  style.batch_size_axis(axes, sizes, nouns()[quantity].capitalize())
  if quantity == 'gap':
    style.points_axis(axes)
    marks.zero(axes)
  else:
    style.accuracy_axis(axes)


def draw_condition_curves(axes: Axes, source: Conditions, size: int) -> None:
  """Validation accuracy of every condition at one batch size against the examples seen."""
  heights: list[float] = []
  for number, (name, (colour, dashes)) in enumerate(source.looks.items()):
    if size in source.held[name].chosen:
      along = curve(source.held[name].chosen[size], 'examples', judged().val)
      end = along.x[-1] * (1.015 + 0.015 * number) if along.x else 0
      marks.curve(axes, along, colour, dashes, end)
      heights += along.mean[len(along.mean) // 4 :]
  style.examples_seen(axes)
  axes.set_title(f'Batch size {size}')
  style.percent_axis(axes)
  style.later_part(axes, heights, 0.3, style.most())


def _place(row: Row) -> Place:
  """What a contrast compares: both conditions, and the batch size or all of them."""
  return row['first'], row['second'], row['batch_size']


def _bounds(rows: Sequence[Row], margins: Sequence[float]) -> tuple[float, float]:
  """Limits around all effects and the pooled intervals: wide ones of single sizes are cut off."""
  effects = [row['effect'] for row in rows if row['effect'] is not None]
  whole = [end for row in rows if is_pooled(row) for end in row['ci95'] if end is not None]
  ends = [0.0, *effects, *whole, *margins, *(-margin for margin in margins)]
  room = 0.12 * (max(ends) - min(ends)) or 0.01
  return min(ends) - room, max(ends) + room


def _effect(axes: Axes, y: int, row: Row) -> None:
  whole, colour = is_pooled(row), VERDICTS[row['verdict']]
  marks.bar(axes, y, row['ci95'], colour, lying=True, linewidth=3 if whole else 1.8)
  axes.plot(row['effect'], y, 'o', color=colour, markersize=8 if whole else 5, zorder=3)
  if again := row['reestimated']:
    marks.bar(axes, y + 0.27, again['ci95'], BEST, lying=True, linewidth=1.4)
    axes.plot(again['effect'], y + 0.27, 'D', color=BEST, markersize=4, zorder=3)


def _label(row: Row) -> str:
  if not is_pooled(row):
    return f'batch size {row["batch_size"]}'
  return f'{_cut(row["second"])} − {_cut(row["first"])}'


def _cut(name: str) -> str:
  return name if len(name) <= _LONGEST else f'{name[: _LONGEST - 1]}…'
