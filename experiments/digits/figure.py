"""The overview: what each batch size reached, all learning rates, curves, noise scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsjax.analysis.runs import histories
from bsjax.analysis.runs.histories import LaneHistory
from bsjax.analysis.runs.selection import select
from bsjax.config.metrics import judged
from bsjax.report import stored_study
from bsjax.report.figures.drawing import draw
from bsjax.report.figures.study import OVERVIEW
from bsjax.report.panels import marks
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import VALIDATION, accuracy_axis, batch_size_axis

VAL, VAL_TITLE = judged().val, judged().val_title

SIZE = 8.2, 8.2  # inches: small beside its letters, so that a phone shows them
PLAN = 'lane', 'batch_size', 'learning_rate', 'trial', 'examples', 'epochs'
ROW = 'lane', 'examples', 'epoch', 'updates', 'learning_rate_sum', 'diverged'
MEASURED = 'val_accuracy', 'train_accuracy', 'val_loss', 'train_loss'


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  runs = data['runs']
  plan = [dict(zip(runs['plan_columns'], row, strict=True)) for row in runs['plan']]
  rows = [dict(zip(runs['row_columns'], row, strict=True)) for row in runs['rows']]
  source = Source(data['summary'], histories.settings(plan, rows))
  _, *others = OVERVIEW.panels(source)[0]
  drawing = dataclasses.replace(
    OVERVIEW, size=SIZE, panels=lambda _: [[_accuracy, *others], *OVERVIEW.panels(source)[1:]]
  )
  return {'overview.png': draw(drawing, source)}


def data_of(workdir: Path) -> dict[str, Any]:
  """runs.json: the end of every lane, and the whole course of those whose curves are drawn."""
  study = stored_study.load(workdir)
  settings = histories.settings(study.plan, study.rows)
  drawn = {lane.plan['lane'] for tuned in select(settings).chosen.values() for lane in tuned.lanes}
  lanes = [lane for tried in settings.values() for each in tried for lane in each.lanes]
  rows = [row for lane in lanes for row in _kept(lane, lane.plan['lane'] in drawn)]
  return {
    'runs.json': {
      'plan_columns': PLAN,
      'plan': [[lane.plan[name] for name in PLAN] for lane in lanes],
      'row_columns': ROW + MEASURED,
      'rows': [
        [*(row[name] for name in ROW), *(_short(row[name]) for name in MEASURED)] for row in rows
      ],
    }
  }


def _accuracy(axes: Axes, source: Source) -> None:
  """Validation accuracy alone: all lanes fit the training digits."""
  for size, reading in source.ends.items():
    marks.trials(axes, size, reading.values[VAL].tolist(), VALIDATION)
  marks.estimates(axes, source.summary['batch_sizes'], VAL, VALIDATION)
  batch_size_axis(axes, source.sizes, f'{VAL_TITLE.capitalize()}, best rate')
  accuracy_axis(axes)


def _kept(lane: LaneHistory, whole: bool) -> list[histories.Row]:
  return list(lane.rows) if whole or lane.final is None else [lane.final]


def _short(value: float | None) -> float | None:
  return None if value is None else float(f'{value:.6g}')
