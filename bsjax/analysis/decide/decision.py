"""The entry 'decision' of summary.json: what was asked, what the rounds cost, what they showed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import Claim
from bsjax.analysis.decide import critical
from bsjax.analysis.decide.claims import FACTOR, joint
from bsjax.analysis.decide.differences import confounds, differ
from bsjax.analysis.decide.looks import (
  Look,
  Round,
  asked_about,
  decided,
  leader,
  replay,
  shown,
)
from bsjax.analysis.decide.planning import Plan, next_round
from bsjax.analysis.runs.histories import Row
from bsjax.config.decide_keys import BEST, BEST_RATE, FACTORS, Asked, asked
from bsjax.config.metrics import judged
from bsjax.plan import rounds
from bsjax.plan.rounds import Box


class Done(NamedTuple):
  """A round as `decide.rounds` has it: what was added, why, and how long it took."""

  boxes: Round
  why: str = 'first'
  seconds: float | None = None

  @classmethod
  def of(cls, row: Sequence[Any]) -> Done:
    boxes, why, seconds = row
    return cls(tuple(map(Box.of, boxes)), why, seconds)

  @property
  def plain(self) -> tuple[Any, ...]:
    return tuple(map(tuple, self.boxes)), self.why, self.seconds


def rounds_of(config: Mapping[str, Any]) -> list[Done]:
  """The rounds of a study; of one without any the grid of its config."""
  return [Done.of(row) for row in config['decide']['rounds']] or [Done(rounds.of(config))]


def decision(
  config: Mapping[str, Any],
  plan_rows: Sequence[Row],
  record_rows: Sequence[Row],
) -> dict[str, Any]:
  """What the rounds decide.

  'state' is 'decided', or why no round is planned ('budget', 'most_trials', 'no_rates'), or 'open'.
  """
  question = asked(config['decide'])
  assert question is not None
  done, found, plan = _planned(config, plan_rows, record_rows)
  sizes = asked_about(question, found[-1].tried)
  last = next((look for look in reversed(found) if look.error is not None), None)
  factor = question.kind in FACTORS
  return {
    'question': config['decide']['question'],
    'kind': question.kind,
    'margin': question.margin or (FACTOR if factor else judged().margin),
    'error': config['decide']['error'],
    'confidence': joint(last.error) if last and last.error else None,
    'decided': decided(question, sizes, found),
    'state': 'open' if plan.boxes else plan.why,
    'sizes': list(sizes),
    'best': leader(found) if question.kind == BEST else None,
    'shown': _shown(question, sizes, found),
    'differs': differ(question, sizes, found),
    'confounds': confounds(config, question, sizes, found),
    'claims': list(last.claims) if last else [],
    'rates': [one._asdict() for one in last.known] if last and question.kind == BEST_RATE else [],
    'critical': critical.plain(last.critical) if last else None,
    'rounds': [_round(*both) for both in zip(done, found, strict=True)],
    'next': {
      'lane_examples': plan.lane_examples,
      'most_trials_needed': plan.trials,
      'most_examples_needed': plan.more,
    },
  }


def coming(config: Mapping[str, Any], plan_rows: Sequence[Row], record_rows: Sequence[Row]) -> Plan:
  """The round that comes after those of a study."""
  return _planned(config, plan_rows, record_rows)[2]


def _planned(
  config: Mapping[str, Any], plan_rows: Sequence[Row], record_rows: Sequence[Row]
) -> tuple[list[Done], list[Look], Plan]:
  question, done = asked(config['decide']), rounds_of(config)
  assert question is not None
  # As it was before trials were added: looks are counted from there.
  first = [box.trials for box in done[0].boxes if asked_about(question, box.batch_sizes)]
  config = {**config, 'trials': max(first)}
  looks = replay(config, [one.boxes for one in done], plan_rows, record_rows)
  return done, looks, next_round(config, looks, budget_left(config, looks, done))


def budget_left(
  config: Mapping[str, Any], found: Sequence[Look], done: Sequence[Done]
) -> float | None:
  """What rounds may still take, in lane-examples; of minutes by how long the timed ones took.

  Rounds that are not timed count as if they had been as fast; where none is, it is not known: None.
  """
  decide = config['decide']
  spent = sum(look.lane_examples for look in found)
  if not decide['budget']:
    return math.inf
  if decide['budget_unit'] == 'lane_examples':
    return decide['budget'] - spent
  timed = [(one.seconds, look.lane_examples) for one, look in zip(done, found, strict=True)]
  known = [(seconds, examples) for seconds, examples in timed if seconds]
  if not known:
    return None
  took = sum(seconds for seconds, _ in known)
  return rounds.budget_seconds(decide) * sum(examples for _, examples in known) / took - spent


def _shown(question: Asked, sizes: Sequence[int], found: Sequence[Look]) -> list[dict[str, Any]]:
  if question.kind != BEST:
    return []
  return [
    {
      'batch_size': one.size,
      'state': one.state,
      'best': one.best,
      'round': None if one.look is None else one.look + 1,
      **(one.claim.estimate.to_json('effect') if one.claim else {}),
    }
    for one in shown(question, sizes, found)
  ]


def _round(done: Done, look: Look) -> dict[str, Any]:
  return {
    'why': done.why,
    'boxes': [list(box) for box in done.boxes],
    'lanes': look.lanes,
    'lane_examples': look.lane_examples,
    'seconds': done.seconds,
    'trials': look.trials,
    'sizes': list(look.sizes),
    'behind': list(look.behind),
    'error': look.error,
    'rates': {str(size): rates.state for size, rates in look.rates.items()},
    'intervals': [_interval(claim) for claim in look.claims],
    'known': [one._asdict() for one in look.known],
    'critical': critical.plain(look.critical),
  }


def _interval(claim: Claim) -> dict[str, Any]:
  """A claim in few numbers; all of the last look stand under 'claims'."""
  return {
    'kind': str(claim.kind),
    'subject': list(claim.subject),
    'side': claim.question.side,
    'verdict': claim.verdict,
    **claim.estimate.to_json('effect'),
    'unit': claim.unit,
  }
