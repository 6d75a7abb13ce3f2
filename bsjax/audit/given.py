"""What the claims about a cell are asked of: its runs at their best rates, at equal budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import Claim, Kind, Question, judge
from bsjax.analysis.claims.pairs import Ranking, rank
from bsjax.analysis.measures.contrast import exact
from bsjax.analysis.runs.budgets import readings
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen, select
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Estimate, Reason

BUDGETS = ('epochs', 'updates')


class Given(NamedTuple):
  """The runs of a cell, each batch size at its best rate, and as read at equal budgets."""

  tried: Tried
  chosen: Chosen
  read: Mapping[str, Mapping[int, Reading]]
  ranking: Ranking
  columns: frozenset[str]
  loss_only: bool
  clocks: frozenset[str]  # whose numbers are known, and not only their ratios


def given_of(
  tried: Tried, columns: frozenset[str], loss_only: bool, clocks: frozenset[str] = frozenset()
) -> Given:
  """All that claims about one cell are asked of."""
  chosen = select(tried).chosen
  read = {budget: readings(chosen, budget) for budget in BUDGETS}
  return Given(tried, chosen, read, rank(read['epochs']), columns, loss_only, clocks)


def unanswered(code: str, question: Question, why: Reason, *subject: Any, **about: Any) -> Claim:
  """A claim that the table cannot answer, and why."""
  about = {'unit': 'exponent', 'subject': (code, *subject)} | about
  return ask(code, question, Estimate(None, reasons=(why,)), **about)


def ask(
  code: str, question: Question, estimate: Estimate, unit: str, *context: Reason, **about: Any
) -> Claim:
  """A claim about the metric at equal epochs, if `about` says of nothing else."""
  usual = {'kind': Kind.AUDIT, 'quantity': USUAL.val, 'budget': 'epochs', 'subject': (code,)}
  return judge(question, exact(estimate), None, context, unit=unit, **usual | about)
