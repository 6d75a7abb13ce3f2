"""The largest eigenvalue against batch size at the end and at equal loss, and along training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bsjax.report.figures.drawing import themed
from bsjax.report.panels.style import (
  BEST,
  GRID,
  INK,
  MUTED,
  VALIDATION,
  batch_size_axis,
  limits,
  log_axis,
)

SIZE = 8.2, 8.0  # inches: small beside its letters, so that a phone shows them
MARKS = 'o', 's', '^', 'D', 'v'
NAMES = {'lambda_max': 'largest eigenvalue', 'trace': 'trace', 'sam': 'SAM'}


@themed
def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  result = data['result']
  figure = Figure(figsize=SIZE, layout='constrained')
  (end, level), (along, slopes) = figure.subplots(2, 2)
  ends = result['settings']['end']
  rates = sorted({row['learning_rate'] for row in ends})
  sizes = sorted({row['batch_size'] for row in ends})
  middle = f'{result["levels"][len(result["levels"]) // 2]:g}'
  levelled = result['settings'][middle]
  bounds = limits(row['lambda_max'] for row in [*ends, *levelled])
  for axes, rows, title in ((end, ends, 'the end'), (level, levelled, f'training loss {middle}')):
    _against_size(axes, rows, rates, sizes, f'At {title}')
    log_axis(axes.yaxis, 'largest eigenvalue', bounds)
  end.legend(fontsize=8.5)
  _along(along, result['paths'], rates, sizes)
  _slopes(slopes, result)
  return {'figure.png': figure}


def _against_size(
  axes: Axes,
  rows: Sequence[Mapping[str, Any]],
  rates: Sequence[float],
  sizes: Sequence[int],
  title: str,
) -> None:
  for rate, mark in zip(rates, MARKS, strict=False):
    here = [row for row in rows if row['learning_rate'] == rate]
    values = [row['lambda_max'] for row in here]
    line = axes.plot([row['batch_size'] for row in here], values, mark + '-', linewidth=1)
    line[0].set(color=_shade(rates.index(rate), len(rates)), label=f'learning rate {rate:g}')
  batch_size_axis(axes, sizes, title)


def _along(
  axes: Axes,
  paths: Sequence[Mapping[str, Any]],
  rates: Sequence[float],
  sizes: Sequence[int],
) -> None:
  """Every setting's way through loss and sharpness, by batch size; marks are learning rates."""
  for path in paths:
    loss, sharpness = np.array(path['loss_and_lambda_max']).T
    colour = _shade(sizes.index(path['batch_size']), len(sizes))
    mark = MARKS[rates.index(path['learning_rate'])]
    axes.plot(loss, sharpness, mark + '-', color=colour, linewidth=0.9, markersize=3.5)
  for number, size in enumerate(sizes):
    axes.plot([], [], color=_shade(number, len(sizes)), linewidth=2, label=f'batch size {size}')
  log_axis(axes.xaxis, 'training loss')
  log_axis(axes.yaxis, 'largest eigenvalue')
  axes.invert_xaxis()
  axes.set_title('Along training')
  axes.legend(fontsize=8.5)


def _slopes(axes: Axes, result: Mapping[str, Any]) -> None:
  """The exponents at equal learning rate, with the margin of "does not depend on it"."""
  rows = [row for row in result['comparisons'] if row['equal'] == 'learning rate']
  axes.axhspan(-result['margin'], result['margin'], color=GRID)
  for number, (name, colour) in enumerate(zip(NAMES, (VALIDATION, BEST, MUTED), strict=True)):
    for place, row in enumerate(rows):
      if row[name]:
        at = place + 0.2 * (number - 1)
        axes.plot([at, at], row[name]['ci95'], color=colour, linewidth=3, alpha=0.5)
        axes.plot(at, row[name]['slope'], MARKS[number], color=colour)
    axes.plot([], [], MARKS[number], color=colour, label=NAMES[name])
  axes.axhline(1, color=INK, linewidth=1, linestyle='--')
  labels = ['the end' if row['at'] == 'end' else f'loss {row["at"]}' for row in rows]
  axes.set_xticks(range(len(rows)), labels)
  axes.set(title='Exponent in the batch size', ylabel='at equal learning rate')
  axes.legend(fontsize=8.5)


def _shade(place: int, count: int) -> str:
  return to_hex(matplotlib.colormaps['plasma'](0.8 * place / max(count - 1, 1)))
