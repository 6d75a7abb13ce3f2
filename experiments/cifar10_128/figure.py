"""Batch size 128 less 512 and 1024, at equal epochs above and at equal updates below."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from bsjax.report.figures.drawing import draw
from bsjax.report.figures.scaling import ACCURACIES
from bsjax.report.panels.source import Source


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  source = Source(data['summary'])
  upright = [[panel] for panel in ACCURACIES.panels(source)[0]]
  drawing = dataclasses.replace(ACCURACIES, size=(7, 6.6), panels=lambda _: upright)
  return {'accuracies.png': draw(drawing, source)}
