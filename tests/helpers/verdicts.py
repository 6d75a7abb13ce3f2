"""The verdicts of a summary held against the truth of its world."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED
from bsjax.config.metrics import judged
from helpers.worlds import Truth, World

VAL = judged().val

Summary = Mapping[str, Any]
ALIKE = 1e-9  # points; below it two planted accuracies are the same
POINTS = 100.0
# The confounds in summary['confounds'] that are the cause that a world plants, and what is said of
# them: runs can tell that a number of updates explains a difference, not what tuning would bring.
CONFOUND_CODES = {
  'updates': ('explains', ('unequal_updates',)),
  'learning_rate': ('present', ('learning_rate_not_tuned', 'optimum_at_grid_edge')),
  'batch_norm': ('explains', ('stale_batch_norm',)),
}


class Named(NamedTuple):
  """The differences that a headline names: pairs (better, worse), and 'smaller' or 'larger'."""

  pairs: tuple[tuple[int, int], ...]
  trend: str | None


def named(summary: Summary) -> Named:
  """What the headline names, by codes: what `report/text/answer.py` makes its sentence of.

  Pairs that are supported come first ("batch size A beats B"). The trend at equal epochs is in the
  headline only where pairs were compared and none was shown.
  """
  shown, compared = [], False
  for claim in claims(summary, 'pair', 'above'):
    compared = True
    if claim['verdict'] == SUPPORTED:
      shown.append(tuple(claim['subject']))
  trend = None
  if compared and not shown:
    for claim in claims(summary, 'trend', 'below'):
      if claim['budget'] == 'epochs':
        trend = {SUPPORTED: 'smaller', REFUTED: 'larger'}.get(claim['verdict'])
  return Named(tuple(shown), trend)


def untrue_headline(summary: Summary, truth: Truth) -> bool:
  """Whether the headline names a difference that tuned batch sizes do not have.

  A pair is untrue unless the first is better at its best learning rate than the second at its own;
  a trend unless the slope of these accuracies on log2(batch size) has its sign. That a difference
  is there at the learning rates tried, or under running BatchNorm statistics, makes it not true.
  """
  headline = named(summary)
  if any(not _better(truth, *pair) for pair in headline.pairs):
    return True
  slope = truth.slope('epochs')
  return headline.trend is not None and (slope >= 0 if headline.trend == 'smaller' else slope <= 0)


def false_headline(summary: Summary, truth: Truth) -> bool:
  """Whether the headline is untrue and no cause is named that explains it away.

  The cause is the one that the world plants, such as learning rates that were not tuned, and it is
  named where `summary['confounds']` has it as present.
  """
  return untrue_headline(summary, truth) and not cause_named(summary, truth.confound)


def cause_named(summary: Summary, confound: str | None) -> bool:
  """Whether the headline has the cause, by `summary['confounds']`."""
  if confound is None:
    return False
  said, codes = CONFOUND_CODES[confound]
  return any(row[said] is True and row['confound'] in codes for row in summary.get('confounds', ()))


def false_pairs(summary: Summary, truth: Truth) -> int:
  """Claims "A beats B" that are supported and not true, or refuted and true."""
  wrong = 0
  for claim in claims(summary, 'pair', 'above'):
    first, second = claim['subject']
    said = {SUPPORTED: (first, second), REFUTED: (second, first)}.get(claim['verdict'])
    wrong += said is not None and not _better(truth, *said)
  return wrong


def false_alike(summary: Summary, truth: Truth) -> int:
  """Claims that two batch sizes are alike within the margin, on the wrong side of it."""
  wrong = 0
  for claim in claims(summary, 'pair', 'within'):
    a, b = claim['subject']
    margin = POINTS * claim['question']['margin']
    alike = abs(truth.best[a] - truth.best[b]) < margin
    wrong += claim['verdict'] == (REFUTED if alike else SUPPORTED)
  return wrong


def false_trend(summary: Summary, truth: Truth, clock: str) -> bool:
  """Whether a change of validation accuracy with batch size is claimed with the wrong sign.

  Where nothing changes, either sign is wrong.
  """
  slope = truth.slope(clock)
  wrong = {SUPPORTED: slope >= 0, REFUTED: slope <= 0}
  return any(
    wrong.get(claim['verdict'], False)
    for claim in claims(summary, 'trend', 'below')
    if claim['budget'] == clock
  )


def claims(summary: Summary, kind: str, side: str) -> Iterator[Mapping[str, Any]]:
  """The claims about validation accuracy of a kind that ask for a side."""
  for claim in summary['claims']:
    if (claim['kind'], claim['quantity'], claim['question']['side']) == (kind, VAL, side):
      yield claim


def shown_worse(summary: Summary, truth: Truth) -> tuple[int, int]:
  """How many batch sizes truly worse than the best are shown to be below a better one; and all."""
  best = max(truth.best.values())
  worse = {size for size, accuracy in truth.best.items() if accuracy < best - ALIKE}
  shown = {
    other
    for claim in claims(summary, 'pair', 'above')
    if claim['verdict'] == SUPPORTED
    for better, other in [claim['subject']]
    if _better(truth, better, other)
  }
  return len(shown & worse), len(worse)


def lost(summary: Summary, truth: Truth) -> int:
  """Batch sizes that take part in no claim "A beats B"."""
  sizes = {size for claim in claims(summary, 'pair', 'above') for size in claim['subject']}
  return len(set(truth.best) - sizes)


def critical(summary: Summary, truth: Truth) -> dict[str, Any]:
  """'given', 'bounded' and 'covers' of the interval of B_crit; the latter None where not given.

  'covers' is None too where the truth is not known, 'log_width', the log of the ratio of the ends,
  where that is infinite.
  """
  ends = summary['critical_batch_size'].get('ci95', [None, None])
  unbounded = summary['critical_batch_size'].get('unbounded', False)
  if ends == [None, None] and not unbounded:
    return {'given': False, 'bounded': None, 'covers': None, 'log_width': None}
  low, high = ends[0] or 0.0, math.inf if ends[1] is None else ends[1]
  return {
    'given': True,
    'bounded': math.isfinite(high),
    'covers': None if math.isnan(truth.b_crit) else low <= truth.b_crit <= high,
    'log_width': math.log(high / low) if low > 0 and math.isfinite(high) else None,
  }


class Recommended(NamedTuple):
  """Points lost by following the recommendation; None where there is none.

  `regret` is at the best rate of the batch size recommended, `at_rate` at the rate recommended
  (None where each study has best rates of its own).
  `covers`: a best batch size is recommended, has the highest mean, or is not shown to be worse.
  """

  regret: float | None = None
  at_rate: float | None = None
  covers: bool | None = None


def recommended(summary: Summary, world: World, truth: Truth) -> Recommended:
  """The recommendation for the best validation accuracy."""
  row = next(row for row in summary['recommendation'] if row['quantity'] == VAL)
  size, best = row['batch_size'], max(truth.best.values())
  if size is None:
    return Recommended()
  members = {size}
  for reason in row['reasons']:
    members |= {reason['best']} if reason['code'] == 'highest_mean' else set()
    members |= set(reason['sizes']) if reason['code'] == 'not_shown_worse' else set()
  return Recommended(
    best - truth.best[size],
    None if world.unaligned else best - world.accuracy(size, row['learning_rate']),
    any(truth.best[member] > best - ALIKE for member in members),
  )


def _better(truth: Truth, first: int, second: int) -> bool:
  return truth.best[first] > truth.best[second] + ALIKE
