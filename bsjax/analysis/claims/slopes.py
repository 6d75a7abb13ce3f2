"""Claims about a change with batch size: of accuracy, of the generalization gap, of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import (
  ABOVE,
  BELOW,
  MARGIN,
  UNDETERMINED,
  Claim,
  Kind,
  Question,
  judge,
  within,
)
from bsjax.analysis.measures.contrast import Effect, both_kinds, slope
from bsjax.analysis.runs.budgets import CLOCKS, Reading, readings
from bsjax.analysis.runs.histories import Setting
from bsjax.config.metrics import VAL
from bsjax.stats.estimate import Reason

Tried = Mapping[int, Sequence[Setting]]
Chosen = Mapping[int, Setting]

ACCURACY_FALLS = VAL, BELOW
GAP_GROWS = 'gap', ABOVE


def slope_claims(tried: Tried, chosen: Chosen, margin: float = MARGIN) -> list[Claim]:
  """Whether accuracy falls and the gap grows with batch size, and whether updates explain it.

  `margin` is the largest change of a fraction, from the smallest to the largest batch size, that
  counts as none.
  """
  read = {budget: readings(chosen, budget) for budget in CLOCKS}
  asked = [(budget, *what) for what in (ACCURACY_FALLS, GAP_GROWS) for budget in CLOCKS]
  asked += [('updates', quantity, within(margin)) for quantity in (VAL, 'gap')]
  return [
    trend(question, quantity, budget, tried, chosen, read[budget])
    for budget, quantity, question in asked
  ]


def trend(
  question: Question,
  quantity: str,
  budget: str,
  tried: Tried,
  chosen: Chosen,
  read: Mapping[int, Reading],
  kind: Kind = Kind.TREND,
  **columns: Any,
) -> Claim:
  """A claim about the change with batch size, from all batch sizes read at a value of the budget.

  Of a question with a margin it is the change over all of them, else that per doubling.
  """
  over_range = question.margin is not None
  plain, again = both_kinds(partial(slope, read), read.values(), quantity)
  sizes, context = plain.sizes, confounds.unread(read, plain.sizes)
  if plain.interval.value is None:
    again = None
  else:
    context = [*_budget(budget, chosen, read, sizes), *context]
    context = [*confounds.tuning(tried, chosen, sizes), *context]
    if not over_range and question.verdict(plain.interval) != UNDETERMINED:
      context = [*_turns(read, sizes, quantity), *context]
  if over_range:
    plain, again = _over_range(plain), again and _over_range(again)
  return judge(
    question,
    plain,
    again,
    context,
    kind=kind,
    subject=sizes,
    quantity=quantity,
    budget=budget,
    unit='over_range' if over_range else 'per_doubling',
    columns=columns,
  )


def _over_range(slope_: Effect) -> Effect:
  """The change that a slope makes over all its batch sizes."""
  if len(slope_.sizes) < 2:
    return slope_
  doublings = math.log2(max(slope_.sizes) / min(slope_.sizes))
  return slope_.map(lambda value: doublings * value)


def _budget(
  budget: str, chosen: Chosen, read: Mapping[int, Reading], sizes: Sequence[int]
) -> list[Reason]:
  """What is not equal where the budget is."""
  if budget == 'epochs':
    return confounds.updates(chosen, sizes, read)
  return confounds.schedule(chosen, read, sizes)


def _turns(read: Mapping[int, Reading], sizes: Sequence[int], quantity: str) -> list[Reason]:
  """A warning where the means turn: a slope then says little about neighbouring batch sizes."""
  steps = np.diff([read[size].values[quantity].mean() for size in sizes])
  return [] if (steps >= 0).all() or (steps <= 0).all() else [Reason('means_turn')]
