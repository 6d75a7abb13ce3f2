"""Claims about a change with batch size: of accuracy, of the generalization gap, of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import (
  ABOVE,
  UNDETERMINED,
  Claim,
  Family,
  Kind,
  Question,
  judge,
  within,
  worse,
)
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import Effect, both_kinds
from bsjax.analysis.runs.budgets import CLOCKS
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason


def metric_worsens() -> tuple[str, Question]:
  return judged().val, worse()


GAP_GROWS = 'gap', ABOVE


def slope_claims(
  tried: Tried,
  chosen: Chosen,
  read: Mapping[str, Mapping[int, Reading]],
  confidence: float = 0.95,
  margin: float | None = None,
) -> list[Claim]:
  """Whether the metric worsens and the gap grows with batch size, and whether updates explain it.

  `read` holds the batch sizes at each budget. `confidence` is that of the trend of the metric at
  equal epochs, which is of the headline's family. `margin` is the largest change from
  the smallest to the largest batch size that counts as none.
  """
  asked = [(budget, *what) for what in (metric_worsens(), GAP_GROWS) for budget in CLOCKS]
  asked += [('updates', quantity, within(margin)) for quantity in (judged().val, 'gap')]
  claims = []
  for budget, quantity, question in asked:
    is_headline = (budget, quantity, question) == ('epochs', *metric_worsens())
    in_family = {'confidence': confidence, 'family': Family.HEADLINE} if is_headline else {}
    claims.append(trend(question, quantity, budget, tried, chosen, read[budget], **in_family))
  return claims


def trend(
  question: Question,
  quantity: str,
  budget: str,
  tried: Tried,
  chosen: Chosen,
  read: Mapping[int, Reading],
  kind: str = Kind.TREND,
  confidence: float = 0.95,
  family: str = Family.ALONE,
  **columns: Any,
) -> Claim:
  """A claim about the change with batch size, from all batch sizes read at a value of the budget.

  Of a question with a margin it is the change over all of them, else that per doubling. Where the
  smallest or largest batch size takes no part, or where they stand at different places of a
  schedule, or where one is read beside its best rates, it says nothing about the batch size and
  is undetermined.
  """
  over_range = question.margin is not None

  def measure(name: str) -> Effect:
    return Comparison(read, name).slope(confidence)

  plain, again = both_kinds(measure, read.values(), quantity)
  sizes, context = plain.sizes, confounds.left_out(Comparison(read, quantity).out)
  void = []
  if plain.interval.value is None:
    again = None
  else:
    lost = sorted({min(tried), max(tried)} - set(sizes))
    void = [Reason('lost_end', sizes=lost, range=[min(tried), max(tried)])] if lost else []
    subset = confounds.on_subset(read[size] for size in sizes)
    context = [*_budget(budget, chosen, read, sizes), *subset, *context]
    void += confounds.skipped(chosen, sizes)
    if budget != 'epochs':
      void += confounds.places(context)
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
    void,
    kind=kind,
    subject=sizes,
    quantity=quantity,
    budget=budget,
    unit='over_range' if over_range else 'per_doubling',
    family=family,
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
