"""All claims of a study about its batch sizes and its best learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.analysis.claims.claim import Claim, Kind, judge, within
from bsjax.analysis.claims.pairs import Ranking, pair_claims
from bsjax.analysis.claims.slopes import slope_claims
from bsjax.analysis.measures.contrast import exact
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen
from bsjax.stats.estimate import Estimate, Reason, undefined

# Over 16 times the batch size 0.1 is a factor of 1.3 in learning rate, finer than most grids.
EXPONENT_MARGIN = 0.1
POWERS = (1.0, 0.5, 0.0)  # of the batch size: linear, square root, no growth


def all_claims(
  tried: Tried,
  chosen: Chosen,
  read: Mapping[str, Mapping[int, Reading]],
  ranking: Ranking,
  exponent: Mapping[str, Any],
  margin: float | None = None,
) -> list[Claim]:
  """Trends, pairs and the growth of the best learning rate.

  `read` holds the batch sizes at each budget, and `ranking` is theirs at equal epochs. `exponent`
  is {'value', 'ci95', 'n'} or {'undefined': why}. `margin` is the largest difference that counts
  as none, if not that of the metric.
  """
  return [
    *slope_claims(tried, chosen, read, ranking.confidence, margin),
    *pair_claims(tried, chosen, read['epochs'], ranking, margin),
    *exponent_claims(exponent),
  ]


def exponent_claims(exponent: Mapping[str, Any], margin: float = EXPONENT_MARGIN) -> list[Claim]:
  """Whether the best learning rate goes as batch size to the power 1, 1/2 or 0.

  A bound of None does not bound. What lies within `margin` of the power counts as it.
  """
  estimate = _estimate(exponent)
  about = {'kind': Kind.EXPONENT, 'unit': 'exponent'}
  about |= {'quantity': 'learning_rate', 'budget': 'epochs'}
  claims = []
  for power in POWERS:
    rule = [] if estimate.value is None else [Reason('exponent_margin', margin=margin, power=power)]
    question = within(margin, power)
    claims.append(judge(question, exact(estimate), None, rule, subject=(power,), **about))
  return claims


def _estimate(exponent: Mapping[str, Any]) -> Estimate:
  """The exponent with its interval, or without a value and why."""
  if 'undefined' in exponent:
    return undefined('no_exponent', why=exponent['undefined'])
  value, (low, high), n = exponent['value'], exponent['ci95'], exponent['n']
  estimate = Estimate(value, low, high, n)
  if not estimate.is_finite:
    return undefined('exponent_not_finite')
  return estimate if n >= 2 else Estimate(value, n=n)
