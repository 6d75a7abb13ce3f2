"""Claims about the best batch size against every other, from differences within trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import ABOVE, MARGIN, UNDETERMINED, Claim, Kind, judge, within
from bsjax.analysis.measures.contrast import Effect, difference, exact, of_columns
from bsjax.analysis.runs.budgets import Reading
from bsjax.analysis.runs.histories import Setting
from bsjax.config.metrics import VAL
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import against_best

Values = Mapping[int, Sequence[float | None]]


class Pair(NamedTuple):
  """The best batch size less another, also under re-estimated BatchNorm statistics if any."""

  best: int
  other: int
  plain: Effect
  again: Effect | None
  p_holm: float | None


def pair_claims(
  tried: Mapping[int, Sequence[Setting]],
  chosen: Mapping[int, Setting],
  values: Values,
  reestimated: Values | None = None,
  margin: float = MARGIN,
) -> list[Claim]:
  """The best batch size against every other: whether it beats it, and whether both are alike.

  `values` are validation accuracies, one for each trial in one order; they may come from trials
  other than those the learning rates were chosen on. `reestimated` are the same with re-estimated
  BatchNorm statistics. Verdicts go by the simultaneous intervals of all pairs, which are stricter
  than Holm's test; its adjusted p-value comes along as 'p_holm'.
  """
  compared, out = pairs_with_best(values, reestimated)
  claims = []
  for pair in compared:
    sizes = [size for size in (pair.best, pair.other) if size in chosen]
    context = confounds.tuning(tried, chosen, sizes)
    context += confounds.updates(chosen, sizes) if len(sizes) == 2 else []
    for question in (ABOVE, within(margin)):
      family = _family(pair, question.verdict(pair.plain.interval), question.margin is None)
      claims.append(
        judge(
          question,
          pair.plain,
          pair.again,
          [*family, *context, *out],
          kind=Kind.PAIR,
          subject=(pair.best, pair.other),
          quantity=VAL,
          budget='epochs',
          columns={'p_holm': pair.p_holm},
        )
      )
  return claims


def pairs_with_best(
  values: Values, reestimated: Values | None = None
) -> tuple[list[Pair], list[Reason]]:
  """The batch size of the highest mean against every other, and which sizes take no part.

  Intervals hold with 95% for all pairs at once. Batch sizes with a value that is None or not
  finite, or with fewer trials than others, take no part.
  """
  usable, problems = usable_values(values)
  fresh = usable_values(reestimated)[0] if reestimated is not None else {}
  readings = {
    size: of_columns(range(len(column)), {'value': column}) for size, column in fresh.items()
  }
  pairs = []
  for best, other, interval, p_holm, confidence in against_best(usable):
    both = [readings.get(size, Reading()) for size in (best, other)]
    again = difference(*both, 'value', confidence) if reestimated is not None else None
    pairs.append(Pair(best, other, exact(interval), again, p_holm))
  return pairs, confounds.left_out(problems)


def usable_values(values: Values) -> tuple[dict[int, np.ndarray], dict[int, Reason]]:
  """The batch sizes with a finite value for every trial, and why the others have not."""
  most = max((len(column) for column in values.values()), default=0)
  usable, problems = {}, {}
  for size, column in sorted(values.items()):
    numbers = np.array(column, dtype=np.float64)  # None becomes NaN
    if not numbers.size or numbers.size < most:
      problems[size] = Reason('fewer_trials', trials=numbers.size, of=most)
    elif not np.isfinite(numbers).all():
      problems[size] = Reason('trial_not_finite')
    else:
      usable[size] = numbers
  return usable, problems


def _family(pair: Pair, verdict: str, about_sign: bool) -> list[Reason]:
  """What the simultaneous intervals are, and what Holm's test alone would say."""
  reasons = [Reason('all_pairs')] if pair.plain.interval.low is not None else []
  if verdict == UNDETERMINED and about_sign and pair.p_holm is not None and pair.p_holm <= 0.05:
    reasons.append(Reason('holm_alone', p_value=pair.p_holm))
  return reasons
