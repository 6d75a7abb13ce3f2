"""Accuracy of rare, medium and frequent classes, and of each class against its examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from bsjax.report.figures.drawing import draw
from bsjax.report.figures.study import BY_CLASS
from bsjax.report.panels.source import Source


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  source, (by_class,) = Source(data['summary']), BY_CLASS
  upright = [[panel] for panel in by_class.panels(source)[0]]
  drawing = dataclasses.replace(by_class, size=(7, 8.2), panels=lambda _: upright)
  return {'by_class.png': draw(drawing, source)}
