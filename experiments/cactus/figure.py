"""Accuracy, accuracy with re-estimated statistics and gap against batch size, by epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bsjax.report import stored_study
from bsjax.report.figures.comparisons import at_epochs
from bsjax.report.figures.drawing import draw
from bsjax.report.panels.source import Source


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  source = Source(data['summary'])
  drawing = at_epochs('overview', '', source.summary['stages']['at'], 'epochs')
  columns = list(zip(*drawing.panels(source), strict=True))  # one for each epoch
  upright = dataclasses.replace(drawing, size=(7.4, 8.8), panels=lambda _: columns)
  return {'overview.png': draw(upright, source)}


def data_of(workdir: Path) -> dict[str, Any]:
  """pretraining.json: what the run reached whose weights are lent, and on how many examples."""
  study = stored_study.load(workdir / 'pretrain')
  (trained,) = study.summary['batch_sizes']
  examples = study.config['data']['train_examples']
  return {'pretraining.json': {'train_examples': examples, 'val_accuracy': trained['val_accuracy']}}
