"""The claims of a summary in blocks for reading: what several of a block share is said once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.format import by_reason

Claim = Mapping[str, Any]

_UNITS = {
  'fraction': 'points',
  'fraction, per doubling of the batch size': 'points per doubling',
  'fraction, over the range of batch sizes': 'points over the range',
  'exponent of the batch size': 'exponent',
}
_SENTENCE = re.compile(r'(?<=\.) (?=[A-Z])(?!For any values)')  # which goes on with the one before
_LEFT_OUT = re.compile(r'Batch size (\d+) takes no part \((.*)\)\.')
_ONE_TRIAL = 'one trial has no spread and shows nothing.'


class ClaimRow(NamedTuple):
  """A claim with its verdict, its effect in words, the reasons that are its own, and its notes."""

  verdict: str
  claim: str
  effect: str
  n: int
  why: str
  notes: tuple[int, ...]


class Block(NamedTuple):
  """Claims of one kind; `shared` holds for each of them, `notes` (from 1) for several."""

  title: str
  shared: str
  notes: tuple[str, ...]
  rows: tuple[ClaimRow, ...]

  @property
  def counts(self) -> dict[str, int]:
    """How many claims have which verdict."""
    verdicts = [row.verdict for row in self.rows]
    return {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}


def is_pair(claim: Claim) -> bool:
  """Whether two batch sizes are compared: those intervals hold together for all pairs."""
  return 'confidence' in claim


def blocks(claims: Sequence[Claim]) -> tuple[list[Block], Block]:
  """The claims about all batch sizes and about the learning rate, and those about pairs.

  Claims about stages and conditions ('about') stand in their own parts of the page.
  """
  claims = [claim for claim in claims if 'about' not in claim]
  pairs = [claim for claim in claims if is_pair(claim)]
  rate = [claim for claim in claims if claim['unit'] == 'exponent of the batch size']
  other = [claim for claim in claims if claim not in pairs and claim not in rate]
  kinds = ('Small and large batches', other), ('The best learning rate', rate)
  whole = [block(title, found) for title, found in kinds if found]
  return whole, block('The best batch size against each other one', pairs)


def effect_text(claim: Claim) -> str:
  """The effect with its interval; accuracies in percentage points, an open end as infinity."""
  if claim['effect'] is None:
    return '–'
  is_fraction = claim['unit'].startswith('fraction')
  show = _points if is_fraction else lambda value: f'{value:.3g}'
  (low, high), value = claim['ci95'], show(claim['effect'])
  unit = _UNITS.get(claim['unit'], claim['unit'])
  if low is None and high is None:
    return f'{value} {unit}'
  ends = '−∞' if low is None else show(low), '∞' if high is None else show(high)
  return f'{value} [{ends[0]}, {ends[1]}] {unit}'


def _points(value: float) -> str:
  # Without the sum a rounded nothing could come out as -0.00.
  return f'{round(100 * value, 2) + 0.0:+.2f}'


def block(title: str, claims: Sequence[Claim]) -> Block:
  """Claims of one kind, with what several of them share said once."""
  reasons = [_reasons(claim) for claim in claims]
  uses = Counter(sentence for each in reasons for sentence in each)
  several = [sentence for sentence, count in uses.items() if count > 1]
  shared = [sentence for sentence in several if uses[sentence] == len(claims)]
  notes = [sentence for sentence in several if sentence not in shared]
  rows = [
    ClaimRow(
      claim['verdict'],
      claim['claim'],
      effect_text(claim),
      claim['n'],
      ' '.join(sentence for sentence in own if sentence not in several),
      tuple(number for number, note in enumerate(notes, 1) if note in own),
    )
    for claim, own in zip(claims, reasons, strict=True)
  ]
  return Block(title, ' '.join(shared), tuple(notes), tuple(rows))


def _reasons(claim: Claim) -> list[str]:
  """The sentences of `why` but for the one that says what stands beside it in numbers."""
  kept, out = [], {}
  for sentence in _SENTENCE.split(claim['why']):
    if match := _LEFT_OUT.fullmatch(sentence):
      out[match[1]] = match[2]
    elif sentence.endswith(_ONE_TRIAL):
      kept.append('One trial has no spread and shows nothing.')
    elif not (sentence.startswith('Found: ') and claim['ci95'] != [None, None]):
      kept.append(sentence)
  return kept + [f'Left out: {line}.' for line in by_reason(out)]
