"""Differences between all ways to end, at equal examples and at equal updates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsjax.report.figures.comparisons import FOREST
from bsjax.report.figures.drawing import draw
from bsjax.report.panels.conditions import Conditions

ARMS = {'train_all': 'all', 'freeze_early': 'frozen'}
BRANCHES = {'last=keep': '64', 'last=multiply:0.25': '16', 'last=multiply:4': '256'}


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  compared = data['summary']['conditions']
  short = {
    f'{arm} / {branch}': f'{size} {trained}'
    for arm, trained in ARMS.items()
    for branch, size in BRANCHES.items()
  }
  contrasts = [
    row | {'first': short[row['first']], 'second': short[row['second']]}
    for row in compared['contrasts']
    if row['batch_size'] == 'pooled'  # all begin with one batch size
  ]
  named = compared | {'names': [short[name] for name in compared['names']], 'contrasts': contrasts}
  drawing = dataclasses.replace(FOREST, size=(7, 5.6), finish=_titles)
  return {'differences.png': draw(drawing, Conditions(named))}


def _titles(drawn: Sequence[Axes]) -> None:
  """Shorter ones, for narrow panels."""
  for axes, clock in zip(drawn, ('examples', 'updates'), strict=True):
    axes.set_title(f'At equal {clock}')


def data_of(workdir: Path) -> dict[str, Any]:
  """What batch sizes cost alone, of both arms."""
  return {
    f'native_cost_{arm}.json': json.loads((workdir / 'arms' / arm / 'native_cost.json').read_text())
    for arm in ARMS
  }
