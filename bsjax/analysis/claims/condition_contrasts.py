"""Differences between conditions, each with a verdict that its interval bears out.

Two conditions are read where the one that ends first ends: at as many examples and, where the
numbers of their updates differ, at as many updates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.claims import conditions, verdicts
from bsjax.analysis.claims.condition_pairs import Differences, Pair, again, difference, read_pair
from bsjax.analysis.claims.conditions import Condition
from bsjax.analysis.claims.verdicts import MARGIN, UNDETERMINED, Rule, claim
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import holm, p_value

CLOCKS = ('examples', 'updates')
NOTHING = Estimate(None)
POOLED = 'pooled'


class Quantity(NamedTuple):
  """What is compared: its name, the side that a claim takes, and the unit (fractions in points)."""

  noun: str
  says: str
  rule: Rule
  unit: str = 'fraction'

  @property
  def shown(self) -> tuple[str, int]:
    """The unit for a reader, and what it multiplies by."""
    return ('percentage points', 100) if self.unit == 'fraction' else (self.unit, 1)


_HIGHER, _LOWER = ('reaches higher', verdicts.above), ('has a lower', verdicts.below)
QUANTITIES = {
  'val_accuracy': Quantity('validation accuracy', *_HIGHER),
  'train_accuracy': Quantity('training accuracy', *_HIGHER),
  'gap': Quantity('generalization gap', *_LOWER),
  'val_loss': Quantity('validation loss', *_LOWER, 'nats'),
  'val_balanced_accuracy': Quantity('balanced validation accuracy', *_HIGHER),
}


class Place(NamedTuple):
  """Where a pair is compared: at the mean over its batch sizes, or at one of them."""

  pair: Pair
  sizes: tuple[int, ...]
  pooled: bool

  @property
  def where(self) -> str:
    """The start of every claim made here."""
    return f'at equal {self.pair.clock}' + ('' if self.pooled else f', batch size {self.sizes[0]}')

  @property
  def context(self) -> list[Reason | str]:
    """What else differs, and which batch sizes take no part."""
    parts = self.pair.out.items()
    out = [Reason('takes_no_part', batch_size=size, why=why) for size, why in parts]
    return [*self.pair.why, *(out if self.pooled else [])]

  def claim(self, quantity: Quantity) -> str:
    """The sentence that the second condition is the better one."""
    names = self.pair.second, self.pair.first
    return f'{self.where}, {names[0]} {quantity.says} {quantity.noun} than {names[1]}'

  def columns(self, name: str) -> dict[str, Any]:
    """What a row says of its place."""
    pair = self.pair
    row = {'first': pair.first, 'second': pair.second, 'clock': pair.clock, 'quantity': name}
    row['batch_size'] = POOLED if self.pooled else self.sizes[0]
    return row | {'batch_sizes': list(self.sizes)}


class Contrast(NamedTuple):
  """A mean difference; `low` and `high` as for verdicts.Bounded."""

  interval: Estimate
  low: float | None
  high: float | None


def compare(all_conditions: Sequence[Condition], margin: float = MARGIN) -> dict[str, Any]:
  """The content of summary['conditions'].

  {'names', 'baseline', 'pairs': 'all' or 'with the baseline', 'table', 'failed', 'differs',
  'contrasts'}; docs/analysis.md says what each holds. `margin` is the largest difference of
  fractions that counts as none.
  """
  held = {each.name: conditions.hold(each) for each in all_conditions}
  if len(held) < len(all_conditions):
    raise ValueError(f'conditions are {[c.name for c in all_conditions]}: give each its own name.')
  names = list(held)
  asked = conditions.pairs(names)
  found = [
    row
    for clock in CLOCKS
    for row in contrasts([read_pair(held, *pair, clock) for pair in asked], margin)
  ]
  return {
    'names': names,
    'baseline': names[0] if names else None,
    'pairs': 'all' if len(names) <= conditions.MOST_PAIRED else 'with the baseline',
    'table': conditions.table(held),
    'failed': conditions.failures(held),
    'differs': conditions.differences(all_conditions),
    'contrasts': found,
  }


def claims(found: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The contrasts pooled over batch sizes as claims, and of accuracy those of no difference."""
  rows = []
  for row in found['contrasts']:
    if not is_pooled(row):
      continue
    same = {key: row[key] for key in ('effect', 'ci95', 'n', 'unit', 'confidence')}
    same['about'] = 'conditions'
    rows.append({'claim': row['claim'], 'verdict': row['verdict'], 'why': row['why']} | same)
    if row['equivalent'] and row['quantity'] == 'val_accuracy':
      rows.append({key: row['equivalent'][key] for key in ('claim', 'verdict', 'why')} | same)
  return rows


def is_pooled(row: Mapping[str, Any]) -> bool:
  """Whether a contrast is averaged over batch sizes, and not of one of them."""
  return row['batch_size'] == POOLED


def contrasts(read_pairs: Sequence[Pair], margin: float) -> list[dict[str, Any]]:
  """All pairs read at one clock: pooled over batch sizes, and by batch size if there are several.

  Intervals hold with 95% at once for a family: all pairs, at one clock and in one quantity, pooled;
  or all pairs at all their batch sizes (Bonferroni). 'p_holm' is Holm's over the same family.
  """
  pooled = [Place(pair, tuple(pair.read), True) for pair in read_pairs]
  several = [pair for pair in read_pairs if len(pair.read) > 1]
  single = [Place(pair, (size,), False) for pair in several for size in pair.read]
  return [
    row
    for name in QUANTITIES
    for family in (pooled, single)
    for row in _family(family, name, margin)
  ]


def _family(places: Sequence[Place], name: str, margin: float) -> list[dict[str, Any]]:
  found = [difference(place.pair, place.sizes, name) for place in places]
  known = [each for each in found if each is not None]
  confidence = 1 - 0.05 / max(1, len(known))
  adjusted = iter(holm([p_value(each.at) for each in known]))
  rows = []
  for place, plain in zip(places, found, strict=True):
    if plain is not None:
      row = _row(place, name, plain, margin, confidence)
      rows.append(row | {'confidence': confidence, 'p_holm': next(adjusted)})
    elif name == 'val_accuracy' and (place.pair.clock == 'examples' or place.pair.unread):
      rows.append(_nothing(place, name, confidence))
  return rows


def contrast(found: Differences, confidence: float) -> Contrast:
  """Student's interval of the mean difference, and its ends for values anywhere between records."""
  interval = mean_interval(found.at, confidence)
  if interval.low is None or np.array_equal(found.low, found.high):
    return Contrast(interval, interval.low, interval.high)
  ends = [mean_interval(part, confidence) for part in found]
  return Contrast(interval, min(end.low for end in ends), max(end.high for end in ends))


def _row(
  place: Place, name: str, found: Differences, margin: float, confidence: float
) -> dict[str, Any]:
  quantity, plain = QUANTITIES[name], contrast(found, confidence)
  second = again(place.pair, place.sizes, name)
  fresh = None if second is None else contrast(second, confidence)
  verdict, why = _judge(quantity, quantity.rule, plain, fresh, None, confidence)
  why += place.context
  row = claim(place.claim(quantity), verdict, plain.interval, quantity.unit, why)
  row |= place.columns(name) | {'ci95_interpolation': [plain.low, plain.high]}
  row['reestimated'] = None if fresh is None else _effect(fresh.interval)
  row['equivalent'] = None
  if quantity.unit == 'fraction':
    verdict, why = _judge(quantity, verdicts.near(0.0, margin), plain, fresh, margin, confidence)
    row['equivalent'] = {
      'claim': f'{place.where}, {place.pair.second} and {place.pair.first} differ by less than '
      f'{100 * margin:g} percentage points in {quantity.noun}',
      'verdict': verdict,
      'margin': margin,
      'why': verdicts.paragraph([*why, *(place.context if place.pooled else [])]),
    }
  return row


def _nothing(place: Place, name: str, confidence: float) -> dict[str, Any]:
  """The row of a pair that cannot be compared: it must not be missing without a word."""
  quantity = QUANTITIES[name]
  why = ['There is no batch size at which both can be read in every trial.', *place.context]
  row = claim(place.claim(quantity), UNDETERMINED, NOTHING, quantity.unit, why)
  row |= place.columns(name) | {'ci95_interpolation': [None, None]}
  empty = dict.fromkeys(('equivalent', 'reestimated', 'p_holm'))
  return row | empty | {'confidence': confidence}


def _judge(
  quantity: Quantity,
  rule: Rule,
  plain: Contrast,
  fresh: Contrast | None,
  margin: float | None,
  confidence: float,
) -> tuple[str, list[str]]:
  unit, scale = quantity.shown
  verdict, doubts = verdicts.settle(rule, plain, fresh, scale)
  why = [verdicts.found_text(plain.interval, unit, confidence, scale), *doubts]
  if rule(plain.interval) == UNDETERMINED:
    why.append(verdicts.need_text(plain.interval, unit, margin, confidence, scale))
  return verdict, why


def _effect(interval: Estimate) -> dict[str, Any]:
  mean, low, high, n = interval.value, interval.low, interval.high, interval.n
  return {'effect': mean, 'ci95': [low, high], 'n': n}
