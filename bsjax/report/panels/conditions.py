"""Conditions beside each other: their differences, and what each reached and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bsjax.analysis.claims.condition_contrasts import POOLED, is_pooled
from bsjax.analysis.claims.conditions import Held
from bsjax.analysis.measures.gap import curve
from bsjax.analysis.runs.histories import Row
from bsjax.report.panels import style
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER

# Told apart also by those who see few colours; conditions beyond take them again, dashed.
COLOURS = ('#1f5fbf', '#e8871e', '#1b8a5a', '#b3368f', '#7a5c3e', '#4aa3c7', '#c23b3b', '#6d7685')
VERDICTS = {'supported': '#1b8a5a', 'refuted': '#c23b3b', 'undetermined': '#7d8798'}
_NAMES = {'val_accuracy': 'Validation accuracy', 'gap': 'Generalization gap'}
_LONGEST = 34  # characters of a label before it is cut

Place = tuple[str, str, int | str]


def look(names: Sequence[str]) -> dict[str, tuple[str, str]]:
  """condition -> colour and line style."""
  count = len(COLOURS)
  return {
    name: (COLOURS[i % count], ('-', '--', ':')[i // count % 3]) for i, name in enumerate(names)
  }


def draw_forest(
  axes: Axes, places: Sequence[Row], rows: Mapping[Place, Row], title: str, labels: bool
) -> None:
  """Differences with their intervals, a line for each place; a diamond where re-estimated.

  `places` are rows that say what is compared, from the top; `rows` those drawn, by `place`. Pooled
  ones are large, those of a batch size small; the margin of no difference is shaded.
  """
  margins = [row['equivalent']['margin'] for row in rows.values() if row['equivalent']]
  if margins:
    axes.axvspan(-margins[0], margins[0], color=style.GRID, alpha=0.75, zorder=0, linewidth=0)
  axes.axvline(0, color='#9aa3b2', linewidth=1, zorder=1)
  for y, at in enumerate(map(place, places)):
    if at in rows and rows[at]['effect'] is not None:
      _effect(axes, y, rows[at])
    else:
      why = ' not compared' if at in rows or at[2] == POOLED else ''
      axes.text(0, y, why, color=MUTED, fontsize=8.5, va='center')
  axes.set_ylim(len(places) - 0.4, -0.6)
  axes.set_yticks(
    range(len(places)), [_label(row) for row in places] if labels else [''] * len(places)
  )
  for tick, row in zip(axes.get_yticklabels(), places, strict=True):
    tick.set(color=INK if is_pooled(row) else MUTED, fontsize=8.5)
  axes.grid(axis='x')
  axes.grid(visible=False, axis='y')
  axes.spines['left'].set_visible(False)
  axes.set_xlim(_bounds(list(rows.values()), margins))
  axes.set_title(title)
  axes.xaxis.set_major_formatter(lambda x, _: f'{100 * x:+.3g}' if x else '0')
  axes.set_xlabel('percentage points')


def place(row: Row) -> Place:
  """What a contrast compares: both conditions, and the batch size or all of them."""
  return row['first'], row['second'], row['batch_size']


def draw_sizes(axes: Axes, rows: Sequence[Row], names: Sequence[str], quantity: str) -> None:
  """A quantity at the end of training against batch size, a line for each condition."""
  sizes = sorted({row['batch_size'] for row in rows})
  for number, (name, (colour, dashes)) in enumerate(look(names).items()):
    known = [
      row
      for row in rows
      if row['condition'] == name and quantity in row and row[quantity]['mean'] is not None
    ]
    shift = 2 ** (0.12 * (number - (len(names) - 1) / 2) / max(1, len(names) / 3))
    x, means = (
      [row['batch_size'] * shift for row in known],
      [row[quantity]['mean'] for row in known],
    )
    axes.plot(x, means, color=colour, linestyle=dashes, linewidth=1.3, alpha=0.7)
    axes.plot(x, means, 'o', color=colour, markersize=6.5, markeredgecolor=PAPER, zorder=3)
    for at, row in zip(x, known, strict=True):
      if row[quantity]['ci95'][0] is not None:
        axes.plot([at, at], row[quantity]['ci95'], color=colour, linewidth=2.2, alpha=0.5)
  style.batch_size_axis(
    axes, {'batch_sizes': [{'batch_size': size} for size in sizes]}, _NAMES[quantity]
  )
  if quantity == 'gap':
    style.points_axis(axes)
    axes.axhline(0, color='#b4bac7', linewidth=0.9, zorder=1)
  else:
    style.percent_axis(axes)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.005))


def draw_condition_curves(axes: Axes, held: Mapping[str, Held], size: int) -> None:
  """Validation accuracy of every condition at one batch size against the examples seen."""
  heights: list[float] = []
  for number, (name, (colour, dashes)) in enumerate(look(list(held)).items()):
    if size not in held[name].chosen:
      continue
    setting = held[name].chosen[size]
    found = curve(setting, 'examples', 'val_accuracy')
    axes.plot(found.x, found.mean, color=colour, linestyle=dashes, linewidth=1.8)
    heights += found.mean[len(found.mean) // 4 :]
    if found.x:
      end = found.x[-1] * (1.015 + 0.015 * number)
      axes.plot([end, end], [found.low[-1], found.high[-1]], color=colour, linewidth=2.2, alpha=0.6)
  style.examples_seen(axes)
  axes.set_title(f'Batch size {size}')
  style.percent_axis(axes)
  if heights:
    margin = 0.3 * (max(heights) - min(heights)) or 0.01
    axes.set_ylim(min(heights) - margin, min(max(heights) + margin, 1.005))


def _bounds(rows: Sequence[Row], margins: Sequence[float]) -> tuple[float, float]:
  """Limits around all effects and the pooled intervals: wide ones of single sizes are cut off."""
  effects = [row['effect'] for row in rows if row['effect'] is not None]
  whole = [end for row in rows if is_pooled(row) for end in row['ci95'] if end is not None]
  ends = [0.0, *effects, *whole, *margins, *(-margin for margin in margins)]
  room = 0.12 * (max(ends) - min(ends)) or 0.01
  return min(ends) - room, max(ends) + room


def _effect(axes: Axes, y: int, row: Row) -> None:
  whole = is_pooled(row)
  colour = VERDICTS[row['verdict']]
  if row['ci95'][0] is not None:
    axes.plot(row['ci95'], [y, y], color=colour, linewidth=3 if whole else 1.8, alpha=0.55)
  axes.plot(row['effect'], y, 'o', color=colour, markersize=8 if whole else 5, zorder=3)
  if row['reestimated']:
    again, at = row['reestimated'], y + 0.27
    if again['ci95'][0] is not None:
      axes.plot(again['ci95'], [at, at], color=BEST, linewidth=1.4, alpha=0.6)
    axes.plot(again['effect'], at, 'D', color=BEST, markersize=4, zorder=3)


def _label(row: Row) -> str:
  if not is_pooled(row):
    return f'batch size {row["batch_size"]}'
  return f'{_cut(row["second"])} − {_cut(row["first"])}'


def _cut(name: str) -> str:
  return name if len(name) <= _LONGEST else f'{name[: _LONGEST - 1]}…'
