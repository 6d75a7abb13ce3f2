"""audit.html and audit.md: what stands on somebody's curves, from the content of audit.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bsjax.analysis.claims.claim import Kind
from bsjax.report import interactive, page
from bsjax.report.figures.drawing import Drawing, batch_sizes
from bsjax.report.panels import audit
from bsjax.report.panels.audit import AuditSource
from bsjax.report.text import audit_answer
from bsjax.report.text.claim_blocks import block
from bsjax.report.text.formats import LOG_POINTS_ARE

_SIZE = (4.3, 3.3)
_VERDICTS = ('supported', 'refuted', 'undetermined')


def _several_rates(source: AuditSource) -> bool:
  return any(len(settings) > 1 for settings in source.cells[0].tried.values())


def _along(source: AuditSource) -> bool:
  lanes = (lane for tuned in source.cells[0].chosen.values() for lane in tuned.lanes)
  return max((len(lane.planned_rows) for lane in lanes), default=0) > 3


TOP = Drawing(
  'answer',
  lambda _: [[audit.draw_sizes]],
  size=_SIZE,
  wide=False,
  caption="""Each batch size at its best learning rate, at the end of its runs: mean, 95% Student
  interval over trials, and the single runs. Differences are judged within trials: do not read them
  off the overlap.""",
)
CELLS = Drawing(
  'answer',
  lambda _: [[audit.draw_cells]],
  size=lambda source: (4.3, 1.6 + 0.17 * min(len(source.cells), 40)),
  wide=False,
  caption="""The change per doubling of the batch size in each cell, with its 95% interval where
  there are trials to tell, and over all cells (orange) with the interval over cells.""",
)
STUDIES = replace(
  CELLS,
  caption="""The change per doubling of the batch size in each study, with its interval over trials,
  and over all studies (orange) with the 95% interval over them.""",
)
FIGURES = (
  Drawing(
    'rates',
    lambda _: [[audit.draw_rates]],
    size=_SIZE,
    legend=lambda source: batch_sizes(source) | {'ncols': 5},
    applies=_several_rates,
    wide=False,
    caption='Means over trials. What is far worse than the best half is cut off.',
  ),
  *(
    Drawing(
      f'against_{clock}',
      lambda _, clock=clock, label=label: [[partial(audit.draw_curves, clock=clock, label=label)]],
      size=_SIZE,
      legend=lambda source: batch_sizes(source) | {'ncols': 5},
      applies=_along,
      wide=False,
      caption=f'One line for each run at the best rate of its batch size, against {label}.',
    )
    for clock, label in (('epoch', 'epochs'), ('updates', 'updates'))
  ),
)


def render(result: Mapping[str, Any], source: AuditSource) -> str:
  """The page."""
  several = bool(result['cells'])
  top = page.figures([CELLS if several else TOP], source, {})[0]
  figures = [] if several else page.figures(_drawable(source), source, {})
  return page.render(
    'audit.html',
    **_context(result),
    spectrum=list(source.colours.values()),
    colours=source.colours,
    top=top,
    figures=figures,
    curves=_curves(source),
    curves_of='',
  )


def _curves(source: AuditSource) -> dict[str, Any] | None:
  cells = [cell['cell'] for cell in source.result['cells']] or ['']
  rows = source.result['batch_sizes'] or source.result['cells'][0]['batch_sizes']
  return interactive.data(
    {name: (given.tried, given.chosen) for name, given in zip(cells, source.cells, strict=True)},
    interactive.quantities(source.loss_only),
    [clock for clock in ('epoch', 'updates') if clock in source.cells[0].clocks] or ['epoch'],
    source.colours,
    rates_known=any(row['learning_rate'] is not None for row in rows),
  )


def _drawable(source: AuditSource) -> list[Drawing]:
  """The figures whose clock is known: without epochs or updates there is only their ratio."""
  unknown = {'against_updates'} - {f'against_{clock}' for clock in source.cells[0].clocks}
  return [figure for figure in FIGURES if figure.name not in unknown]


def markdown(result: Mapping[str, Any]) -> str:
  """The same in plain text, for a repository or an issue."""
  return page.render('audit.md', **_context(result))


def _context(result: Mapping[str, Any]) -> dict[str, Any]:
  whole = [claim for claim in result['claims'] if claim['kind'] != Kind.PAIR]
  return {
    'audit': result,
    'answer': result['answer'],
    'main': block('', in_order(claim for claim in whole if claim['effect'] is not None)),
    'unanswered': block('', [claim for claim in whole if claim['effect'] is None]),
    'pairs': block('', in_order(c for c in result['claims'] if c['kind'] == Kind.PAIR)),
    'cells': [
      (cell, block('', [claim for claim in cell['claims'] if claim['kind'] != Kind.PAIR]))
      for cell in result['cells']
    ],
    'told': _told(result),
    'names': audit_answer.NAMES,
    'log_points': LOG_POINTS_ARE if result['read']['loss_only'] else '',
    'value': partial(value_text, loss_only=result['read']['loss_only']),
  }


def _told(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
  """What was read, for the line of facts."""
  read, rows = result['read'], result['batch_sizes']
  trials = sorted({row['trials'] for row in rows})
  examples = read['train_examples'] and f'{read["train_examples"]:,.0f}'
  return [
    ('runs', read['runs']),
    ('cells', len(result['cells']) or None),
    ('batch sizes', spanned([row['batch_size'] for row in rows])),
    ('learning rates at each', max((row['rates'] for row in rows), default=None)),
    ('trials of each setting', ' to '.join(map(str, trials[:1] + trials[1:][-1:]))),
    ('training examples', examples or 'not known'),
  ]


def spanned(sizes: Sequence[int]) -> str | None:
  """'6: 8 to 256'."""
  return f'{len(sizes)}: {min(sizes)} to {max(sizes)}' if len(sizes) > 1 else None


def in_order(claims: Iterable[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
  """What is shown first, then what is open, in the order in which it was asked."""
  return sorted(claims, key=lambda claim: _VERDICTS.index(claim['verdict']) > 1)


def value_text(estimate: Mapping[str, Any], loss_only: bool) -> str:
  """'93.1 ± 0.4' in percent, or a loss '2.31 [2.30, 2.33]'."""
  mean, (low, high) = estimate['mean'], estimate['ci95']
  if mean is None:
    return '–'
  if loss_only:
    return f'{mean:.4g}' if low is None else f'{mean:.4g} [{low:.4g}, {high:.4g}]'
  return f'{100 * mean:.2f}' if low is None else f'{100 * mean:.2f} ± {50 * (high - low):.2f}'
