"""When an interval supports or refutes a claim, and the sentences that say why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.paired import MOST_TRIALS, has_no_width, trials_needed

SUPPORTED, REFUTED, UNDETERMINED = 'supported', 'refuted', 'undetermined'

Rule = Callable[[Estimate], str]


MARGIN = 0.005  # half a percentage point of accuracy: a smaller difference counts as none


@runtime_checkable
class Bounded(Protocol):
  """An interval, and where its ends lie if values between records are not on straight lines."""

  @property
  def interval(self) -> Estimate: ...
  @property
  def low(self) -> float | None: ...
  @property
  def high(self) -> float | None: ...


def claim(
  text: str, verdict: str, interval: Estimate, unit: str, why: Sequence[str | Reason]
) -> dict[str, Any]:
  """A claim as summary.json holds it; `unit` is that of effect and interval."""
  mean, low, high, n = interval.value, interval.low, interval.high, interval.n
  return {
    'claim': text,
    'verdict': verdict,
    'effect': mean,
    'ci95': [low, high],
    'n': n,
    'unit': unit,
    'why': paragraph(why),
  }


def paragraph(parts: Sequence[str | Reason]) -> str | Reason:
  """What is not empty, one after the other; a reason where one of the parts is one."""
  parts = [part for part in parts if part]
  if any(isinstance(part, Reason) for part in parts):
    return Reason('paragraph', parts=parts)
  return ' '.join(parts)


def above(interval: Estimate) -> str:
  """Of the claim that the value is above zero: does the whole interval lie on one side?"""
  return _where(interval, lambda low, high: low > 0, lambda low, high: high < 0)


def below(interval: Estimate) -> str:
  """Of the claim that the value is below zero."""
  return _where(interval, lambda low, high: high < 0, lambda low, high: low > 0)


def near(center: float, margin: float) -> Rule:
  """The rule of the claim that the value lies within a margin of the center.

  Refuted only if the whole interval lies outside: to find no difference is not to show that there
  is none, and to find one is not to show that it matters.
  """
  if not margin > 0:
    raise ValueError(
      f'margin is {margin}: give the largest difference that counts as none, above zero.'
    )
  return lambda interval: _where(
    interval,
    lambda low, high: center - margin < low and high < center + margin,
    lambda low, high: low > center + margin or high < center - margin,
  )


def settle(
  rule: Rule, plain: Bounded, again: Bounded | None = None, scale: int | float = 100
) -> tuple[str, list[str]]:
  """The verdict that stands whatever the statistics of BatchNorm and the lines between records.

  `again` is the same with re-estimated statistics. The sentences say what leaves it undetermined.
  """
  verdict = rule(plain.interval)
  if again is not None and (other := rule(again.interval)) != verdict:
    return UNDETERMINED, [
      f'With the running statistics of BatchNorm it would be {verdict}, with re-estimated ones '
      f'{other}: what differs may be the statistics.'
    ]
  for one in (plain, again):
    if one is not None and rule(_wide(one)) != verdict:
      return UNDETERMINED, [
        f'It would be {verdict} if the curves were straight between their records. For any values '
        f'between these the interval is {points(one.low, scale)} to {points(one.high, scale)}: '
        'evaluate more often.'
      ]
  return verdict, []


def points(value: float, scale: int | float = 100) -> str:
  """A difference with its sign; of fractions, by the usual scale, in percentage points."""
  return f'{scale * value:+.3g}'


def of_accuracies(
  text: str,
  rule: Rule,
  kinds: Sequence[Estimate],
  confidence: float,
  margin: float | None = None,
) -> dict[str, Any]:
  """A claim about a difference of accuracies that every kind of BatchNorm statistics answers alike.

  `kinds` are the interval by running statistics, and where there are any by re-estimated ones;
  `margin` is that of a rule made by `near`.
  """
  found, unit = [rule(interval) for interval in kinds], 'percentage points'
  why = [found_text(kinds[0], unit, confidence)]
  if len(set(found)) > 1:
    why.append(
      f'With the running statistics of BatchNorm it would be {found[0]}, with re-estimated ones '
      f'{found[1]}: what differs may be the statistics.'
    )
    return claim(text, UNDETERMINED, kinds[0], 'fraction', why)
  if found[0] == UNDETERMINED:
    why.append(need_text(kinds[0], unit, margin, confidence))
  return claim(text, found[0], kinds[0], 'fraction', why)


def found_text(
  interval: Estimate, unit: str, confidence: float = 0.95, scale: int | float = 100
) -> str:
  """The mean with its interval and n, as a sentence; `scale` is what the unit multiplies by."""
  mean, low, high, n = interval.value, interval.low, interval.high, interval.n
  if low is None:
    found = points(mean, scale)
    return f'Found: {found} {unit}, n = {n}: one trial has no spread and shows nothing.'
  level = f'{100 * confidence:.3g}% interval'
  value, *ends = (points(number, scale) for number in (mean, low, high))
  text = f'Found: {value} {unit}, {level} {ends[0]} to {ends[1]}, n = {n}.'
  if has_no_width(interval):
    text += (
      ' All trials gave the same number, so the validation split is too coarse to see their spread '
      'and the interval proves nothing: use more validation examples.'
    )
  return text


def need_text(
  interval: Estimate,
  unit: str,
  margin: float | None = None,
  confidence: float = 0.95,
  scale: int | float = 100,
) -> str:
  """What would decide a claim: about a sign, or with `margin` about no difference.

  Empty where no spread is known. The numbers of trials hold if mean and spread stay as they are.
  """
  if interval.low is None or has_no_width(interval):
    return ''
  half = (interval.high - interval.low) / 2
  size = abs(interval.value)
  room = size if margin is None else abs(margin - size)
  needed = trials_needed(interval, room, confidence)
  count = f'more than {MOST_TRIALS}' if needed is None else f'about {needed}'
  if margin is not None:
    return (
      f'The interval crosses the margin of {100 * margin:g} percentage points; {count} trials of '
      'this spread would decide it.'
    )
  return (
    f'The interval contains zero: an effect above {scale * half:.3g} {unit} would have been seen, '
    f'one as small as that found needs {count} trials of this spread.'
  )


def _wide(found: Bounded) -> Estimate:
  return replace(found.interval, low=found.low, high=found.high)


def _where(
  interval: Estimate,
  holds: Callable[[float, float], bool],
  fails: Callable[[float, float], bool],
) -> str:
  """A bound of None does not bound; without any, or without width, nothing is shown."""
  low, high, n = interval.low, interval.high, interval.n
  if (low is None and high is None) or n < 2 or has_no_width(interval):
    return UNDETERMINED
  low, high = -math.inf if low is None else low, math.inf if high is None else high
  if holds(low, high):
    return SUPPORTED
  return REFUTED if fails(low, high) else UNDETERMINED
