"""The sentence of every kind of claim, and a claim as summary.json holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import Claim, Kind
from bsjax.config.metrics import judged
from bsjax.report.text.audit_claims import ASKED
from bsjax.report.text.formats import (
  LOG_LOSSES,
  LOG_POINTS,
  filled,
  margin_text,
  nouns,
  points,
  units,
)
from bsjax.report.text.reasons import coded, full_sentence
from bsjax.stats.estimate import Estimate


class Wording(NamedTuple):
  """All that is said of a kind of claim: of a sign, of no more than a margin, and where.

  `block` is the title over its claims on the page of a study, in the order of KINDS; those without
  one stand in parts of their own, of which `about` says which.
  """

  sign: str = ''
  margin: str = ''
  block: str = ''
  about: str = ''


KINDS: dict[str, Wording] = {
  Kind.TREND: Wording(
    '{where}, {trend}',
    '{where}, {the_noun} changes by less than {points} from the smallest to the largest batch size',
    block='Small and large batches',
  ),
  Kind.EXPONENT: Wording(margin='the best learning rate {growth}', block='The best learning rate'),
  Kind.PAIR: Wording(
    'batch size {0} beats {1}',
    'batch sizes {0} and {1} differ by less than {points} in {noun}',
    block='The best batch size against each other one',
  ),
  Kind.STAGE: Wording('{where}, {trend}', about='stages'),
  Kind.CLASS: Wording('{where}, {trend}'),
  Kind.CONDITION: Wording(
    '{where}, {0} {says} {noun} than {1}',
    '{where}, {0} and {1} differ by less than {points} in {noun}',
    about='conditions',
  ),
  Kind.SCALING: Wording(
    margin='{0:rule} keeps the {metric} of batch size {2} at {1}, within {points}'
  ),
  Kind.CURVE: Wording(
    'with {0:rule}, batch size {1} is as close to the curve of {2} as two seeds are'
  ),
  Kind.WAY: Wording(
    'batch size {0} is better than {1}, {way}, {where}',
    'batch sizes {0} and {1}, {way}, differ by less than {points} {where}',
  ),
  Kind.ARMS: Wording(
    'with {0:rule}, the training curve of batch size {2} stays closer to that of {3} than with '
    '{1:rule}',
    about='scaling rules',
  ),
  Kind.AUDIT: Wording('{asked}', '{asked}'),
}


def _trend(quantity: str) -> str | None:
  return {
    'val_loss': 'smaller batches reach lower validation loss',
    judged().val: f'smaller batches reach {judged().better_than} {judged().val_title}',
    'gap': 'the generalization gap grows with batch size',
    'rare': 'too small a batch hurts the rare classes',
    judged().balanced: f'too small a batch lowers the balanced {judged().metric.title}',
    'rare_less_frequent': 'too small a batch hurts rare classes more than frequent',
  }.get(quantity)


_GROWTH = {
  1.0: 'grows linearly with batch size',
  0.5: 'grows with the square root of batch size',
  0.0: 'does not depend on batch size',
}
_WAYS = {
  'none': 'learning rate fixed',
  'sqrt': 'learning rate scaled by the square root',
  'linear': 'learning rate scaled linearly',
  'tuned': 'learning rate tuned for itself',
}
_BUDGETS = {'learning_rate_updates': 'updates weighted by learning rate'}


def claim_row(claim: Claim) -> dict[str, Any]:
  """A claim in plain values: its sentence and those of its reasons, and the same in codes.

  What of `columns` is itself a claim stays one.
  """
  about = {'about': part} if (part := KINDS[claim.kind].about) else {}
  effects = [_found(claim.estimate, claim.unit)] if claim.kind != Kind.ARMS else []
  return {
    'claim': claim_sentence(claim),
    'verdict': claim.verdict,
    **claim.estimate.to_json('effect'),
    'confidence': claim.estimate.confidence,
    'family': str(claim.family),
    'ci95_interpolation': list(claim.ends),
    'reestimated': claim.again.to_json('effect') if claim.again else None,
    'unit': units()[claim.unit].name,
    'why': ' '.join(filter(None, [*effects, *map(full_sentence, claim.reasons)])),
    'kind': str(claim.kind),
    'subject': list(claim.subject),
    'quantity': claim.quantity,
    'budget': claim.budget,
    'question': asdict(claim.question),
    'reasons': [coded(reason) for reason in claim.reasons],
    **about,
    **claim.columns,
  }


def claim_sentence(claim: Claim) -> str:
  """What is claimed, without a full stop."""
  wording = KINDS[claim.kind]
  margin, noun = claim.question.margin, nouns().get(claim.quantity, '')
  of_loss = claim.unit in LOG_LOSSES
  return filled(
    wording.sign if margin is None else wording.margin,
    *claim.subject,
    where=_where(claim),
    trend=_trend(claim.quantity),
    metric=judged().metric.title,
    noun=noun,
    the_noun=f'the {noun}' if claim.quantity == 'gap' else noun,
    says=_says(claim),
    points=margin and (f'{100 * margin:g} {LOG_POINTS}' if of_loss else margin_text(margin)),
    way=_WAYS.get(claim.subject[-1]) if claim.kind == Kind.WAY else None,
    growth=_GROWTH.get(claim.question.center),
    asked=filled(ASKED[claim.subject[0]], *claim.subject) if claim.kind == Kind.AUDIT else None,
  )


def _says(claim: Claim) -> str:
  if claim.question.side == 'above':
    return 'reaches higher'
  return 'reaches lower' if judged().is_metric(claim.quantity) else 'has a lower'


def _where(claim: Claim) -> str:
  """What is equal between the runs compared."""
  place, equal = claim.columns, f'at equal {_BUDGETS.get(claim.budget, claim.budget)}'
  if claim.kind == Kind.CONDITION and isinstance(place.get('batch_size'), int):
    return f'{equal}, batch size {place["batch_size"]}'
  if claim.kind != Kind.STAGE:
    return equal
  epoch = f'epoch {place["epoch"]:.4g}' + (f' of {place["branch"]}' if place['branch'] else '')
  if claim.budget == 'epochs':
    return f'at {epoch}'
  return f'at updates that batch size {place["updates_of"]} had made by {epoch}'


def _found(found: Estimate, unit: str) -> str:
  """The value with its interval and n, as a sentence; empty where there is no value."""
  if found.value is None:
    return ''
  _, shown, _, scale = units()[unit]

  def text(number: float | None) -> str:
    if number is None:
      return 'unbounded'
    return f'{number:.3g}' if unit in ('exponent', 'ratio') else points(number, scale)

  start = f'Found: {text(found.value)} {shown}'.rstrip()
  if not found.has_interval:
    return f'{start}, n = {found.n}.'
  level = f'{100 * found.confidence:.3g}% interval'
  return f'{start}, {level} {text(found.low)} to {text(found.high)}, n = {found.n}.'
