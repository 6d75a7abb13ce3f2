"""What figures of a page show, without the time that drawing them takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from bsjax.report.figures import drawing


@contextlib.contextmanager
def noted(drawn: bool = True) -> Iterator[dict[str, Any]]:
  """Pages of the context have no figures; where they are `drawn` it is noted what they show."""
  draw, found = drawing.draw, {}

  def note(one: drawing.Drawing, source: Any) -> None:
    if not drawn:
      return
    figure = draw(one, source)
    found[one.name] = [_axes(axes) for axes in figure.axes] + [_legends(figure)]

  with (
    mock.patch.object(drawing, 'draw', note),
    mock.patch.object(drawing, 'svg', lambda *_: ''),
  ):
    yield found


def _axes(axes: Axes) -> dict[str, Any]:
  lines = [_sums(line.get_xydata()) for line in axes.lines]
  for collection in axes.collections:
    if isinstance(collection, LineCollection):
      lines += [_sums(np.array(segment)) for segment in collection.get_segments()]
  words = [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()]
  words += [axes.get_yscale(), *(text.get_text() for text in axes.texts)]
  legend = axes.get_legend()
  words += [text.get_text() for text in legend.get_texts()] if legend else []
  return {'lines': lines, 'words': [word for word in words if word]}


def _sums(points: np.ndarray) -> list[float]:
  """How many points a line has, and what those that are finite add up to."""
  finite = points[np.isfinite(points).all(axis=1)] if points.size else points
  return [len(points), *finite.sum(axis=0).tolist()] if finite.size else [len(points)]


def _legends(figure: Figure) -> list[str]:
  return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
