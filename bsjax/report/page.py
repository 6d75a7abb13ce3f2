"""What all pages share: their templates, and figures with their captions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from bsjax.config.metrics import REESTIMATED, judged
from bsjax.format import bytes_text, number
from bsjax.report import side_by_side
from bsjax.report.figures import drawing
from bsjax.report.text import cost, formats, results
from bsjax.report.text.claim_blocks import effect_text


class Shown(NamedTuple):
  """A figure of a page, as figure.html takes it."""

  name: str
  svg: Markup
  caption: Markup
  wide: bool


def render(template: str, **context: Any) -> str:
  """A page from a template of the package."""
  return _environment().get_template(template).render(**context, **_words())


def figures(
  drawings: Iterable[drawing.Drawing], source: Any, context: Mapping[str, Any]
) -> list[Shown]:
  """The figures that apply to a source; `context` fills their captions."""
  with begun(drawings, source) as shown:
    return shown(context)


@contextlib.contextmanager
def begun(
  drawings: Iterable[drawing.Drawing], source: Any
) -> Iterator[Callable[[Mapping[str, Any]], list[Shown]]]:
  """The same, whose drawing begins here; what it gives takes the context."""
  drawings = [figure for figure in drawings if figure.applies(source)]

  def drawn(figure: drawing.Drawing) -> str:
    return drawing.svg(drawing.draw(figure, source), figure.name)

  # Those of many panels first, so that none is left alone at the end.
  by_size = sorted(drawings, key=lambda figure: -sum(map(len, figure.panels(source))))

  def shown(context: Mapping[str, Any]) -> list[Shown]:
    svg_of = dict(zip([figure.name for figure in by_size], svgs(), strict=True))
    return [
      Shown(figure.name, Markup(svg_of[figure.name]), _caption(figure, context), figure.wide)
      for figure in drawings
    ]

  with side_by_side.begun(drawn, by_size) as svgs:
    yield shown


def _caption(figure: drawing.Drawing, context: Mapping[str, Any]) -> Markup:
  text = _environment().from_string(figure.caption).render(context, **figure.facts, **_words())
  return Markup(' '.join(text.split()))


def _words() -> dict[str, Any]:
  """What templates and captions say of the metric."""
  return {
    'judged': judged(),
    'metric': judged().metric,
    'reestimated_prefix': REESTIMATED,
    'cost_noun': formats.nouns()[judged().val_cost],
    'value_head': formats.value_head(),
    'points_head': formats.points_head(),
    'points_of': formats.points_of(),
  }


def _cell(text: str) -> str:
  """Text for a cell of a table in Markdown: a bar would end it."""
  return text.replace('|', '\\|')


def _yes_no(value: bool | str) -> str:
  return {True: 'yes', False: 'no'}.get(value, str(value))


@functools.cache
def _environment() -> jinja2.Environment:
  """Templates of the package, in which a missing value is an error."""
  # StrictUndefined: a value that the template misses must fail here, not leave a hole in the page.
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / 'templates'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters |= {
    'yes_no': _yes_no,
    'cell': _cell,
    'value': formats.value_text,
    'change': formats.change,
    'margin': formats.margin_number,
    'break_after_comma': lambda head: Markup(head.replace(', ', ',<br>')),
    'noise_scale': results.noise_scale_text,
    'number': number,
    'memory': bytes_text,
    'range': cost.range_text,
    'cost_remark': cost.remark,
    'effect': effect_text,
  }
  return environment
