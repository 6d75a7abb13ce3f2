"""The noise scale along training, by examples and by updates, and the ratios that are judged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from bsjax.report.figures.drawing import themed
from bsjax.report.panels.style import BEST, GRID, INK, PAPER, VALIDATION, examples_seen, log_axis

SIZE = 8.2, 7.6  # inches: small beside its letters, so that a phone shows them
COLOURS = VALIDATION, BEST
EXAMPLES, UPDATES, SINGLE, OWN = range(4)  # places in result['along']


@themed
def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  result = data['result']
  figure = Figure(figsize=SIZE, layout='constrained')
  panels = figure.subplot_mosaic([['examples', 'updates'], ['ratios', 'ratios']],
                                 height_ratios=(1.35, 1))  # fmt: skip
  _along(panels['examples'], result, EXAMPLES)
  _along(panels['updates'], result, UPDATES)
  first, last = result['at_equal_updates']['updates']
  panels['updates'].axvspan(first, last, color=GRID)
  panels['updates'].set_xlim(0, 1.15 * last)
  panels['examples'].legend(fontsize=8.5)
  panels['examples'].set_title('Along training')
  examples_seen(panels['examples'])
  panels['updates'].set(xlabel='updates', title='The same by updates')
  _ratios(panels['ratios'], result)
  return {'figure.png': figure}


def _along(axes: Axes, result: Mapping[str, Any], clock: int) -> None:
  """Single examples at their records, own batches in the middle between two of them."""
  for (size, rows), colour in zip(result['along'].items(), COLOURS, strict=True):
    look = {'color': colour, 'markersize': 3.5, 'linewidth': 1}
    single = [(row[clock], row[SINGLE]) for row in rows if row[SINGLE]]
    axes.plot(*zip(*single, strict=True), 'o-', label=f'{size}, single examples', **look)
    own = [
      ((before[clock] + row[clock]) / 2, row[OWN])
      for before, row in itertools.pairwise(rows)
      if row[OWN]
    ]
    look |= {'markerfacecolor': PAPER, 'label': f'{size}, own batches'}
    axes.plot(*zip(*own, strict=True), 's:', **look)
  log_axis(axes.yaxis, 'noise scale, examples')


def _ratios(axes: Axes, result: Mapping[str, Any]) -> None:
  """All ratios with their intervals, and the margin within which they count as equal."""
  agreement, equal = result['agreement'], result['at_equal_updates']
  rows = [
    ('own batches /\nsingle examples', agreement['all']),
    *((f'batch size {size}', agreement[size]) for size in result['along']),
  ]
  small, large = equal['batch_sizes']
  rows += [
    (f'{large} / {small} at\nequal updates', equal['exact']),
    ('by own batches', equal['own']),
  ]
  axes.axvspan(1 / result['margin'], result['margin'], color=GRID)
  axes.axvline(1, color=INK, linewidth=1, linestyle='--')
  for place, (_, row) in enumerate(rows):
    if row['factor']:
      axes.plot(row['ci95'], [place, place], color=VALIDATION, linewidth=3, alpha=0.5)
      axes.plot(row['factor'], place, 'o', color=VALIDATION)
  axes.set_yticks(range(len(rows)), [label for label, _ in rows])
  axes.invert_yaxis()
  axes.set_xscale('log')
  axes.xaxis.set_major_locator(FixedLocator([0.5, 0.67, 0.8, 1, 1.25, 1.5, 2]))
  axes.xaxis.set_major_formatter('{x:g}')
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set(xlim=(0.45, 2.2), title='Ratios of noise scales; grey counts as equal')
  axes.grid(visible=False)
