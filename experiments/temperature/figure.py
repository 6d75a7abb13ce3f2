"""Every setting's error, and the best and the smallest useful batch size by learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsjax.report.figures.drawing import themed
from bsjax.report.panels.style import BEST, INK, MUTED, PAPER, VALIDATION, log_axis

SIZE = 8.2, 4.6  # inches: small beside its letters, so that a phone shows them
LIGHT, DARKEST = 0.16, 0.25  # of validation error: below it dark letters are read, above failed


@themed
def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  result = data['result']
  figure = Figure(figsize=SIZE, layout='constrained')
  table, law = figure.subplots(1, 2, width_ratios=(1, 1.15))
  _errors(table, result)
  _law(law, result)
  return {'figure.png': figure}


def _errors(axes: Axes, result: Mapping[str, Any]) -> None:
  """Mean validation error at the end, in percent."""
  errors = np.array(result['budgets'][-1]['errors'])
  axes.imshow(np.clip(errors, None, DARKEST), origin='lower', cmap='viridis_r', aspect='auto')
  for (row, column), value in np.ndenumerate(errors):
    colour = INK if value < LIGHT else PAPER
    text = f'{100 * value:.1f}' if value < 0.1 else f'{100 * value:.0f}'
    axes.text(column, row, text, ha='center', va='center', size=8.5, color=colour)
  axes.set_xticks(range(errors.shape[1]), [f'{rate:.4g}' for rate in result['learning_rates']])
  axes.set_yticks(range(errors.shape[0]), list(map(str, result['batch_sizes'])))
  axes.set(xlabel='learning rate', ylabel='batch size', title='Validation error, %')
  axes.grid(visible=False)


def _law(axes: Axes, result: Mapping[str, Any]) -> None:
  """Best and smallest batch sizes at the end; faint, the best after the earlier budget."""
  rates = result['learning_rates']
  *earlier, last = result['budgets']
  series = [(budget['best'], f'best after {budget["epochs"]:.1f} epochs', MUTED, 0.92, 'o', 'none')
            for budget in earlier]  # fmt: skip
  series.append((last['best'], f'best after {last["epochs"]:.1f} epochs', VALIDATION, 1, 'o', ''))
  series.append((last['smallest_that_trains'], 'smallest that trains', BEST, 1.08, 's', ''))
  for rows, label, colour, shift, mark, face in series:
    _points(axes, [rate * shift for rate in rates], rows, label, colour, mark, face or colour)
  known = [(r, row['batch_size']) for r, row in zip(rates, last['best'], strict=True)
           if row['batch_size']]  # fmt: skip
  x = np.array([known[0][0], known[-1][0]])
  middle = np.exp(np.log(known).mean(axis=0))
  for exponent, dashes in ((1.0, '--'), (0.5, ':')):
    y = middle[1] * (x / middle[0]) ** exponent
    axes.plot(x, y, dashes, color=INK, linewidth=1, label=f'exponent {exponent:g}')
  log_axis(axes.xaxis, 'learning rate')
  log_axis(axes.yaxis, 'batch size')
  axes.set_xticks(rates, [f'{rate:.4g}' for rate in rates])
  axes.set_title('Best and smallest batch size')
  axes.legend(fontsize=8.5, loc='best')


def _points(
  axes: Axes,
  x: Sequence[float],
  rows: Sequence[Mapping[str, Any]],
  label: str,
  colour: str,
  mark: str,
  face: str,
) -> None:
  """Estimates with their intervals over trials (thick) and what the grid leaves open (thin)."""
  for at, row in zip(x, rows, strict=True):
    if row['batch_size']:
      axes.plot([at, at], row['bounds'], color=colour, linewidth=0.8)
      axes.plot([at, at], row['ci95'], color=colour, linewidth=3, alpha=0.5)
      axes.plot(at, row['batch_size'], mark, color=colour, markerfacecolor=face)
  axes.plot([], [], mark, color=colour, markerfacecolor=face, label=label)
