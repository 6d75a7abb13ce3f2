"""The claims of a summary in blocks for reading: what several of a block share is said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import Family, Kind
from bsjax.format import by_reason
from bsjax.report.text.claims import KINDS
from bsjax.report.text.formats import units
from bsjax.report.text.reasons import decoded, full_sentence, in_words

Claim = Mapping[str, Any]

FAMILIES = {
  Family.HEADLINE: 'Intervals of all pairs and of the trend at equal epochs hold together with '
  '95%: which batch size is best is read off the same numbers.',
  Family.SAME: 'Intervals are those of "beats", which hold together with 95%.',
  Family.ALONE: 'Each stands by itself, and may err in one study of twenty.',
  Family.CONDITIONS: 'Intervals of all pairs hold together with 95%, for each quantity and budget.',
  Family.SCALING: 'Intervals of all rules and batch sizes hold together with 95%.',
  Family.ARMS: 'Intervals of all pairs of rules and batch sizes hold together with 95%.',
}


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


def blocks(claims: Sequence[Claim]) -> tuple[list[Block], Block]:
  """The claims about all batch sizes and about the learning rate, and those about pairs.

  Claims about stages and conditions ('about') stand in their own parts of the page.
  """
  titles = {kind: wording.block for kind, wording in KINDS.items() if wording.block}
  parts = {
    kind: block(title, [claim for claim in claims if claim['kind'] == kind])
    for kind, title in titles.items()
  }
  pairs = parts.pop(Kind.PAIR)
  return [part for part in parts.values() if part.rows], pairs


def effect_text(claim: Claim) -> str:
  """The effect with its interval; accuracies in percentage points, an open end as infinity."""
  if claim['effect'] is None:
    return '–'
  unit = next(unit for unit in units().values() if unit.name == claim['unit'])
  show = _points if unit.scale == 100 else lambda value: f'{value:.3g}'
  (low, high), value = claim['ci95'], show(claim['effect'])
  if low is None and high is None:
    return f'{value} {unit.short}'.rstrip()
  ends = '−∞' if low is None else show(low), '∞' if high is None else show(high)
  return f'{value} [{ends[0]}, {ends[1]}] {unit.short}'.rstrip()


def verdict_text(claim: Claim, of: str = '') -> str:
  """What became of a claim, in a line: it, its verdict, its effect and `of` what, and n."""
  effect = f'{effect_text(claim)} {of}'.rstrip()
  return (
    f'{claim["claim"][0].upper()}{claim["claim"][1:]}: {claim["verdict"]}, {effect} '
    f'(n = {claim["n"]}).'
  )


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
  """The sentences of its reasons, with the batch sizes left out brought together by reason."""
  reasons = [decoded(row) for row in claim['reasons']]
  out = [reason.details for reason in reasons if reason.code == 'left_out']
  lines = by_reason({details['size']: in_words(details['why']) for details in out})
  kept = [full_sentence(reason) for reason in reasons if reason.code != 'left_out']
  return [*kept, *(f'Left out: {line}.' for line in lines), *_family(claim)]


def _family(claim: Claim) -> list[str]:
  """Which claims err in at most 5% of studies together, of one that has a verdict to err in."""
  return [FAMILIES[claim['family']]] if claim['effect'] is not None else []
