"""Figures as data: what panels they have, how large they are, what they say of themselves."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bsjax.config.metrics import judged
from bsjax.report.panels import style

THEME = {
  'font.size': 10,
  'text.color': style.INK,
  'axes.edgecolor': '#b4bac7',
  'axes.labelcolor': style.MUTED,
  'axes.titlecolor': style.INK,
  'axes.titlelocation': 'left',
  'axes.titlesize': 11,
  'axes.titleweight': 'bold',
  'axes.titlepad': 10,
  'axes.titley': 1.0,  # nothing stands above panels; looking for it measures every tick anew
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'axes.grid': True,
  'axes.grid.axis': 'y',
  'grid.color': style.GRID,
  'grid.linewidth': 0.9,
  'xtick.color': '#b4bac7',
  'ytick.color': '#b4bac7',
  'xtick.labelcolor': style.MUTED,
  'ytick.labelcolor': style.MUTED,
  'ytick.major.size': 0,
  'ytick.minor.size': 0,
  'legend.frameon': False,
  'legend.labelcolor': style.INK,
  'legend.handlelength': 1.4,
  'figure.constrained_layout.h_pad': 0.1,
  'figure.constrained_layout.w_pad': 0.1,
  'figure.facecolor': style.PAPER,
  'savefig.facecolor': style.PAPER,
  'savefig.dpi': 160,
}
themed = matplotlib.rc_context(THEME)

Panel = Callable[[Axes, Any], None]  # draws into axes what it needs of a source
Size = tuple[int | float, int | float]  # inches


@dataclass(frozen=True)
class Drawing:
  """A figure: rows of panels that draw one source, such as that of a study.

  `legend` gives the arguments of the legend above all panels; `subplots` are
  arguments of `Figure.subplots`; `finish` gets the axes when all are drawn. `caption` is a
  template, filled with what the page knows and with `facts`. A figure that is not `wide` shares its
  line. `label` is its name, which may have that of the metric in it: '{metric.name}'.
  """

  label: str
  panels: Callable[[Any], Sequence[Sequence[Panel]]]
  size: Size | Callable[[Any], Size]
  caption: str = ''
  legend: Callable[[Any], Mapping[str, Any]] | None = None
  applies: Callable[[Any], bool] = lambda _: True
  subplots: Mapping[str, Any] = field(default_factory=dict)
  finish: Callable[[Sequence[Axes]], None] | None = None
  facts: Mapping[str, Any] = field(default_factory=dict)
  wide: bool = True

  @property
  def name(self) -> str:
    """Its name in a page."""
    return self.label.format(metric=judged().metric).replace(' ', '_')


@themed
def draw(drawing: Drawing, source: Any) -> Figure:
  """The figure of a source."""
  size = drawing.size(source) if callable(drawing.size) else drawing.size
  rows = drawing.panels(source)
  figure = Figure(figsize=size, layout='constrained')
  grid = figure.subplots(len(rows), max(map(len, rows)), squeeze=False, **drawing.subplots)
  drawn = []
  for axes, panel in itertools.chain(*map(itertools.zip_longest, grid, rows)):
    if panel is None:
      axes.set_visible(False)
      continue
    panel(axes, source)
    for spine in axes.spines.values():
      spine.set_in_layout(False)  # within what ticks take; looking measures every tick again
    drawn.append(axes)
  if drawing.finish:
    drawing.finish(drawn)
  if drawing.legend:
    figure.legend(loc='outside upper left', **drawing.legend(source))
  _as_it_stands(figure)
  return figure


def _as_it_stands(figure: Figure) -> None:
  """Names may hold dollars, which are no formulas; those of ticks on log axes are."""
  for text in figure.findobj(Text):
    if '$' in text.get_text() and r'\mathdefault' not in text.get_text():
      text.set_parse_math(False)


def batch_sizes(source: Any) -> dict[str, Any]:
  """The legend of the colours of the batch sizes."""
  lines = [
    Line2D([], [], color=colour, linewidth=3, label=str(size))
    for size, colour in source.colours.items()
  ]
  title = Line2D([], [], linestyle='', label='batch size')
  look = {'ncols': len(lines) + 1, 'handletextpad': 0.5, 'columnspacing': 1.2}
  return {'handles': [title, *lines], **look}


def lines_of(panels: Sequence[Panel], columns: int) -> list[Sequence[Panel]]:
  """Panels in lines of so many."""
  return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def _lay_out(figure: Figure) -> None:
  """Places the panels as saving would, which for that draws all of the figure once more."""
  FigureCanvasSVG(figure)
  if engine := figure.get_layout_engine():
    figure.dpi = FigureCanvasSVG.fixed_dpi
    engine.execute(figure)
    figure.set_layout_engine('none')


def svg(figure: Figure, name: str) -> str:
  """The figure as SVG to stand inside a page: scalable, text as text, ids apart by `name`."""
  file = io.StringIO()
  nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
    _lay_out(figure)
    figure.canvas.print_svg(file, metadata=nothing)  # savefig would lay out, hence draw, once more
  text = file.getvalue()
  text = text[text.index('<svg') :]
  # Inside a page the namespaces are known; it shrinks the figure, but must not blow it up.
  text = re.sub(r' xmlns(:xlink)?="[^"]*"', '', text, count=2)
  width = f' style="max-width:{100 * figure.get_figwidth():.0f}px"'
  return re.sub(r' (width|height)="[^"]*pt"', '', text, count=2).replace('<svg', f'<svg{width}', 1)
