"""The claims of several studies, or cells of one, together: the studies are the sample."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bsjax.analysis.claims.claim import Claim, Kind, judge
from bsjax.analysis.measures.contrast import exact
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import mean_interval


def pooled(of_studies: Sequence[Sequence[Claim]], over: str) -> list[Claim]:
  """What each claim says over all studies: the mean of their effects, Student's interval over them.

  Claims about pairs of batch sizes are of one study, and left out. `over` names the studies.
  """
  groups: dict[tuple, list[tuple[int, Claim]]] = {}
  for number, claims in enumerate(of_studies):
    for claim in claims:
      if claim.kind != Kind.PAIR:
        groups.setdefault(_asked(claim), []).append((number, claim))
  return [_together(group, len(of_studies), over) for group in groups.values()]


def _asked(claim: Claim) -> tuple:
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
