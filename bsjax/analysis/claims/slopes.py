"""Claims about the change of accuracy and of the generalization gap with batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.claims import confounds, verdicts
from bsjax.analysis.claims.verdicts import MARGIN, UNDETERMINED, Rule, claim
from bsjax.analysis.measures.gap import Slope, slope
from bsjax.analysis.runs.budgets import Reading, readings
from bsjax.analysis.runs.histories import Setting

Found = Mapping[int, Sequence[Setting]]
Chosen = Mapping[int, Setting]


class Question(NamedTuple):
  """A claim about the change of a quantity with batch size at a clock, and its rule."""

  claim: str
  clock: str
  quantity: str
  rule: Rule
  margin: float | None = None  # of a claim of no difference, which is about the whole range


def slope_claims(found: Found, chosen: Chosen, margin: float = MARGIN) -> list[dict[str, Any]]:
  """Whether accuracy falls and the gap grows with batch size, and whether updates explain it.

  `margin` is the largest change of a fraction, from the smallest to the largest batch size, that
  counts as none.
  """
  questions = _questions(margin)
  read = {clock: readings(chosen, clock) for clock in dict.fromkeys(q.clock for q in questions)}
  return [judge(question, found, chosen, read[question.clock]) for question in questions]


def _questions(margin: float) -> list[Question]:
  better, grows = 'smaller batches reach higher validation accuracy', 'the generalization gap grows'
  size = f'less than {100 * margin:g} percentage points from the smallest to the largest batch size'
  below, above, none = verdicts.below, verdicts.above, verdicts.near(0.0, margin)
  weighted, accuracy = 'learning_rate_updates', 'val_accuracy'
  at_equal = 'at equal updates weighted by learning rate'
  return [
    Question(f'at equal epochs, {better}', 'epochs', accuracy, below),
    Question(f'at equal updates, {better}', 'updates', accuracy, below),
    Question(f'{at_equal}, {better}', weighted, accuracy, below),
    Question(f'at equal epochs, {grows} with batch size', 'epochs', 'gap', above),
    Question(f'at equal updates, {grows} with batch size', 'updates', 'gap', above),
    Question(f'{at_equal}, {grows} with batch size', weighted, 'gap', above),
    Question(
      f'at equal updates, validation accuracy changes by {size}', 'updates', accuracy, none, margin
    ),
    Question(
      f'at equal updates, the generalization gap changes by {size}', 'updates', 'gap', none, margin
    ),
  ]


def judge(
  question: Question, found: Found, chosen: Chosen, read: Mapping[int, Reading]
) -> dict[str, Any]:
  """The claim of a question with its verdict, from all batch sizes read at the question's clock."""
  over_range = question.margin is not None
  unit = 'fraction, ' + ('over the range of' if over_range else 'per doubling of the')
  unit += ' batch sizes' if over_range else ' batch size'
  plain = _scaled(slope(read, question.quantity), over_range)
  out = confounds.left_out(read, plain.sizes)
  if plain.reason:
    why = [f'{plain.reason[0].upper()}{plain.reason[1:]}.', *out]
    return claim(question.claim, UNDETERMINED, plain.interval, unit, why)
  name = 'reestimated_' + question.quantity
  normalized = any(name in reading.values for reading in read.values())
  again = _scaled(slope(read, name), over_range) if normalized else None
  verdict, doubts = verdicts.settle(question.rule, plain, again)
  shown = 'percentage points ' + ('over the range' if over_range else 'per doubling')
  why = [verdicts.found_text(plain.interval, shown), *doubts]
  if question.rule(plain.interval) == UNDETERMINED:
    why.append(verdicts.need_text(plain.interval, shown, question.margin))
  elif not over_range:
    why.append(_steadiness(read, plain.sizes, question.quantity))
  why += confounds.tuning(found, chosen, plain.sizes)
  if question.clock == 'epochs':
    why += confounds.budget(chosen, plain.sizes, read)
  else:
    why += confounds.schedule(chosen, read, plain.sizes)
  return claim(question.claim, verdict, plain.interval, unit, why + out)


def _scaled(found: Slope, over_range: bool) -> Slope:
  """The slope, or with `over_range` the change that it makes over all its batch sizes."""
  if not over_range or found.reason:
    return found
  factor = math.log2(max(found.sizes) / min(found.sizes))

  def times(value: float | None) -> float | None:
    return None if value is None else factor * value

  interval = found.interval.map(lambda value: factor * value)
  return found._replace(interval=interval, low=times(found.low), high=times(found.high))


def _steadiness(read: Mapping[int, Reading], sizes: Sequence[int], quantity: str) -> str:
  """A warning where the means turn: a slope then says little about neighbouring batch sizes."""
  steps = np.diff([read[size].values[quantity].mean() for size in sizes])
  if (steps >= 0).all() or (steps <= 0).all():
    return ''
  return 'The means do not go one way from size to size: the slope is an average over the range.'
