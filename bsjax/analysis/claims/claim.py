"""A claim: what is asked of an effect, the verdict that its interval bears out, and why.

All claims go through `judge`. Everything here is codes and numbers; `report/text/claims.py` holds
the sentence of each kind, `report/text/claim_reasons.py` that of each reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from bsjax.analysis.measures.contrast import Effect
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.paired import has_no_width, trials_needed

SUPPORTED, REFUTED, UNDETERMINED = 'supported', 'refuted', 'undetermined'


class Family(StrEnum):
  """Which claims err in at most 5% of studies together."""

  HEADLINE = 'headline'  # the best batch size against all others, and the trend, at equal epochs
  SAME = 'same'  # no difference between the best batch size and each other one
  ALONE = 'alone'  # the claim by itself
  CONDITIONS = 'conditions'  # all pairs of conditions in one quantity at one budget, pooled or not
  SCALING = 'scaling'  # all scaling rules and batch sizes at a learning rate, or all ways
  ARMS = 'arms'  # all pairs of rules at all batch sizes


class Kind(StrEnum):
  """What a claim is about; its `subject` in brackets. A new kind may be any other word."""

  TREND = 'trend'  # a change with batch size (the batch sizes)
  STAGE = 'stage'  # the same along a study of stages (the batch sizes)
  CLASS = 'class'  # the same of rare and frequent classes (the batch sizes)
  PAIR = 'pair'  # two batch sizes (the best, the other)
  CONDITION = 'condition'  # two conditions (the second, the first)
  SCALING = 'scaling'  # the accuracy of a scaled batch size (rule, batch size, base)
  CURVE = 'curve'  # its training curve (rule, batch size, base)
  WAY = 'way'  # the base batch size and another (base, batch size, way to its learning rate)
  ARMS = 'arms'  # two scaling rules over several arms (rule, other rule, batch size, base)
  EXPONENT = 'exponent'  # the growth of the best learning rate (the power)
  AUDIT = 'audit'  # what is asked of others' curves alone (the code of the question, ...)


@dataclass(frozen=True)
class Question:
  """Whether a value is 'above' or 'below' the center, or 'within' a margin of it.

  Answered only by a whole interval: to find no difference is not to show that there is none, and
  to find one is not to show that it matters.
  """

  side: str
  center: float = 0.0
  margin: float | None = None

  def __post_init__(self):
    if self.side == 'within' and not (self.margin is not None and self.margin > 0):
      raise ValueError(
        f'margin is {self.margin}: give the largest difference that counts as none, above zero.'
      )

  def verdict(self, estimate: Estimate) -> str:
    """A bound of None does not bound; without any, or without width, nothing is shown."""
    if not estimate.has_interval or estimate.n < 2 or has_no_width(estimate):
      return UNDETERMINED
    low = -math.inf if estimate.low is None else estimate.low
    high = math.inf if estimate.high is None else estimate.high
    near, far = self.center - (self.margin or 0.0), self.center + (self.margin or 0.0)
    holds, fails = {
      'above': (low > far, high < near),
      'below': (high < near, low > far),
      'within': (near < low and high < far, low > far or high < near),
    }[self.side]
    return SUPPORTED if holds else REFUTED if fails else UNDETERMINED


ABOVE, BELOW = Question('above'), Question('below')


def better() -> Question:
  """Whether a difference of the metric is for the better."""
  return ABOVE if judged().metric.higher_is_better else BELOW


def worse() -> Question:
  """Whether it is for the worse."""
  return BELOW if judged().metric.higher_is_better else ABOVE


def within(margin: float | None = None, center: float = 0.0) -> Question:
  """Whether a value lies within a margin of the center, if none is given that of the metric."""
  return Question('within', center, judged().margin if margin is None else margin)


@dataclass(frozen=True)
class Claim:
  """A statement about an effect with its verdict.

  `budget` is what the compared runs have equally much of: 'epochs', 'updates',
  'learning_rate_updates' or 'examples'. `estimate` is in `unit`, one of those of
  `report/text/claims.py`. `again` is the effect under re-estimated BatchNorm statistics, `ends`
  bound the interval for any values between records. `family` names the claims that hold together.
  `columns` stand beside it in summary.json.
  """

  kind: str
  subject: tuple[int | float | str, ...]
  quantity: str
  budget: str
  question: Question
  estimate: Estimate
  verdict: str
  reasons: tuple[Reason, ...] = ()
  unit: str = field(default_factory=lambda: judged().unit)
  again: Estimate | None = None
  ends: tuple[float | None, float | None] = (None, None)
  family: str = Family.ALONE
  columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
  """A row of summary.json that names what is best, if that is shown, and the reasons."""

  columns: Mapping[str, Any]
  reasons: tuple[Reason, ...]


def judge(
  question: Question,
  plain: Effect,
  again: Effect | None = None,
  context: Sequence[Reason] = (),
  void: Sequence[Reason] = (),
  **about: Any,
) -> Claim:
  """The claim with the verdict that stands whatever the statistics of BatchNorm and the curves.

  `again` is the effect under re-estimated statistics, `context` what else to keep in mind, `about`
  the other fields of the claim. Undetermined is also what running and re-estimated statistics
  answer differently, what other values between records would, and what compares the wrong runs, as
  `void` says. A ratio is judged on its log scale, of which the effects then are.
  """
  unit = about.get('unit', judged().unit)
  verdict = alone = question.verdict(plain.interval)
  doubts: list[Reason] = list(void)
  if again is not None and (other := question.verdict(again.interval)) != alone:
    doubts.append(Reason('statistics_disagree', running=alone, reestimated=other))
  else:
    for effect in filter(None, (plain, again)):
      if question.verdict(_widest(effect)) != alone:
        ends = {'low': effect.low, 'high': effect.high}
        doubts.append(Reason('interpolated', verdict=alone, **ends, unit=unit))
        break
  if doubts:
    verdict = UNDETERMINED
  if alone == UNDETERMINED and not void:
    doubts += _needed(question, plain.interval, unit)
  if unit == 'ratio':
    plain, again = plain.map(math.exp), again and again.map(math.exp)
  return Claim(
    question=question,
    estimate=plain.interval,
    verdict=verdict,
    reasons=(*plain.interval.reasons, *_spread(plain.interval), *doubts, *context),
    again=again.interval if again else None,
    ends=(plain.low, plain.high),
    **about,
  )


def _widest(effect: Effect) -> Estimate:
  return replace(effect.interval, low=effect.low, high=effect.high)


def _spread(estimate: Estimate) -> list[Reason]:
  """Why a value shows nothing by itself."""
  if estimate.value is None:
    return []
  if not estimate.has_interval:
    return [Reason('one_trial', over=estimate.over) if estimate.n < 2 else Reason('no_interval')]
  return [Reason('no_width')] if has_no_width(estimate) else []


def _needed(question: Question, estimate: Estimate, unit: str) -> list[Reason]:
  """What would decide a claim about a sign or about no difference, if the spread stays as it is."""
  if (
    None in (estimate.low, estimate.high) or has_no_width(estimate) or unit in ('ratio', 'exponent')
  ):
    return []
  size = abs(estimate.value)
  room = size if question.margin is None else abs(question.margin - size)
  trials = trials_needed(estimate, room, estimate.confidence)
  if question.margin is not None:
    return [Reason('crosses_margin', margin=question.margin, trials=trials)]
  half = (estimate.high - estimate.low) / 2
  return [Reason('contains_zero', half=half, trials=trials, unit=unit)]
