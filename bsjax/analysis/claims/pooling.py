"""The claims of several studies, or cells of one, together: the studies are the sample."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, UNDETERMINED, Claim, Kind, judge
from bsjax.analysis.measures.contrast import exact
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval


def pooled(of_studies: Sequence[Sequence[Claim]], over: str) -> list[Claim]:
  """What each claim says over all studies: the mean of their effects, Student's interval over them.

  Claims about pairs of batch sizes are of one study, and left out. `over` names the studies.
  """
  groups: dict[tuple, list[tuple[int, Claim]]] = {}
  for number, claims in enumerate(of_studies):
    for claim in claims:
      if claim.kind != Kind.PAIR:
        groups.setdefault(asked(claim), []).append((number, claim))
  return [_together(group, len(of_studies), over) for group in groups.values()]


def overall(claims: Sequence[Claim]) -> dict[str, Any]:
  """What an answer over studies rests on: {'better', 'slope', 'shown', 'asked'}."""
  shown = sum(claim.verdict != UNDETERMINED for claim in claims)
  about = {'better': better_side(claims), 'slope': trend_ends(claims)}
  return about | {'shown': shown, 'asked': len(claims)}


def better_side(claims: Sequence[Claim]) -> str:
  """'smaller' or 'larger' where the trend at equal epochs is shown."""
  trend = _trend(claims)
  return {SUPPORTED: 'smaller', REFUTED: 'larger'}.get(trend.verdict, '') if trend else ''


def trend_ends(claims: Sequence[Claim]) -> list[float | None]:
  """The trend at equal epochs per doubling, and the ends of its interval."""
  slope = trend.estimate if (trend := _trend(claims)) else Estimate(None)
  return [slope.value, slope.low, slope.high]


def _trend(claims: Sequence[Claim]) -> Claim | None:
  """Of the metric at equal epochs, or where a table has none of the loss."""
  for claim in claims:
    about = claim.kind, claim.budget, claim.question.margin
    if about == (Kind.TREND, 'epochs', None) and claim.quantity in (judged().val, 'val_loss'):
      return claim
  return None


def asked(claim: Claim) -> tuple:
  """What a claim asks, whatever the batch sizes of its study."""
  named = [part for part in claim.subject if isinstance(part, str | float)]
  moving = claim.kind == Kind.AUDIT and claim.subject[0] == 'rate_is_cause'
  kind = 'curves' if claim.subject[:1] == ('keeps_dynamics',) else claim.kind
  if kind in ('curves', Kind.CURVE):
    return 'curves', named[-1]
  return kind, *named, claim.quantity, claim.budget, None if moving else claim.question


def _together(group: Sequence[tuple[int, Claim]], studies: int, over: str) -> Claim:
  """One claim; what a study answers several times, as for each doubling, is its mean."""
  first = group[0][1]
  log = first.unit == 'ratio'
  by_study: dict[int, list[float]] = {}
  for number, claim in group:
    if (value := claim.estimate.value) is not None:
      by_study.setdefault(number, []).append(math.log(value) if log else value)
  if not by_study:
    return replace(first, **_of_any(first))
  mean = mean_interval([statistics.fmean(values) for values in by_study.values()])
  count = Reason('over_studies', known=len(by_study), of=studies, over=over)
  about = {'quantity': first.quantity} | _of_any(first)
  about |= {'budget': first.budget, 'unit': first.unit}
  return judge(first.question, exact(replace(mean, over=over)), None, [count], **about)


def _of_any(claim: Claim) -> dict[str, Any]:
  """Kind and subject without the batch sizes of a study."""
  if claim.kind == Kind.CURVE:
    return {'kind': Kind.AUDIT, 'subject': ('keeps_dynamics', claim.subject[0])}
  return {'kind': claim.kind, 'subject': () if claim.kind == Kind.TREND else claim.subject}
