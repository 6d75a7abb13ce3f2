"""Differences between conditions, each with a verdict that its interval bears out.

Two conditions are read where the one that ends first ends: at as many examples and, where the
numbers of their updates differ, at as many updates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bsjax.analysis.claims import conditions, confounds
from bsjax.analysis.claims.claim import (
  BELOW,
  Claim,
  Family,
  Kind,
  Question,
  better,
  judge,
  within,
)
from bsjax.analysis.claims.condition_pairs import Pair, read_pair
from bsjax.analysis.claims.conditions import Condition
from bsjax.analysis.measures.contrast import (
  DIFFERENCE,
  Contrast,
  Effect,
  average,
  both_kinds,
  contrast,
  effect,
)
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import holm, p_value, simultaneous

BUDGETS = ('examples', 'updates')
POOLED = 'pooled'


def compared_quantities() -> dict[str, tuple[Question, str]]:
  """What is compared, the side that a claim takes, and the unit."""
  metric = judged().unit
  loss = {} if judged().val == 'val_loss' else {'val_loss': (BELOW, judged().loss_unit)}
  return {
    judged().val: (better(), metric),
    judged().train: (better(), metric),
    'gap': (BELOW, metric),
    **loss,
    judged().val_balanced: (better(), metric),
  }


class Place(NamedTuple):
  """Where a pair is compared: at the mean over its batch sizes, or at one of them."""

  pair: Pair
  sizes: tuple[int, ...]
  pooled: bool

  def contrast(self, quantity: str) -> Contrast | None:
    """The second condition less the first in each trial, averaged over batch sizes."""
    both = [self.pair.read[size] for size in self.sizes]
    return average([contrast((b, a), DIFFERENCE, quantity) for a, b in both])

  @property
  def context(self) -> list[Reason]:
    """What else differs, and which batch sizes take no part."""
    out = confounds.left_out(self.pair.out) if self.pooled else []
    return [*self.pair.context, *out]

  @property
  def skipped(self) -> list[list[Reason]]:
    """The batch sizes here that the first and the second are read of beside their best rates."""
    return [
      [reason for reason in side if reason.details['size'] in self.sizes]
      for side in self.pair.skipped
    ]

  @property
  def cut_short(self) -> list[Reason]:
    """Why one of both has not come as far in its schedule, at the first batch size of such."""
    return [reason for size in self.sizes for reason in self.pair.cut_short.get(size, ())][:1]

  @property
  def columns(self) -> dict[str, Any]:
    """What a row says of its place."""
    row = {'first': self.pair.first, 'second': self.pair.second, 'clock': self.pair.budget}
    row['batch_size'] = POOLED if self.pooled else self.sizes[0]
    return row | {'batch_sizes': list(self.sizes)}


def compare(all_conditions: Sequence[Condition], margin: float | None = None) -> dict[str, Any]:
  """The content of summary['conditions'].

  {'names', 'baseline', 'pairs': 'all' or 'with the baseline', 'table', 'failed', 'differs',
  'contrasts'}; docs/analysis.md says what each holds. `margin` is the largest difference
  that counts as none, if not that of the metric.
  """
  margin = judged().margin if margin is None else margin
  held = {condition.name: conditions.hold(condition) for condition in all_conditions}
  if len(held) < len(all_conditions):
    raise ValueError(f'conditions are {[c.name for c in all_conditions]}: give each its own name.')
  names = list(held)
  asked = conditions.pairs(names)
  return {
    'names': names,
    'baseline': names[0] if names else None,
    'pairs': 'all' if len(names) <= conditions.MOST_PAIRED else 'with the baseline',
    'table': conditions.table(held),
    'failed': conditions.failures(held),
    'differs': conditions.differences(all_conditions),
    'contrasts': [
      claim
      for budget in BUDGETS
      for claim in contrasts([read_pair(held, *pair, budget) for pair in asked], margin)
    ],
  }


def claims(compared: Mapping[str, Any]) -> list[Claim]:
  """The contrasts pooled over batch sizes as claims, and of accuracy those of no difference."""
  result = []
  for claim in compared['contrasts']:
    if not is_pooled(claim.columns):
      continue
    result.append(replace(claim, columns={}))
    same = claim.columns['equivalent']
    if same and claim.quantity == judged().val:
      result.append(replace(same, columns={}))
  return result


def is_pooled(row: Mapping[str, Any]) -> bool:
  """Whether a contrast is averaged over batch sizes, and not of one of them."""
  return row['batch_size'] == POOLED


def contrasts(read_pairs: Sequence[Pair], margin: float) -> list[Claim]:
  """All pairs read at one budget: pooled over batch sizes, and by batch size if there are several.

  Intervals hold with 95% at once for a family: all pairs, at one budget and in one quantity,
  pooled; or all pairs at all their batch sizes (Bonferroni). 'p_holm' is Holm's over the same
  family. The claim that both are alike is the column 'equivalent'.
  """
  pooled = [Place(pair, tuple(pair.read), True) for pair in read_pairs]
  several = [pair for pair in read_pairs if len(pair.read) > 1]
  single = [Place(pair, (size,), False) for pair in several for size in pair.read]
  return [
    claim
    for quantity in compared_quantities()
    for family in (pooled, single)
    for claim in _family(family, quantity, margin)
  ]


def _family(places: Sequence[Place], quantity: str, margin: float) -> list[Claim]:
  differences = [place.contrast(quantity) for place in places]
  known = [one for one in differences if one is not None]
  confidence = simultaneous(len(known))
  adjusted = iter(holm([p_value(one.at) for one in known]))
  claims = []
  for place, one in zip(places, differences, strict=True):
    if one is not None:
      claims.append(_claim(place, quantity, confidence, next(adjusted), margin))
    elif quantity == judged().val and (place.pair.budget == 'examples' or place.pair.unread):
      # A pair that cannot be compared must not be missing without a word.
      claims.append(_claim(place, quantity, confidence, None, margin))
  return claims


def _claim(
  place: Place, quantity: str, confidence: float, p_holm: float | None, margin: float
) -> Claim:
  """The claim that the second condition is the better one, beside it that both are alike."""
  question, unit = compared_quantities()[quantity]
  about = {
    'kind': Kind.CONDITION,
    'family': Family.CONDITIONS,
    'subject': (place.pair.second, place.pair.first),
    'unit': unit,
  }
  about |= {'quantity': quantity, 'budget': place.pair.budget}

  def measure(name: str) -> Effect:
    return effect(place.contrast(name), confidence)

  readings = [reading for size in place.sizes for reading in place.pair.read[size]]
  plain, again = both_kinds(measure, readings, quantity)
  again = again if again and again.interval.value is not None else None
  nothing = [Reason('nothing_shared')] if plain.interval.value is None else []
  first, second = place.skipped
  either = [*first, *second]
  worse = confounds.of_worse(plain.interval, second, first) if quantity == judged().val else either
  columns = place.columns | {'p_holm': p_holm, 'equivalent': None}
  if unit == judged().unit and not nothing:
    # The context of one batch size stands beside the other claim.
    context = place.context if place.pooled else ()
    at_place = place.columns | {'margin': margin}
    columns['equivalent'] = judge(
      within(margin), plain, again, context, [*either, *place.cut_short], columns=at_place, **about
    )
  context, void = [*nothing, *place.context], [*worse, *place.cut_short]
  return judge(question, plain, again, context, void, columns=columns, **about)
