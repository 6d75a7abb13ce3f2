"""Accuracy of rare, medium and frequent classes, and of each class against its examples."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bsjax.report import stored_study
from bsjax.report.figures.drawing import draw
from bsjax.report.figures.study import BY_CLASS
from bsjax.report.panels.source import Source


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  source, (by_class,) = Source(data['summary']), BY_CLASS
  upright = [[panel] for panel in by_class.panels(source)[0]]
  drawing = dataclasses.replace(by_class, size=(7, 8.2), panels=lambda _: upright)
  return {'by_class.png': draw(drawing, source)}


def data_of(workdir: Path) -> dict[str, Any]:
  """by_rate.json: the final accuracy of rare classes at every setting, trials averaged."""
  study = stored_study.load(workdir)
  rare = study.summary['by_class']['groups']['rare']
  last = {row['lane']: row for row in study.rows}
  settings: dict[tuple[int, float], list[float]] = {}
  for lane in study.plan:
    accuracies = last[lane['lane']]['val_class_accuracy']
    at = settings.setdefault((lane['batch_size'], lane['learning_rate']), [])
    at.append(statistics.mean(accuracies[label] for label in rare))
  base = study.config['scaling']['base_batch_size']
  rows = [
    {'batch_size': size, 'base_rate': round(rate * base / size, 6), 'rare': statistics.mean(values)}
    | {'n': len(values)}
    for (size, rate), values in settings.items()
  ]
  return {'by_rate.json': rows}
