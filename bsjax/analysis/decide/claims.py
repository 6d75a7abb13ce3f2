"""The claims by which a question is decided, at a look that may spend so much of the error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bsjax.analysis.claims.claim import Claim, Question, within, worse
from bsjax.analysis.claims.pairs import JOINT, Pair, Ranking, pair_claims, rank
from bsjax.analysis.claims.slopes import trend
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import Effect, both_kinds
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen, Tuned
from bsjax.config.decide_keys import BEST, EQUIVALENT, FACTORS, Asked
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval

FACTOR = 2.0  # within which a learning rate is to be known, where no other margin is given


def joint(error: float) -> float:
  """What is asked of a family that may err with `error`, see `pairs.JOINT`."""
  return 1 - error * (1 - JOINT) / 0.05


def claims(
  asked: Asked, tried: Tried, chosen: Chosen, read: Mapping[int, Reading], error: float
) -> list[Claim]:
  """What the runs say of the question, all claims together wrong with at most `error`.

  `read` holds the batch sizes at equal epochs. Of questions that compare none there are none, see
  `known_rates` and `known_critical`.
  """
  level = joint(error)
  if asked.kind in FACTORS:
    return []
  if asked.kind == BEST:
    return pair_claims(tried, chosen, read, rank(read, joint=level), asked.margin)
  if asked.kind == EQUIVALENT:
    ranking = _one_pair(asked.sizes, read, level)
    return pair_claims(tried, chosen, read, ranking, asked.margin)
  questions: tuple[Question, ...] = worse(), within(asked.margin)
  return [
    trend(question, judged().val, 'epochs', tried, chosen, read, confidence=level)
    for question in questions
  ]


def _one_pair(sizes: tuple[int, ...], read: Mapping[int, Reading], level: float) -> Ranking:
  """The better of two batch sizes less the other, as a family of one."""
  compared = Comparison(read, judged().val)
  if not set(sizes) <= set(compared.sizes):
    return Ranking([], [], level, level)
  means = dict(zip(compared.sizes, compared.means, strict=True))
  best, other = sorted(sizes, key=lambda size: -judged().metric.merit(means[size]))

  def measure(name: str) -> Effect:
    of = Comparison(read, name)
    lost = not {best, other} <= set(of.sizes)
    nothing = Effect(Estimate(None, confidence=level))
    return nothing if lost else of.difference(best, other, level)

  plain, again = both_kinds(measure, read.values(), judged().val)
  return Ranking([Pair(best, other, plain, again, None)], [], level, level)


class KnownRate(NamedTuple):
  """The best learning rate of a batch size; `factor` is how far its interval reaches, or None."""

  batch_size: int
  rate: Estimate
  factor: float | None
  known: bool


def known_rates(asked: Asked, chosen: Chosen, error: float) -> Iterator[KnownRate]:
  """Where the best learning rates lie, all intervals together wrong with at most `error`."""
  confidence = 1 - error / len(chosen) if chosen else 0.95
  for size, best in chosen.items():
    log = _log_rate(best, confidence)
    if log.low is None or log.high is None:
      yield KnownRate(size, log.map(math.exp), None, False)
      continue
    factor = math.exp((log.high - log.low) / 2)
    yield KnownRate(size, log.map(math.exp), factor, factor <= (asked.margin or FACTOR))


def _log_rate(best: Tuned, confidence: float) -> Estimate:
  """The log of the rate at the top, with the spread of what each trial moves it by."""
  moved = list(best.shifts.values())
  if not any(moved):
    return Estimate(math.log(best.best_rate), n=len(moved), confidence=confidence)
  return mean_interval([math.log(best.best_rate) + by for by in moved], confidence)
