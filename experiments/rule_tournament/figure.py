"""Validation accuracy and loss by batch size, under each rule, with those of single conditions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsjax.report.figures.drawing import Drawing, draw
from bsjax.report.panels import marks, style

RULES = {
  'keep': ('kept', style.MUTED, 2**-0.12),
  'half_life': ('half-lives held', style.VALIDATION, 1),
  'adam_sqrt': ('square-root rule', style.BEST, 2**0.12),
}
TITLES = {'val_accuracy': 'Validation accuracy', 'val_loss': 'Validation loss, nats'}


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  rows = data['summary']['conditions']['table']
  panels = [[partial(_reached, key=key) for key in TITLES]]
  drawing = Drawing('rules', lambda _: panels, size=(8.2, 3.6))
  return {'rules.png': draw(drawing, rows)}


def _reached(axes: Axes, rows: list[Mapping[str, Any]], key: str) -> None:
  for rule, (label, colour, shift) in RULES.items():
    of_rule = [row for row in rows if row['condition'] == f'hyperparameters={rule}']
    marks.estimates(axes, of_rule, key, colour, shift=shift, label=label)
  sizes = sorted({row['batch_size'] for row in rows})
  style.batch_size_axis(axes, sizes, f'{TITLES[key]}, best rate')
  if key == 'val_accuracy':
    style.accuracy_axis(axes)
    axes.legend(loc='lower center')
