"""The data of the interactive curves: every setting's runs along training, few enough for a page.

`templates/curves.js` draws them with uPlot, which is inlined like everything else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.runs.dropped import unknown
from bsjax.analysis.runs.histories import LaneHistory, Row, Setting, Tried
from bsjax.analysis.runs.selection import Chosen
from bsjax.config.metrics import judged

NUMBERS = 180_000  # of a page, at up to seven characters each: about a third of its 3 MB
FEWEST = 8  # points of a curve, however many there are
CLOCKS = {'epoch': 'epochs', 'updates': 'updates', 'examples': 'examples seen'}
LONG = 3  # records after the start: without more there is no curve


class Quantity(NamedTuple):
  """What curves show: its title, its unit once scaled, and how a record tells it, if it does."""

  title: str
  unit: str
  value: Callable[[Row], float | None]
  scale: float = 1.0


def quantities(loss_only: bool = False) -> list[Quantity]:
  """What curves may show of runs, by what they are judged; of a table of losses those alone."""
  metric, loss = judged().metric, judged().loss
  scale, unit = (100.0, '%') if metric.percent else (1.0, metric.unit)
  losses = [
    Quantity(title, loss.unit, lambda row, name=name: row.get(name))
    for name, title in (('train_loss', 'training loss'), ('val_loss', 'validation loss'))
  ]
  if loss_only:
    return losses[::-1]
  names = {
    judged().val: judged().val_title,
    judged().train: judged().train_title,
    judged().reestimated_val: f'{judged().val_title}, re-estimated',
  }
  return [
    *(Quantity(title, unit, lambda row, name=name: row.get(name), scale)
      for name, title in names.items()),
    *losses,
    Quantity('generalization gap', 'points' if metric.percent else unit, _gap, scale),
  ]  # fmt: skip


def _gap(row: Row) -> float | None:
  train, val = row.get(judged().train), row.get(judged().val)
  if train is None or val is None:
    return None
  return judged().metric.merit(train) - judged().metric.merit(val)


def data(
  studies: Mapping[str, tuple[Tried, Chosen]],
  quantities: Sequence[Quantity],
  clocks: Sequence[str],
  colours: Mapping[int, str],
  rates_known: bool = True,
) -> dict[str, Any] | None:
  """What the page's script draws, or None where no run has a curve.

  {'clocks': [[name, title]], 'quantities': [[title, unit]], 'studies': [{'name', 'best': {batch
  size: learning rate}, 'settings': [{'size', 'rate', 'trials', 'lost', 'x': [by clock], 'y': [by
  quantity: [mean, lowest, highest] over trials, or null]}]}], 'colours', 'points', 'of'}. Curves
  longer than the page has room for are thinned evenly, ends kept: 'points' of 'of' records.
  """
  of_studies = [
    (name, setting)
    for name, (tried, _) in studies.items()
    for settings in tried.values()
    for setting in settings
  ]
  longest = max((len(_records(lane)) for _, setting in of_studies for lane in setting.lanes),
                default=0)  # fmt: skip
  if longest <= LONG:
    return None
  lines = sum(1 if len(setting.lanes) < 2 else 3 for _, setting in of_studies) * len(quantities)
  points = min(longest, max(FEWEST, NUMBERS // (lines + len(of_studies) * len(clocks))))
  drawn: dict[str, list[dict[str, Any]]] = {name: [] for name in studies}
  for name, setting in of_studies:
    if curve := _curve(setting, quantities, clocks, points):
      drawn[name].append(curve if rates_known else curve | {'rate': None})
  return {
    'clocks': [[clock, CLOCKS[clock]] for clock in clocks],
    'quantities': _only_known(drawn, quantities),
    'studies': [
      {'name': name, 'best': _best(studies[name][1], rates_known), 'settings': curves}
      for name, curves in drawn.items()
      if curves
    ],
    'colours': dict(colours),
    'points': points,
    'of': longest,
  }


def _only_known(
  drawn: Mapping[str, list[dict[str, Any]]], quantities: Sequence[Quantity]
) -> list[list[str]]:
  """Takes out of all curves what none has a value of; returns the title and unit of the rest."""
  curves = [curve for of_study in drawn.values() for curve in of_study]
  known = [any(curve['y'][place] for curve in curves) for place in range(len(quantities))]
  for curve in curves:
    curve['y'] = list(itertools.compress(curve['y'], known))
  return [[quantity.title, quantity.unit] for quantity in itertools.compress(quantities, known)]


def _best(chosen: Chosen, rates_known: bool) -> dict[int, float | None]:
  return {size: tuned.learning_rate if rates_known else None for size, tuned in chosen.items()}


def _records(lane: LaneHistory) -> list[Row]:
  """The records after the start, up to where the run was lost."""
  rows = []
  for row in lane.planned_rows:
    if row['diverged']:
      break
    if row['updates']:
      rows.append(row)
  return rows


def _curve(
  setting: Setting, quantities: Sequence[Quantity], clocks: Sequence[str], points: int
) -> dict[str, Any] | None:
  """The mean, lowest and highest of the trials, as far as all that were not lost go."""
  lost = sum(lane.diverged for lane in setting.lanes)
  runs = [rows for lane in setting.lanes if not lane.diverged and (rows := _records(lane))]
  if not runs:
    return None
  end = min(rows[-1]['examples'] for rows in runs)
  grid = [row for row in runs[0] if row['examples'] <= end]
  places = np.unique(np.linspace(0, len(grid) - 1, min(points, len(grid))).round().astype(int))
  grid = [grid[place] for place in places]
  at = np.array([row['examples'] for row in grid], dtype=float)
  drawn = [_drawn(rows, {row['examples'] for row in grid}) for rows in runs]
  return {
    'size': setting.batch_size,
    'rate': setting.learning_rate,
    'trials': len(runs),
    'lost': lost,
    **({'dropped': True} if unknown(setting) else {}),
    'x': [_plain(np.array([row[clock] for row in grid], dtype=float)) for clock in clocks],
    'y': [_over_trials(runs, drawn, at, quantity) for quantity in quantities],
  }


def _drawn(rows: Sequence[Row], places: set[int]) -> Sequence[Row]:
  """The records at these places alone: of a thousand runs few are drawn."""
  return [row for row in rows if row['examples'] in places]


def _over_trials(
  runs: Sequence[Sequence[Row]],
  drawn: Sequence[Sequence[Row]],
  at: np.ndarray,
  quantity: Quantity,
) -> list[list[int | float | None]] | None:
  values = np.array([_read(*rows, at, quantity) for rows in zip(drawn, runs, strict=True)])
  if not np.isfinite(values).any():
    return None
  mean = _plain(values.mean(axis=0))
  return [mean] if len(runs) < 2 else [mean, _plain(values.min(axis=0)), _plain(values.max(axis=0))]


def _read(
  drawn: Sequence[Row], rows: Sequence[Row], at: np.ndarray, quantity: Quantity
) -> np.ndarray:
  """The values of a run there, between two of all of its records on the line through them."""
  known = _known(drawn, quantity)
  if len(known) < len(at):
    known = _known(rows, quantity)
  if not known:
    return np.full(len(at), math.nan)
  x, y = np.array(known, dtype=float).T
  return np.interp(at, x, y, left=math.nan, right=math.nan)


def _known(rows: Sequence[Row], quantity: Quantity) -> list[tuple[int, float]]:
  values = [quantity.value(row) for row in rows]
  return [
    (row['examples'], value * quantity.scale)
    for row, value in zip(rows, values, strict=True)
    if value is not None and math.isfinite(value)
  ]


def _plain(values: np.ndarray) -> list[int | float | None]:
  """Five significant digits: more than a pixel shows."""
  return [
    None
    if not math.isfinite(value)
    else int(value)
    if value.is_integer()
    else float(f'{value:.5g}')
    for value in values.tolist()
  ]
