"""Differences between conditions, each with a verdict that its interval bears out.

Two conditions are read where the one that ends first ends: at as many examples and, where the
numbers of their updates differ, at as many updates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

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
from bsjax.analysis.claims.conditions import Condition, Held
from bsjax.analysis.measures.contrast import (
  DIFFERENCE,
  Contrast,
  Effect,
  average,
  both_kinds,
  contrast,
  effect,
)
from bsjax.analysis.runs.budgets import LAST_QUARTER, met, read
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import holm, p_value, simultaneous

BUDGETS = ('examples', 'updates')
POOLED = 'pooled'


# What is compared, the side that a claim takes, and the unit.
def compared_quantities() -> dict[str, tuple[Question, str]]:
  metric = judged().unit
  loss = {} if judged().val == 'val_loss' else {'val_loss': (BELOW, judged().loss_unit)}
  return {
    judged().val: (better(), metric),
    judged().train: (better(), metric),
    'gap': (BELOW, metric),
    **loss,
    judged().val_balanced: (better(), metric),
  }


class Pair(NamedTuple):
  """Two conditions read at one budget: batch size -> the readings of both, or why there are none.

  `context` is what else differs, `unread` whether a batch size that both have could not be read.
  `skipped` is what `confounds.skipped` says of the first and of the second, `cut_short` by batch
  size what `confounds.cut_short` says of both.
  """

  first: str
  second: str
  budget: str
  read: Mapping[int, tuple[Reading, Reading]]
  out: Mapping[int, Any]
  context: tuple[Reason, ...]
  unread: bool = False
  skipped: tuple[Sequence[Reason], Sequence[Reason]] = ((), ())
  cut_short: Mapping[int, Sequence[Reason]] = {}


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
    here = place.columns | {'margin': margin}
    columns['equivalent'] = judge(
      within(margin), plain, again, context, [*either, *place.cut_short], columns=here, **about
    )
  context, void = [*nothing, *place.context], [*worse, *place.cut_short]
  return judge(question, plain, again, context, void, columns=columns, **about)


def read_pair(held: Mapping[str, Held], first: str, second: str, budget: str) -> Pair:
  """Reads two conditions at every batch size that both have."""
  names, both = (first, second), (held[first], held[second])
  readable, out, unread, cut_short = {}, {}, False, {}
  for size in sorted(set(both[0].tried) | set(both[1].tried)):
    if why := _missing(held, names, size):
      out[size] = why
      continue
    pair = _common_trials(*(one.chosen[size] for one in both))
    if _same_runs(*pair):
      out[size] = Reason('same_runs')
      continue
    ends = [[lane.final['updates'] for lane in setting.lanes] for setting in pair]
    if budget == 'updates' and ends[0] == ends[1]:
      continue  # the same as at equal examples
    # Conditions may come apart in their last stage only, so they meet as late as can be.
    there, value = met(dict(enumerate(pair)), budget, LAST_QUARTER)
    readings = [read(setting, budget, value) for setting in there.values()]
    if problem := next((reading.problem for reading in readings if reading.problem), None):
      out[size], unread = problem, True
    else:
      readable[size] = (readings[0], readings[1])
      cut_short[size] = confounds.cut_short(names, pair, readings)
  context, skipped = _unequal(names, budget, readable), []
  context += confounds.on_subset([one for both_ in readable.values() for one in both_])
  for name, one in zip(names, both, strict=True):
    context += confounds.tuning(one.tried, one.chosen, list(readable), condition=name)
    skipped.append(confounds.skipped(one.chosen, list(readable), condition=name))
  about = tuple(context), unread, tuple(skipped), cut_short
  return Pair(first, second, budget, readable, out, *about)


def _missing(held: Mapping[str, Held], names: Sequence[str], size: int) -> Reason | None:
  for name in names:
    if size not in held[name].tried:
      return Reason('not_trained', condition=name)
    if size in held[name].failed:
      return Reason('failed', condition=name, why=held[name].failed[size])
  trials = [{lane.plan['trial'] for lane in held[name].chosen[size].lanes} for name in names]
  return None if set.intersection(*trials) else Reason('two_share_no_trial')


def _common_trials(first: Tuned, second: Tuned) -> tuple[Tuned, Tuned]:
  """Both with the lanes of the trials that both have, in their order."""
  trials = [{lane.plan['trial'] for lane in one.lanes} for one in (first, second)]
  shared = sorted(set.intersection(*trials))
  return first.of_trials(shared), second.of_trials(shared)


def _same_runs(first: Tuned, second: Tuned) -> bool:
  """Whether both are the same runs trained twice, as where a rule changes nothing.

  Their difference is zero by construction, and no part of what one condition does to training.
  No two runs have the same loss else, so losses that do tell nothing.
  """
  keys = 'updates', 'train_loss', 'val_loss', judged().train, judged().val
  ends = [
    [
      (part.learning_rate, *(lane.final[key] for key in keys))
      for part in one.window
      for lane in part.lanes
    ]
    for one in (first, second)
  ]
  return ends[0] == ends[1] and len({loss for _, _, _, loss, *_ in ends[0]}) == len(ends[0])


def _unequal(
  names: tuple[str, str], budget: str, read_: Mapping[int, tuple[Reading, Reading]]
) -> list[Reason]:
  """What is not equal where the two are read."""
  if not read_:
    return []
  key = 'epoch' if budget == 'updates' else 'updates'
  means = np.array([[reading.values[key].mean() for reading in pair] for pair in read_.values()])
  if budget == 'updates':
    epochs = [float(mean) for mean in means.mean(axis=0)]
    return [Reason('conditions_stand_at', first=names[0], second=names[1], epochs=epochs)]
  ratios = means[:, 1] / np.maximum(means[:, 0], 1)
  if np.allclose(ratios, 1, atol=0.01):
    return []
  low, high = float(ratios.min()), float(ratios.max())
  return [Reason('condition_updates', second=names[1], first=names[0], low=low, high=high)]
