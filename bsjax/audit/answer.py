"""What the curves say in one sentence: a code, with what it names, for the claims and confounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bsjax.analysis.claims.causes import DECISIVE, EDGE, RATES, STALE, UNKNOWN, Confound
from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, Claim, Finding, Kind
from bsjax.analysis.claims.pooling import better_side, overall, trend_ends
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.audit.confounds import SCALES
from bsjax.audit.given import Given
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import has_no_width

# A difference that no two batch sizes exceed, for all pairs at once, is called equivalent below it.
EQUIVALENT = 0.01


class Code:
  """Codes of answers."""

  STANDS = 'stands'  # a difference is shown, and no decisive confound is open
  EXPLAINED = 'explained'  # shown, and gone without a confound
  OPEN = 'open_cause'  # shown, and a decisive confound may make all of it
  EQUIVALENT = 'equivalent'
  UNDETERMINED = 'undetermined'
  ONE_TRIAL = 'one_trial'
  NOTHING = 'nothing_to_compare'
  CELLS = 'cells'  # several studies, as the sample


def of_cell(of: Given, claims: Sequence[Claim], confounds: Sequence[Confound]) -> Finding:
  """The answer about one cell."""
  if len(of.ranking.pairs) == 0:
    return _found(Code.NOTHING, *of.ranking.out, sizes=sorted(of.chosen))
  best = of.ranking.pairs[0].best
  if of.ranking.pairs[0].plain.interval.n < 2:
    return _found(Code.ONE_TRIAL, best=best, sizes=sorted(of.chosen))
  pairs = [c for c in claims if c.kind == Kind.PAIR and c.question.margin is None]
  beaten = [c.subject[1] for c in pairs if c.verdict == SUPPORTED]
  level = [c.subject[1] for c in pairs if c.verdict != SUPPORTED]
  better = better_side(claims)
  by = [c.estimate.value for c in pairs if c.verdict == SUPPORTED]
  about: dict[str, Any] = {'best': best, 'beaten': beaten, 'level': level, 'better': better}
  about |= {'by': [min(by), max(by)] if by else [], 'slope': _slope(claims, of.loss_only)}
  decisive = [c for c in confounds if c.code in DECISIVE and c.present is True]
  open_ = [c.code for c in decisive if c.explains in (None, UNKNOWN)]
  about['open'] = open_
  if not beaten and not better and (running := _by_running_statistics(claims)):
    about |= {'better': running, 'causes': [STALE], 'running': True}
    return _found(Code.EXPLAINED, **about)
  if not beaten and not better:
    largest = largest_difference(of)
    about |= {'largest': largest}
    whole = not of.ranking.out and of.chosen.keys() == of.tried.keys()
    alike = whole and largest is not None and largest < EQUIVALENT
    return _found(Code.EQUIVALENT if alike else Code.UNDETERMINED, **about)
  explains = [c.code for c in confounds if c.explains is True]
  about |= {
    'causes': explains,
    'unknown': [c.code for c in confounds if c.explains == UNKNOWN and c.code not in open_],
    'ruled_out': [c.code for c in confounds if c.present and c.explains is False],
  }
  return _found(Code.EXPLAINED if explains else Code.OPEN if open_ else Code.STANDS, **about)


def of_cells(pooled: Sequence[Claim], confounds: Sequence[Confound], cells: int) -> Finding:
  """The answer over several cells."""
  open_confounds = [c.code for c in confounds if c.present is True and c.code in DECISIVE]
  return _found(Code.CELLS, cells=cells, open=open_confounds, **overall(pooled))


def largest_difference(of: Given) -> float | None:
  """The largest difference of two batch sizes that their intervals leave, for all pairs at once.

  None where an interval is missing, or has no width, which proves nothing.
  """
  compared = Comparison(of.read['epochs'], USUAL.val)
  sizes, ends = compared.sizes, []
  for place, first in enumerate(sizes):
    for second in sizes[place + 1 :]:
      apart = compared.difference(first, second, of.ranking.confidence)
      if apart.low is None or apart.high is None or has_no_width(apart.interval):
        return None
      ends += [abs(apart.low), abs(apart.high)]
  return max(ends, default=None)


def _by_running_statistics(claims: Sequence[Claim]) -> str:
  """'smaller' or 'larger' where only the running statistics of BatchNorm show the trend."""
  for claim in claims:
    if (claim.kind, claim.budget, claim.quantity) == (Kind.TREND, 'epochs', USUAL.val):
      for reason in claim.reasons:
        if reason.code == 'statistics_disagree':
          return {SUPPORTED: 'smaller', REFUTED: 'larger'}.get(reason.details['running'], '')
  return ''


def _slope(claims: Sequence[Claim], log_loss: bool) -> list[float | None]:
  """The change per doubling and the ends of its interval, of a loss from those of -log(loss)."""
  value, low, high = trend_ends(claims)
  return [None if x is None else -x for x in (value, high, low)] if log_loss else [value, low, high]


def _found(code: str, *reasons: Reason, **about: Any) -> Finding:
  empty = {'best': None, 'beaten': [], 'level': [], 'better': '', 'causes': [], 'open': []}
  empty |= {'unknown': [], 'ruled_out': [], 'largest': None, 'running': False}
  empty |= {'by': [], 'slope': [None] * 3}
  hidden = {SCALES, *([EDGE] if RATES in about.get('open', ()) else [])}  # one rate has no edge
  about['unknown'] = [code for code in about.get('unknown', []) if code not in hidden]
  return Finding({'code': code} | empty | about, tuple(reasons))
