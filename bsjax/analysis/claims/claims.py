"""Testable sentences about batch size, each with a verdict that its interval bears out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims import verdicts
from bsjax.analysis.claims.pairs import Values, pair_claims
from bsjax.analysis.claims.slopes import slope_claims
from bsjax.analysis.claims.verdicts import MARGIN, claim
from bsjax.analysis.runs.histories import Setting
from bsjax.stats.estimate import Estimate, Reason

# Over 16 times the batch size 0.1 is a factor of 1.3 in learning rate, finer than most grids.
EXPONENT_MARGIN = 0.1

_GROWTH = {
  'the best learning rate grows linearly with batch size': 1.0,
  'the best learning rate grows with the square root of batch size': 0.5,
  'the best learning rate does not depend on batch size': 0.0,
}


def claims(
  found: Mapping[int, Sequence[Setting]],
  chosen: Mapping[int, Setting],
  values: Values,
  exponent: Mapping[str, Any],
  reestimated: Values | None = None,
  margin: float = MARGIN,
) -> list[dict[str, Any]]:
  """All claims, as {'claim', 'verdict', 'effect', 'ci95', 'n', 'unit', 'why'}.

  `values` are validation accuracies for the comparison of pairs, one a trial in one order; they may
  come from trials other than those the learning rates were chosen on. Batch sizes with a None, or
  with fewer trials than others, take no part. `reestimated` are the same with re-estimated
  BatchNorm statistics. `exponent` is {'value', 'ci95', 'n'} or {'undefined': why}. `margin` is the
  largest difference of fractions that counts as none.
  """
  return [
    *slope_claims(found, chosen, margin),
    *pair_claims(found, chosen, values, reestimated, margin),
    *exponent_claims(exponent),
  ]


def exponent_claims(
  exponent: Mapping[str, Any], margin: float = EXPONENT_MARGIN
) -> list[dict[str, Any]]:
  """Whether the best learning rate goes as batch size to the power 1, 1/2 or 0.

  A bound of None does not bound. What lies within `margin` of the power counts as it.
  """
  interval, why = _exponent_interval(exponent)
  result = []
  for text, power in _GROWTH.items():
    verdict = verdicts.near(power, margin)(interval)
    needs = f'Supported if all of it is within {margin:g} of {power:g}, refuted if all is outside.'
    sentences = [why] if interval.value is None else [why, needs]
    result.append(claim(text, verdict, interval, 'exponent of the batch size', sentences))
  return result


def _exponent_interval(exponent: Mapping[str, Any]) -> tuple[Estimate, str | Reason]:
  """The interval and what it is, or an empty one and why."""
  nothing = Estimate(None)
  if 'undefined' in exponent:
    return nothing, Reason('exponent_is_undefined', why=exponent['undefined'])
  value, (low, high), n = exponent['value'], exponent['ci95'], exponent['n']
  if value is None or not all(math.isfinite(x) for x in (value, low, high) if x is not None):
    return nothing, 'The exponent or its interval is not finite.'
  if n < 2 or (low is None and high is None):
    return Estimate(value, n=n), f'Found: {value:.3g}, n = {n}, without an interval.'
  bounds = ('unbounded' if bound is None else f'{bound:.3g}' for bound in (low, high))
  text = f'Found: {value:.3g}, 95% interval {" to ".join(bounds)}, n = {n}.'
  return Estimate(value, low, high, n), text
