"""What figures of a page show and how, without the time that laying them out takes.

Noted is what the code decides: what is drawn, in what order and look, which limits and ticks it
sets. What matplotlib finds by itself is left out, as its versions may find something else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any
from unittest import mock

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection as Drawn
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from bsjax.report.figures import drawing

DRAW = drawing.draw
PROBES = -0.5, 0.0, 0.0123, 0.00004, 1.0  # what ticks could stand at
DIGITS = 4  # of looks, which are words


@contextlib.contextmanager
def noted(drawn: bool | Collection[str] = True) -> Iterator[dict[str, Any]]:
  """Pages of the context have no figures; of those that are `drawn` it is noted what they show."""
  found: dict[str, Any] = {}

  def note(one: drawing.Drawing, source: Any) -> None:
    if drawn is True or (drawn and one.name in drawn):
      found[one.name] = shown(one, source)

  with (
    mock.patch.object(drawing, 'draw', note),
    mock.patch.object(drawing, 'svg', lambda *_: ''),
  ):
    yield found


def shown(one: drawing.Drawing, source: Any) -> dict[str, Any]:
  """All of a figure."""
  figure = DRAW(one, source)
  legend = dict(one.legend(source)) if one.legend else {}
  entries = [handle(entry) for entry in legend.pop('handles', ())]
  panels = [_placed(axes) for axes in figure.axes]
  size = figure.get_size_inches().tolist()
  return {'size': size, 'panels': panels, 'legend': [*entries, _said(**legend)]}


def _placed(axes: Axes) -> Any:
  spec = axes.get_subplotspec()
  place = [*map(int, spec.get_geometry()), len(axes.get_shared_y_axes().get_siblings(axes))]
  widths = spec.get_gridspec().get_width_ratios()
  return [place, [float(width) for width in widths], panel(axes) if axes.get_visible() else None]


def panel(axes: Axes) -> dict[str, Any]:
  """What was drawn into axes; nothing of what there is nothing of."""
  titles = [title for where in ('left', 'center', 'right') if (title := axes.get_title(where))]
  legend = axes.get_legend()
  notes = {
    'title': titles,
    'lines': [line(one, axes) for one in axes.lines],
    'fills': [_collection(one, axes) for one in axes.collections],
    'patches': [_patch(one, axes) for one in axes.patches],
    'texts': [_text(one, axes) for one in axes.texts],
    'images': [_sums(np.asarray(image.get_array(), float).reshape(-1, 1)) for image in axes.images],
    'x': _axis(axes.xaxis, axes.get_xlim(), axes.get_autoscalex_on()),
    'y': _axis(axes.yaxis, axes.get_ylim(), axes.get_autoscaley_on()),
    'spines': ' '.join(name for name, spine in axes.spines.items() if spine.get_visible()),
    'legend': [handle(entry) for entry in legend.legend_handles] if legend else [],
  }
  notes['legend'] += [text.get_fontsize() for text in legend.get_texts()[:1]] if legend else []
  return {key: note for key, note in notes.items() if note}


def line(one: Line2D, axes: Axes | None = None) -> list[Any]:
  """Its look, and sums over its points."""
  marker, dashes = one.get_marker(), one.get_linestyle()
  said = {'label': _label(one), 'colour': _hex(one.get_color()), 'marker': marker}
  if dashes not in ('None', '', ' '):
    said |= {'dashes': dashes, 'width': one.get_linewidth(), 'cap': one.get_solid_capstyle()}
  if marker not in ('None', '', ' ', None):
    said |= {'size': one.get_markersize(), 'face': _hex(one.get_markerfacecolor())}
    said |= {'edge': _hex(one.get_markeredgecolor()), 'edges': one.get_markeredgewidth()}
  return [_said(**said, **_common(one, axes)), *_sums(np.asarray(one.get_xydata(), float))]


def handle(entry: Artist) -> str:
  """An entry of a legend."""
  if isinstance(entry, Line2D):
    return line(entry)[0]
  look = {'label': _label(entry), 'alpha': entry.get_alpha()}
  return _said(face=_hex(entry.get_facecolor()), **look)


def _collection(one: Drawn, axes: Axes) -> list[Any]:
  """Its look; of lines and dots their sums, of areas their extents and size."""
  look = {'label': _label(one), 'widths': [*map(float, one.get_linewidth())][:1]}
  look |= {'faces': [_hex(colour) for colour in one.get_facecolor()[:1]]}
  look |= {'edges': [_hex(colour) for colour in one.get_edgecolor()[:1]]}
  said = _said(**look, **_common(one, axes))
  if isinstance(one, LineCollection):
    return [said, *(_sums(np.array(segment)) for segment in one.get_segments())]
  if isinstance(one, PathCollection):
    sizes = np.asarray(one.get_sizes(), float).reshape(-1, 1)
    return [said, _sums(np.asarray(one.get_offsets(), float)), _sums(sizes)]
  return [said, *(_area(path.vertices) for path in one.get_paths() if len(path.vertices))]


def _area(points: np.ndarray) -> list[float]:
  """The ends of a polygon and its area, wherever its outline begins."""
  x, y = points[np.isfinite(points).all(axis=1)].T
  inside = 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))
  return [*map(float, (x.min(), x.max(), y.min(), y.max())), inside]


def _patch(one: Patch, axes: Axes) -> list[Any]:
  corners = one.get_path().transformed(one.get_patch_transform()).vertices
  edge = {'edge': _hex(one.get_edgecolor()), 'width': one.get_linewidth()}
  edge = edge | {'dashes': one.get_linestyle()} if one.get_linewidth() else {}
  face = {'face': _hex(one.get_facecolor()) if one.get_fill() else None, 'label': _label(one)}
  said = _said(**face, **edge, **_common(one, axes))
  return [said, *corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]


def _text(one: Text, axes: Axes) -> list[Any]:
  look = {'colour': _hex(one.get_color()), 'size': one.get_fontsize(), 'turn': one.get_rotation()}
  look |= {'ha': one.get_ha(), 'va': one.get_va(), 'math': one.get_parse_math()}
  if isinstance(one, Annotation):
    arrow = {key: str(value) for key, value in sorted((one.arrowprops or {}).items())}
    place = [*map(float, one.xy), *map(float, one.xyann)]
    return [one.get_text(), _said(**look, **arrow, of=one.xycoords, to=one.anncoords), *place]
  said = _said(**look, **_common(one, axes))
  return [one.get_text(), said, *map(float, one.get_position())]


def _axis(axis: Axis, limits: tuple[float, float], automatic: bool) -> list[Any]:
  """Its scale and label; limits and ticks where they were set, and how it writes numbers."""
  look, locator = axis.get_tick_params(), axis.get_major_locator()
  said = {'label': axis.get_label_text(), 'scale': axis.get_scale(), 'length': look.get('length')}
  said |= {'grid': look.get('gridOn'), 'minor': not isinstance(axis.minor.locator, NullLocator)}
  notes: list[Any] = [] if automatic else [*map(float, limits)]
  form = axis.get_major_formatter()
  if isinstance(locator, FixedLocator):
    places = [float(place) for place in locator.locs]
    labels = axis.get_ticklabels()
    look_of = [_said(colour=_hex(one.get_color()), size=one.get_fontsize()) for one in labels]
    texts = [form(place, number) for number, place in enumerate(places)]
    notes += [places, texts, sorted(set(look_of)), [*map(look_of.index, look_of)]]
  elif isinstance(form, EngFormatter):
    said['units'] = form(2000.0)
  elif isinstance(form, FuncFormatter):
    said['writes'] = ' '.join(form(value, 0) for value in PROBES)
  if isinstance(locator, LogLocator):
    said['between'] = bool(np.isclose(locator.tick_values(1.0, 50.0), 2.0).any())
  return [_said(**said), *notes]


def _common(one: Artist, axes: Axes | None) -> dict[str, Any]:
  """Where it stands, and what nearly all leave as it is."""
  said = {'alpha': one.get_alpha(), 'clip': None if one.get_clip_on() else 'no'}
  said['z'] = None if one.get_zorder() == type(one).zorder else one.get_zorder()
  known = {
    'frame': axes and axes.transAxes,
    'x, frame': axes and axes.get_xaxis_transform(),
    'frame, y': axes and axes.get_yaxis_transform(),
  }
  own = Artist.get_transform(one)  # of a patch without what makes it a square of one by one
  where = [name for name, space in known.items() if own is space]
  return said | {'in': where[0] if where else None}


def _label(one: Artist) -> str:
  label = str(one.get_label() or '')
  return '' if label.startswith('_') else label


def _hex(colour: Any) -> str:
  return to_hex(colour, keep_alpha=np.size(colour) == 4 and float(colour[3]) < 1)


def _said(**look: Any) -> str:
  """What is said of a look, in words."""
  known = {key: value for key, value in look.items() if value not in (None, '', 'None', [])}
  return ', '.join(
    f'{key} {value:.{DIGITS}g}' if isinstance(value, float) else f'{key} {value}'
    for key, value in known.items()
  )


def _sums(points: np.ndarray) -> list[float]:
  """How many points there are, their sums, and sums that tell in which order they come."""
  finite = np.isfinite(points).all(axis=1) if points.size else np.zeros(len(points), bool)
  if not finite.any():
    return [len(points)]
  weights = (np.arange(len(points)) + 1.0)[finite] / len(points)
  known = points[finite]
  return [len(points), int(finite.sum()), *known.sum(axis=0).tolist(), *(weights @ known).tolist()]
