"""Claims about the best batch size against every other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import Claim, Family, Kind, better, judge, within
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import Effect
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.stats.estimate import Estimate, Reason

# What is asked of the family, so that it errs in less than 5% of studies: windows and tops are read
# off the same runs, which costs about half a percent of them (experiments/verdicts).
JOINT = 0.96


class Pair(NamedTuple):
  """The best batch size less another, also under re-estimated BatchNorm statistics if any."""

  best: int
  other: int
  plain: Effect
  again: Effect | None
  p_adjusted: float | None


class Ranking(NamedTuple):
  """The best batch size against every other, and which take no part.

  `confidence` is that of each interval; at it those of all pairs and of the trend hold together
  with 95%. `again` is the one under re-estimated statistics.
  """

  pairs: list[Pair]
  out: list[Reason]
  confidence: float
  again: float


def rank(read: Mapping[int, Reading], quantity: str = '', joint: float = JOINT) -> Ranking:
  """The batch size of the best mean against every other; by default of the validation metric.

  The family is that of *all* pairs, as which one is the best was read off the same numbers, and of
  the trend, which is quoted where no pair is told apart. `joint` is what is asked of it.
  """
  quantity = quantity or judged().val
  plain, fresh = Comparison(read, quantity), Comparison(read, REESTIMATED + quantity)
  both = any(REESTIMATED + quantity in reading.values for reading in read.values())
  out = confounds.left_out(plain.out)
  confidence = plain.pairs_and_slope.confidence(joint) if len(plain.sizes) > 1 else 0.95
  again = fresh.pairs_and_slope.confidence(joint) if both and len(fresh.sizes) > 1 else confidence
  if len(plain.sizes) < 2:
    return Ranking([], out, confidence, again)
  best = max(
    zip(plain.sizes, plain.means, strict=True), key=lambda at: judged().metric.merit(at[1])
  )[0]
  pairs = []
  for other in plain.sizes:
    if other == best:
      continue
    difference = plain.difference(best, other, confidence)
    fresh_one = Effect(Estimate(None, confidence=again)) if both else None
    if both and {best, other} <= set(fresh.sizes):
      fresh_one = fresh.difference(best, other, again)
    p = plain.pairs_and_slope.adjusted(difference.interval)
    pairs.append(Pair(best, other, difference, fresh_one, p))
  return Ranking(pairs, out, confidence, again)


def pair_claims(
  tried: Tried,
  chosen: Chosen,
  read: Mapping[int, Reading],
  ranking: Ranking,
  margin: float | None = None,
) -> list[Claim]:
  """The best batch size against every other: whether it beats it, and whether both are alike.

  `read` holds the batch sizes at equal epochs, and `ranking` is theirs.
  """
  claims = []
  for pair in ranking.pairs:
    sizes = [pair.best, pair.other]
    context = [*confounds.tuning(tried, chosen, sizes), *confounds.updates(chosen, sizes, read)]
    asked = (better(), Family.HEADLINE, [pair.other]), (within(margin), Family.SAME, sizes)
    for question, family, known in asked:
      claims.append(
        judge(
          question,
          pair.plain,
          pair.again,
          [*context, *ranking.out],
          confounds.skipped(chosen, known),
          kind=Kind.PAIR,
          subject=(pair.best, pair.other),
          quantity=judged().val,
          budget='epochs',
          family=family,
          columns={'p_adjusted': pair.p_adjusted},
        )
      )
  return claims
