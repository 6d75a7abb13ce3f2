"""What each round of a study could say of the question, and what all looks together decide.

All of it follows from the config, the plan and the records, so that rounds are seen again as they
were: at each one the runs that were there by then, and no later ones. A round that leaves some
batch size that is asked about without rates on both sides of its best one, or with fewer trials
than the others began with, is no look, and spends no error; at each number of trials there is one
look at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import SUPPORTED, Claim
from bsjax.analysis.decide.claims import KnownRate, claims, known_rates
from bsjax.analysis.decide.critical import KnownCritical, aimed, best_rates, known_critical
from bsjax.analysis.decide.rates import Rates, rates_of
from bsjax.analysis.runs.budgets import readings
from bsjax.analysis.runs.dropped import trained
from bsjax.analysis.runs.histories import Row, Setting, settings
from bsjax.analysis.runs.selection import Tuned, tune
from bsjax.config.decide_keys import (
  BEST,
  BEST_RATE,
  CRITICAL,
  EQUIVALENT,
  FACTORS,
  TREND,
  Asked,
  asked,
)
from bsjax.config.metrics import judged
from bsjax.plan.rounds import Box
from bsjax.stats import looks

MOST_RATE_ROUNDS = 6  # one after another, that add learning rates and no look


Round = tuple[Box, ...]  # what is added at once


class Look(NamedTuple):
  """A round: its cost, how the learning rates lie, and, of a look, what it says of the question.

  `trials` is that of the batch sizes that go on, `sizes`; those `behind` had fewer from the start
  and are to come up to it. Both, and all of their `rates`, are of batch sizes asked about; `tried`
  are all. `error` is what it spends; None where it is no look. `lane_examples` are those that
  the runs that came with it were trained on.
  """

  trials: int
  sizes: tuple[int, ...]
  lanes: int
  lane_examples: int
  rates: Mapping[int, Rates]
  tuned: Mapping[int, Tuned]
  tried: Mapping[int, Sequence[Setting]]
  error: float | None = None
  claims: tuple[Claim, ...] = ()
  known: tuple[KnownRate, ...] = ()
  critical: KnownCritical | None = None
  behind: tuple[int, ...] = ()

  @property
  def lacks_rates(self) -> dict[int, Rates]:
    """The batch sizes whose best rate is not surrounded, with what to try next."""
    return {size: rates for size, rates in self.rates.items() if rates.add}

  @property
  def surrounded(self) -> dict[int, Tuned]:
    """The batch sizes with worse rates on both sides of their best one, tuned."""
    return {size: one for size, one in self.tuned.items() if self.rates[size].state == 'bracketed'}


class Shown(NamedTuple):
  """What is shown of a batch size at a look: 'worse' or 'alike' than `best`, or 'open'.

  `claim` is of `best` and this batch size, in that order. Where it is worse, `best` is the best of
  that look, which another may have passed since.
  """

  size: int
  state: str
  best: int | None = None
  claim: Claim | None = None
  look: int | None = None


def replay(
  config: Mapping[str, Any],
  rounds: Sequence[Round],
  plan_rows: Sequence[Row],
  record_rows: Sequence[Row],
) -> list[Look]:
  """Each round as it was when it ended; the first is the grid of the config."""
  question = asked(config['decide'])
  assert question is not None
  errors = spending(config)
  looks: list[Look] = []
  planned_lanes: set[int] = set()
  boxes: list[Box] = []
  for round_ in rounds:
    boxes += round_
    plan = [row for row in plan_rows if any(holds(box, row) for box in boxes)]
    new = [row for row in plan if row['lane'] not in planned_lanes]
    planned_lanes |= {row['lane'] for row in plan}
    rows = [row for row in record_rows if row['lane'] in planned_lanes]
    cost = trained(new, record_rows)
    looks.append(_look(question, settings(plan, rows), new, cost, looks, errors))
  return looks


def holds(box: Box, lane: Row) -> bool:
  """Whether a lane is one of those of a box."""
  sizes, rates, trials = box
  return lane['batch_size'] in sizes and lane['learning_rate'] in rates and lane['trial'] < trials


def asked_about(question: Asked, sizes: Iterable[int]) -> tuple[int, ...]:
  """Those batch sizes of a study that the question is about: all where it names none."""
  return tuple(size for size in sizes if not question.sizes or size in question.sizes)


def spending(config: Mapping[str, Any]) -> dict[int, float]:
  """The numbers of trials at which one may look, each with the error that it may spend."""
  decide = config['decide']
  return looks.spending(looks.ladder(config['trials'], decide['most_trials']), decide['error'])


def _look(
  question: Asked,
  tried: Mapping[int, Sequence[Setting]],
  new: Sequence[Row],
  lane_examples: int,
  before: Sequence[Look],
  errors: Mapping[int, float],
) -> Look:
  about = asked_about(question, tried)
  count = {size: max(len(one.lanes) for one in tried[size]) for size in about}
  trials = max(count.values())
  going = tuple(size for size in about if count[size] == trials)
  # What was left out, for what a look has shown or for want of a rate, has once been among these.
  once_going = {*going, *(size for one in before for size in one.sizes)}
  aim = aimed(tried) if question.kind == CRITICAL else None
  if aim:
    best, rates = best_rates(tried, aim)
  else:
    tuned = {size: tune(tried[size]) for size in going}
    rates = {size: rates_of(tried[size], tuned[size]) for size in going}
    best = {size: one for size, one in tuned.items() if isinstance(one, Tuned)}
  look = Look(
    trials,
    going,
    len(new),
    lane_examples,
    rates,
    best,
    dict(tried),
    behind=tuple(size for size in about if size not in once_going),
  )
  if trials not in errors or any(one.error and one.trials == trials for one in before):
    return look
  if look.behind:
    return look
  if look.lacks_rates and rate_rounds([*before, look]) <= MOST_RATE_ROUNDS:
    return look
  sure = look.surrounded
  known = tuple(known_rates(question, sure, errors[trials])) if question.kind == BEST_RATE else ()
  return look._replace(
    error=errors[trials],
    claims=tuple(_claims(question, tried, sure, errors[trials])),
    known=known,
    critical=known_critical(question, aim, errors[trials]) if aim else None,
  )


def _claims(
  question: Asked,
  tried: Mapping[int, Sequence[Setting]],
  sure: Mapping[int, Tuned],
  error: float,
) -> Iterable[Claim]:
  if question.kind in FACTORS or len(sure) < 2:
    return ()
  return claims(question, tried, sure, readings(sure, 'epochs'), error)


def rate_rounds(found: Sequence[Look]) -> int:
  """How many of the last rounds left batch sizes without rates around the best one."""
  last = [one.error is None for one in reversed(found)]
  return last.index(False) if False in last else len(last)


def leader(found: Sequence[Look]) -> int | None:
  """The batch size of the best mean at the last look that compares any."""
  pairs = [claim for look in found for claim in look.claims if claim.kind == 'pair']
  return pairs[-1].subject[0] if pairs else None


def shown(question: Asked, sizes: Sequence[int], found: Sequence[Look]) -> list[Shown]:
  """Of each batch size that is asked about but the `leader`, what the looks have shown up to now.

  All intervals of all looks hold together, so what one has shown stays shown, also of a batch size
  that has had no further trials since.
  """
  of_size: dict[int, Shown] = {}
  alike: dict[frozenset[int], Shown] = {}
  for number, look in enumerate(found):
    for claim in look.claims:
      if claim.kind != 'pair':
        continue
      best, other = claim.subject
      of_size.setdefault(other, Shown(other, 'open', best, claim, number))
      if claim.verdict == SUPPORTED and claim.question.side == 'within':
        alike[frozenset((best, other))] = Shown(other, 'alike', best, claim, number)
      elif of_size[other].state == 'open' or claim.verdict == SUPPORTED:
        state = 'worse' if claim.verdict == SUPPORTED else 'open'
        of_size[other] = Shown(other, state, best, claim, number)
  first, result = leader(found), []
  for size in question.sizes or sizes:
    if size == first:
      continue
    pair = alike.get(frozenset((first, size)))
    result.append(_from(size, pair) if pair else of_size.get(size, Shown(size, 'open')))
  return result


def _from(size: int, pair: Shown) -> Shown:
  """What is shown of a pair, as of this one of the two."""
  if pair.size == size or pair.claim is None:
    return pair
  claim = replace(pair.claim, subject=(pair.size, size), estimate=pair.claim.estimate.negated())
  return pair._replace(size=size, best=pair.size, claim=claim)


def decided(question: Asked, sizes: Sequence[int], found: Sequence[Look]) -> bool:
  """Whether the question is answered, each of its batch sizes with rates around its best one."""
  last = [look for look in found if look.error is not None][-1:]
  if not last:
    return False
  look = last[0]
  if question.kind == BEST:
    return bool(look.claims) and all(one.state != 'open' for one in shown(question, sizes, found))
  if question.kind == EQUIVALENT:
    within = [claim for one in found for claim in one.claims if claim.question.side == 'within']
    return any(claim.verdict != 'undetermined' for claim in within)
  if question.kind == TREND:
    if not look.claims or set(look.claims[0].subject) != set(sizes):
      return False
    sign, none = look.claims
    return sign.verdict != 'undetermined' or none.verdict == SUPPORTED
  if question.kind == CRITICAL:
    return look.critical is not None and look.critical.known
  return {one.batch_size for one in look.known if one.known} >= set(sizes)


def margin(question: Asked) -> float:
  """The largest difference that counts as none."""
  return question.margin or judged().margin
