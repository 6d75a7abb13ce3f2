"""Figures of conditions and of stages; those of a plain study are in plots.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bsjax.analysis.claims.condition_contrasts import is_pooled
from bsjax.analysis.claims.conditions import Held
from bsjax.analysis.measures.gap import curves
from bsjax.analysis.runs.histories import Setting
from bsjax.format import number
from bsjax.report.figures.plots import batch_size_legend, themed
from bsjax.report.panels import conditions, stages, style
from bsjax.report.panels.style import Summary
from bsjax.report.text.condition_words import pooled

MOST_PAIRS = 8  # of which single batch sizes are drawn too
MOST_PANELS = 6


@themed
def forest(found: Mapping[str, Any]) -> Figure:
  """Differences in validation accuracy between conditions, at equal examples and equal updates."""
  clocks = [clock for clock in ('examples', 'updates') if pooled(found, clock=clock)]
  places = _forest_rows(found, 'examples')
  figure = Figure(figsize=(11, 1.5 + 0.32 * len(places)), layout='constrained')
  grid = figure.subplots(1, len(clocks), squeeze=False)[0]
  for axes, clock in zip(grid, clocks, strict=True):
    rows = {conditions.place(row): row for row in _forest_rows(found, clock)}
    title = f'Validation accuracy, equal {clock}'
    conditions.draw_forest(axes, places, rows, title, labels=clock == clocks[0])
  return figure


@themed
def condition_sizes(found: Mapping[str, Any]) -> Figure:
  """Validation accuracy and gap of every condition against batch size."""
  figure = Figure(figsize=(11, 4.2), layout='constrained')
  for axes, quantity in zip(figure.subplots(1, 2), ('val_accuracy', 'gap'), strict=True):
    conditions.draw_sizes(axes, found['table'], found['names'], quantity)
  _condition_legend(figure, found['names'])
  return figure


@themed
def condition_curves(held: Mapping[str, Held]) -> Figure:
  """Validation accuracy of every condition against examples seen, a panel for each batch size."""
  sizes = sorted({size for each in held.values() for size in each.chosen})
  if len(sizes) > MOST_PANELS:  # the smallest, the largest and some between
    step = (len(sizes) - 1) / (MOST_PANELS - 1)
    sizes = [sizes[round(step * i)] for i in range(MOST_PANELS)]
  columns = 2 if len(sizes) in (2, 4) else min(3, max(1, len(sizes)))
  lines = max(1, math.ceil(len(sizes) / columns))
  figure = Figure(figsize=(11, 0.8 + 3.1 * lines), layout='constrained')
  grid = list(figure.subplots(lines, columns, squeeze=False).flat)
  for axes, size in zip(grid, sizes, strict=False):
    conditions.draw_condition_curves(axes, held, size)
  for axes in grid[len(sizes) :]:
    axes.set_visible(False)
  _condition_legend(figure, list(held))
  return figure


@themed
def stage_curves(summary: Summary, chosen: Mapping[str, Mapping[int, Setting]]) -> Figure:
  """Accuracies against epochs by batch size with the ends of stages, a row for each branch."""
  figure = Figure(figsize=(11, 0.8 + 3.6 * len(chosen)), layout='constrained')
  grid = figure.subplots(len(chosen), 2, squeeze=False)
  for line, (branch, settings) in zip(grid, chosen.items(), strict=True):
    lines = curves(settings)['epochs']
    for axes, quantity in zip(line, ('val_accuracy', 'train_accuracy'), strict=True):
      title = stages.NAMES[quantity] + (f': {branch}' if branch else '')
      stages.draw_stage_curves(axes, summary, lines, quantity, title)
  batch_size_legend(figure, summary)
  return figure


@themed
def at_epochs(summary: Summary, rows: Sequence[Mapping[str, Any]], clock: str) -> Figure:
  """Accuracies and gap against batch size, a line of panels for each epoch of one branch.

  Where `clock` is 'updates' they are read at the updates of the largest batch size by that epoch.
  """
  again = any(
    'reestimated_val_accuracy' in size for row in rows for size in row['epochs']['batch_sizes']
  )
  figure = Figure(figsize=(11, 0.8 + 3.0 * len(rows)), layout='constrained')
  grid = figure.subplots(len(rows), 3 if again else 2, squeeze=False)
  for line, row in zip(grid, rows, strict=True):
    at = f'epoch {row["epoch"]:.4g}'
    if clock == 'updates':
      updates = row['updates'].get('value')
      at = f'{number(updates)} updates' if updates is not None else f'{at}, equal updates'
    stages.draw_accuracy_at(line[0], summary, row[clock], f'Accuracy, {at}', '')
    if again:
      title = f'The same re-estimated, {at}'
      stages.draw_accuracy_at(line[1], summary, row[clock], title, 'reestimated_')
    stages.draw_gap_at(line[-1], summary, row[clock], f'Gap, {at}')
  figure.legend(handles=_epoch_handles(again), loc='outside upper left', ncols=4)
  return figure


def _forest_rows(found: Mapping[str, Any], clock: str) -> list[Mapping[str, Any]]:
  """The pooled difference of each pair, and beneath it, of few pairs, those by batch size."""
  whole = pooled(found, clock=clock)
  rows = []
  for row in whole:
    rows.append(row)
    if len(whole) <= MOST_PAIRS:
      same = ('first', 'second', 'clock', 'quantity')
      rows += [
        each
        for each in found['contrasts']
        if not is_pooled(each) and all(each[key] == row[key] for key in same)
      ]
  return rows


def _condition_legend(figure: Figure, names: Sequence[str]) -> None:
  handles = [
    Line2D([], [], color=colour, linestyle=dashes, linewidth=3, label=name)
    for name, (colour, dashes) in conditions.look(names).items()
  ]
  figure.legend(handles=handles, loc='outside upper left', ncols=max(1, 110 // _widest(names)))


def _widest(names: Sequence[str]) -> int:
  return 6 + max(map(len, names), default=1)


def _epoch_handles(again: bool) -> list[Line2D]:
  dot = {'linestyle': '', 'marker': 'o'}
  handles = [
    Line2D([], [], color=style.VALIDATION, label='validation', **dot),
    Line2D([], [], color=style.TRAINING, label='training', **dot),
    Line2D([], [], color=style.INK, label='gap', **dot),
  ]
  if again:
    handles.append(Line2D([], [], color=style.BEST, label='gap, BatchNorm re-estimated', **dot))
  return handles
