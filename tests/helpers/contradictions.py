"""Two summaries of what should be the same study: where their answers agree, and where not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, Kind
from helpers.verdicts import Summary

Key = tuple[Any, ...]
TURNED = {'above': 'below', 'below': 'above', 'within': 'outside'}
# Reasons of a recommendation that name the batch sizes which are shown to be worse.
WORSE = 'shown_worse', 'shown_to_need_more'


class Compared(NamedTuple):
  """Questions that both summaries have, by how they answer; a key tells which question it is.

  `weaker`: one of them leaves it undetermined. `opposite`: both answer, and not alike. `alone` are
  questions that one of them has: pairs of the best batch size, where another one is the best.
  """

  decided_alike: list[Key]
  undetermined: list[Key]
  weaker: list[Key]
  opposite: list[Key]
  alone: list[Key]


def compare(first: Summary, second: Summary) -> Compared:
  """Compares all claims, confounds and recommendations of two summaries."""
  one, other = answers(first), answers(second)
  result = Compared([], [], [], [], sorted(set(one) ^ set(other), key=str))
  for key in sorted(set(one) & set(other), key=str):
    told = [answer for answer in (one[key], other[key]) if answer is not None]
    if len(told) < 2:
      (result.weaker if told else result.undetermined).append(key)
    else:
      (result.decided_alike if told[0] == told[1] else result.opposite).append(key)
  result.opposite.extend([*_denied(first, second), *_denied(second, first)])
  return result


def answers(summary: Summary) -> dict[Key, Any]:
  """What is answered to each question, None where that is left open.

  To claims it is the side on which the effect is shown to lie, with the sizes or conditions of a
  pair in order of their names, as the best comes first and need not be the same; to confounds
  whether they are present, and whether they explain the difference.
  """
  result: dict[Key, Any] = {}
  for place, claim in _claims(summary, ()):
    key, answer = _answer(place, claim)
    if result.setdefault(key, answer) != answer:
      raise ValueError(f'{key} is answered {result[key]} and {answer} in one summary')
  for row in summary.get('confounds', ()):
    for part in ('present', 'explains'):
      answer = row[part]
      result['confound', row['confound'], part] = answer if isinstance(answer, bool) else None
  return result


def _claims(tree: Any, place: Key) -> Iterator[tuple[Key, Mapping[str, Any]]]:
  """All claims, with where they stand; of lists of claims it does not matter where in them."""
  if isinstance(tree, Mapping):
    if 'verdict' in tree and 'question' in tree:
      yield place, tree
    for name, branch in tree.items():
      yield from _claims(branch, (*place, name))
  elif isinstance(tree, list | tuple):
    in_order = bool(place) and place[-1] == 'claims'
    for i, branch in enumerate(tree):
      yield from _claims(branch, place if in_order else (*place, i))


def _answer(place: Key, claim: Mapping[str, Any]) -> tuple[Key, str | None]:
  subject, asked = tuple(claim['subject']), claim['question']
  side = asked['side']
  about = 'within' if side == 'within' else 'sign'
  answer = {SUPPORTED: side, REFUTED: TURNED[side]}.get(claim['verdict'])
  if claim['kind'] in (Kind.PAIR, Kind.CONDITION):
    ordered = tuple(sorted(subject))
    if ordered != subject and about == 'sign':
      answer = TURNED.get(answer)
    subject = ordered
  what = claim['kind'], claim['quantity'], claim['budget'], subject
  where = claim.get('branch'), claim.get('epoch')  # of a claim about a stage
  return (*place, *what, *where, about, asked['center'], asked['margin']), answer


def _denied(first: Summary, second: Summary) -> list[Key]:
  """Batch sizes that the first recommends and the second shows to be worse."""
  rows = {row['goal']: row for row in second['recommendation']}
  return [
    ('recommendation', row['goal'], row['batch_size'])
    for row in first['recommendation']
    if row['batch_size'] in _worse(rows.get(row['goal'], {}))
  ]


def _worse(row: Mapping[str, Any]) -> set[int]:
  return {
    size for reason in row.get('reasons', ()) if reason['code'] in WORSE for size in reason['sizes']
  }
