"""The next round of a study: learning rates around the best ones, then trials, until it is decided.

Pure: from what the rounds up to now have said to the runs that are missing most, or to why none is
planned and what a decision would take.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import UNDETERMINED, Claim
from bsjax.analysis.decide import critical
from bsjax.analysis.decide.claims import FACTOR
from bsjax.analysis.decide.looks import (
  MOST_RATE_ROUNDS,
  Look,
  Round,
  asked_about,
  decided,
  rate_rounds,
  shown,
  spending,
)
from bsjax.analysis.decide.rates import kept
from bsjax.config.decide_keys import BEST, BEST_RATE, CRITICAL, EQUIVALENT, TREND, Asked, asked
from bsjax.config.metrics import judged
from bsjax.plan.rounds import Box
from bsjax.stats.estimate import Estimate
from bsjax.stats.paired import trials_needed

MOST_GROWTH = 2.25  # of the trials in one round, whatever the spread asks for


class Plan(NamedTuple):
  """What comes next: boxes and why, or none and why not.

  `why`: 'rates', 'trials', 'sizes'; 'decided', 'most_trials', 'budget', 'no_rates'. `lane_examples`
  are what the boxes take. `trials` is how many of each setting would decide the question, a bound
  from the upper end of the spread, and `more` the examples that these would take besides; None: not
  known.
  `bounded`: whether it was held against a budget, if there is one.
  """

  boxes: Round
  why: str
  lane_examples: int = 0
  trials: int | None = None
  more: int | None = None
  bounded: bool = True


def next_round(
  config: Mapping[str, Any], found: Sequence[Look], left: float | None = math.inf
) -> Plan:
  """The round after those found; `left` is what it may take, in lane-examples.

  Where that is not known (None), as no round was timed yet, trials go up by the smallest step.
  """
  question = asked(config['decide'])
  assert question is not None
  look, sizes = found[-1], asked_about(question, found[-1].tried)
  if decided(question, sizes, found):
    return Plan((), 'decided')
  if look.behind:
    boxes = tuple(
      Box((size,), tuple(one.learning_rate for one in look.tried[size]), look.trials)
      for size in look.behind
    )
    return _paid(Plan(boxes, 'trials', _cost(boxes, found)), left)
  lacking = look.lacks_rates
  if lacking and look.error is None and rate_rounds(found) <= MOST_RATE_ROUNDS:
    boxes = tuple(Box((size,), one.add, look.trials) for size, one in lacking.items())
    return _paid(Plan(boxes, 'rates', _cost(boxes, found)), left)
  if boxes := _beyond(look):
    return _paid(Plan(boxes, 'sizes', _cost(boxes, found)), left)
  going = open_sizes(question, sizes, found)
  if question.kind != CRITICAL:  # of which those that never reach the target are a part
    going = [size for size in going if size in look.tuned]
  rungs = [rung for rung in spending(config) if rung > look.trials]
  if not _may_decide(question, sizes, found, going):
    return Plan((), 'no_rates')
  trials, more = needed(question, sizes, found, going)
  if not rungs:
    return Plan((), 'most_trials', 0, trials, more)
  rung = rungs[0] if left is None else _rung(question, spending(config), look, rungs)
  boxes = tuple(Box((size,), _rates(question, look, size), rung) for size in going)
  return _paid(Plan(boxes, 'trials', _cost(boxes, found), trials, more), left)


def _beyond(look: Look) -> Round:
  """A batch size beyond those there, where the critical one is estimated there."""
  new = critical.next_size(look.tried, look.critical) if look.critical else None
  if new is None or new[1] not in look.tuned:
    return ()
  size, beside = new
  rates = critical.kept(look.tried[beside], look.tuned[beside])
  return (Box((size,), rates, look.trials),)


def _open(question: Asked, sizes: Sequence[int], found: Sequence[Look]) -> set[int]:
  """The batch sizes on which the question still hangs."""
  if question.kind == BEST:
    return {one.size for one in shown(question, sizes, found) if one.state == 'open'}
  return set(sizes) - {one.batch_size for one in found[-1].known if one.known}


def _may_decide(
  question: Asked, sizes: Sequence[int], found: Sequence[Look], going: Sequence[int]
) -> bool:
  """Whether more trials of those that have a learning rate can answer more of the question."""
  if question.kind == CRITICAL:
    return len(found[-1].tuned) > 2
  left = _open(question, sizes, found)
  if question.kind in (EQUIVALENT, TREND):
    return left <= set(going)
  return bool(left & set(going)) and (question.kind == BEST_RATE or len(going) > 1)


def open_sizes(question: Asked, sizes: Sequence[int], found: Sequence[Look]) -> list[int]:
  """The batch sizes that more trials are worth: not those shown to be worse."""
  going = list(found[-1].sizes)
  if question.kind != BEST:
    return going
  worse = {one.size for one in shown(question, sizes, found) if one.state == 'worse'}
  return [size for size in going if size not in worse]


def _rates(question: Asked, look: Look, size: int) -> tuple[float, ...]:
  if question.kind == CRITICAL:
    return critical.kept(look.tried[size], look.tuned.get(size))
  return kept(look.tried[size], look.tuned[size])


def _paid(plan: Plan, left: float | None) -> Plan:
  """The plan, or none where it takes more than is left."""
  if left is None:
    return plan._replace(bounded=False)
  if plan.lane_examples <= left:
    return plan
  return plan._replace(boxes=(), why='budget')


def _cost(boxes: Round, found: Sequence[Look]) -> int:
  """The examples of the runs that are not there yet."""
  each = next(iter(found[0].tried.values()))[0].lanes[0].plan['examples']
  trained = {
    (size, setting.learning_rate): len(setting.lanes)
    for look in found
    for size, settings in look.tried.items()
    for setting in settings
  }
  settings = (
    (box.trials, (size, rate))
    for box in boxes
    for size, rate in itertools.product(box.batch_sizes, box.learning_rates)
  )
  return each * sum(max(0, trials - trained.get(setting, 0)) for trials, setting in settings)


def _undecided(question: Asked, look: Look) -> list[tuple[Estimate, float]]:
  """What is not decided at a look: each interval with what half of it must be below."""
  if question.kind == BEST_RATE:
    most = math.log(question.margin or FACTOR)
    logs = [known.rate.map(math.log) for known in look.known if not known.known]
    return [(log, most) for log in logs if log.low is not None]
  by_pair: dict[tuple, list[Claim]] = {}
  for claim in look.claims:
    by_pair.setdefault(claim.subject, []).append(claim)
  parts = []
  for claims in by_pair.values():
    if all(claim.verdict == UNDETERMINED for claim in claims) and claims[-1].estimate.has_interval:
      estimate = claims[-1].estimate
      gap = abs(estimate.value)
      margin = claims[-1].question.margin or judged().margin
      apart = abs(gap - margin) if question.kind == EQUIVALENT else max(gap, margin - gap)
      parts.append((estimate, apart))
  return parts


def needed(
  question: Asked, sizes: Sequence[int], found: Sequence[Look], going: Sequence[int]
) -> tuple[int | None, int | None]:
  """How many trials of each setting are enough, a bound, and the examples that they take.

  None where that is not known, also as the last look has compared not all that are left.
  """
  looks = [look for look in found if look.error is not None]
  if question.kind == CRITICAL:  # what rates leave in every trial no number of trials takes away
    return None, None
  if not looks or not _open(question, sizes, found) <= _read(looks[-1]):
    return None, None
  parts = _undecided(question, looks[-1])
  counts = [trials_needed(estimate, room, estimate.confidence) for estimate, room in parts]
  if not counts or None in counts:
    return None, None
  most = max(count for count in counts if count is not None)
  boxes = tuple(Box((size,), _rates(question, found[-1], size), most) for size in going)
  return most, _cost(boxes, found)


def _read(look: Look) -> set[Any]:
  """The batch sizes of which a look says something."""
  known = {one.batch_size for one in look.known}
  return known.union(*(claim.subject for claim in look.claims))


def _rung(question: Asked, errors: Mapping[int, float], look: Look, rungs: Sequence[int]) -> int:
  """The next number of trials at which some part may be decided, if the spread stays as it is."""
  parts = _undecided(question, look)
  near = [rung for rung in rungs if rung <= MOST_GROWTH * look.trials] or list(rungs[:1])
  if not parts or not look.error:
    return near[0]
  for rung in near:
    wider = _normal(errors[rung]) / _normal(look.error) * math.sqrt(look.trials / rung)
    if any(wider * (one.high - one.low) / 2 < room for one, room in parts):
      return rung
  return near[-1]


def _normal(error: float) -> float:
  return NormalDist().inv_cdf(1 - error / 2)
