"""Of tables that hold losses alone: what was found of the log of the loss, said of the loss.

The analysis compares minus the logarithm of the validation loss, of which more is better, as of the
metric. Differences are then said in log points, a hundredth each. Here claims get that unit and its
sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bsjax.analysis.claims.causes import Confound
from bsjax.analysis.claims.claim import Claim, Finding, Question
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason, minus

LOSS = 'val_loss'
UNITS = {
  'fraction': 'log_loss',
  'per_doubling': 'log_loss_per_doubling',
  'over_range': 'log_loss_over_range',
}
_FLIPPED = ('per_doubling', 'over_range')  # changes: of the loss itself, which more is worse of
_SIDES = {'above': 'below', 'below': 'above', 'within': 'within'}
# Reasons that speak of percentage points -> the same of log points.
_OF_LOSS = {
  'crosses_margin': 'loss_crosses_margin',
  'at_equal_updates': 'loss_at_equal_updates',
  'at_one_rate': 'loss_at_one_rate',
  'gained_late': 'loss_gained_late',
  'as_good': 'loss_as_good',
  'at_stake': 'loss_at_stake',
  'good_means': 'loss_good_means',
}


def claim_of_loss(claim: Claim) -> Claim:
  """The same claim about the validation loss."""
  quantity = LOSS if claim.quantity == USUAL.val else claim.quantity
  flip = claim.unit in _FLIPPED
  reasons = tuple(_reason(reason, flip) for reason in claim.reasons)
  claim = replace(claim, quantity=quantity, reasons=reasons, unit=UNITS.get(claim.unit, claim.unit))
  if not flip:
    return claim
  question = claim.question
  center, side = -question.center + 0.0, _SIDES[question.side]
  low, high = claim.ends
  return replace(
    claim,
    estimate=claim.estimate.negated(),
    question=Question(side, center, question.margin),
    ends=(minus(high), minus(low)),
  )


def confound_of_loss(confound: Confound) -> Confound:
  return confound._replace(evidence=_reasons(confound.evidence))


def finding_of_loss(finding: Finding) -> Finding:
  return replace(finding, reasons=_reasons(finding.reasons))


def _reasons(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
  return tuple(_reason(reason, False) for reason in reasons)


def _reason(reason: Reason, flip: bool) -> Reason:
  details = dict(reason.details)
  if details.get('unit') in UNITS:
    details['unit'] = UNITS[details['unit']]
    if flip and 'low' in details:
      details |= {'low': minus(details['high']), 'high': minus(reason.details['low'])}
  if reason.code == 'at_one_rate':
    ends = {'value': 'value', 'low': 'high', 'high': 'low'}
    details |= {name: minus(reason.details[other]) for name, other in ends.items()}
  return Reason(_OF_LOSS.get(reason.code, reason.code), **details)
