"""What all pages share: their templates, and figures with their captions."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from bsjax.config import metrics
from bsjax.format import bytes_text, number, percent
from bsjax.report.figures import drawing
from bsjax.report.text import cost, results
from bsjax.report.text.claim_blocks import effect_text


class Shown(NamedTuple):
  """A figure of a page, as figure.html takes it."""

  name: str
  svg: Markup
  caption: Markup
  wide: bool


def render(template: str, **context: Any) -> str:
  """A page from a template of the package."""
  return _environment().get_template(template).render(**context)


def figures(
  drawings: Iterable[drawing.Drawing], source: Any, context: Mapping[str, Any]
) -> list[Shown]:
  """The figures that apply to a source; `context` fills their captions."""
  return [
    Shown(
      figure.name,
      Markup(drawing.svg(drawing.draw(figure, source), figure.name)),
      _caption(figure, context),
      figure.wide,
    )
    for figure in drawings
    if figure.applies(source)
  ]


def _caption(figure: drawing.Drawing, context: Mapping[str, Any]) -> Markup:
  text = _environment().from_string(figure.caption).render(context, **figure.facts)
  return Markup(' '.join(text.split()))


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
  environment.globals |= {'metric': metrics.METRIC, 'measured': metrics}
  environment.filters |= {
    'yes_no': _yes_no,
    'percent': percent,
    'noise_scale': results.noise_scale_text,
    'number': number,
    'memory': bytes_text,
    'range': cost.range_text,
    'cost_remark': cost.remark,
    'effect': effect_text,
  }
  return environment
