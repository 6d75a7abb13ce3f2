"""Claims about the best batch size against every other, from differences within trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims import confounds, verdicts
from bsjax.analysis.claims.verdicts import MARGIN, UNDETERMINED, Rule, claim
from bsjax.analysis.runs.histories import Setting
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import Difference, against_best

Values = Mapping[int, Sequence[float | None]]


def pair_claims(
  found: Mapping[int, Sequence[Setting]],
  chosen: Mapping[int, Setting],
  values: Values,
  reestimated: Values | None = None,
  margin: float = MARGIN,
) -> list[dict[str, Any]]:
  """The best batch size against every other: 'beats', and 'differ by less than the margin'.

  `values` are as for `claims`. Verdicts go by the simultaneous intervals of all pairs, which are
  stricter than Holm's test; its adjusted p-value comes along as 'p_holm'.
  """
  usable, why_not = usable_values(values)
  out = left_out(why_not)
  limit = f'{100 * margin:g} percentage points in validation accuracy'
  result = []
  for pair in against_best(usable):
    best, other = pair.best, pair.other
    second = again(pair, reestimated)
    near, differ = verdicts.near(0.0, margin), f'batch sizes {best} and {other} differ'
    both = [size for size in (best, other) if size in chosen]
    context = confounds.tuning(found, chosen, both)
    context += confounds.budget(chosen, both) if len(both) == 2 else []
    for text, rule, edge in (
      (f'batch size {best} beats {other}', verdicts.above, None),
      (f'{differ} by less than {limit}', near, margin),
    ):
      verdict, why = _judge(rule, pair, second, edge)
      row = claim(text, verdict, pair.interval, 'fraction', [*why, *context, *out])
      result.append(row | {'p_holm': pair.p_holm, 'confidence': pair.confidence})
  return result


def usable_values(values: Values) -> tuple[dict[int, np.ndarray], dict[int, str]]:
  """The batch sizes with a finite value for every trial, and why the others have not."""
  most = max((len(column) for column in values.values()), default=0)
  usable, why = {}, {}
  for size, column in sorted(values.items()):
    numbers = np.array(column, dtype=np.float64)  # None becomes NaN
    if not numbers.size or numbers.size < most:
      why[size] = f'it has {numbers.size} of {most} trials'
    elif not np.isfinite(numbers).all():
      why[size] = 'a trial has no finite value'
    else:
      usable[size] = numbers
  return usable, why


def left_out(why_not: Mapping[int, str]) -> list[str]:
  """A sentence for each batch size that `usable_values` has left out."""
  return [f'Batch size {size} takes no part ({why}).' for size, why in why_not.items()]


def again(pair: Difference, reestimated: Values | None) -> Estimate | None:
  """The same difference with re-estimated statistics; None without any."""
  if reestimated is None:
    return None
  usable, _ = usable_values(reestimated)
  if pair.best not in usable or pair.other not in usable:
    return Estimate(None)
  return mean_interval(usable[pair.best] - usable[pair.other], pair.confidence)


def _judge(
  rule: Rule, pair: Difference, second: Estimate | None, margin: float | None
) -> tuple[str, list[str]]:
  """The verdict, and why; undetermined where the statistics of BatchNorm decide it."""
  unit = 'percentage points'
  verdict = rule(pair.interval)
  why = [verdicts.found_text(pair.interval, unit, pair.confidence)]
  if pair.interval.low is not None:
    why.append(
      'Intervals of all pairs hold together with 95%: which is best is read off the same numbers.'
    )
  if verdict == UNDETERMINED:
    why.append(verdicts.need_text(pair.interval, unit, margin, pair.confidence))
    if margin is None and pair.p_holm is not None and pair.p_holm <= 0.05:
      why.append(f"Holm's test alone would call it a difference (adjusted p = {pair.p_holm:.2g}).")
  if second is not None and (other := rule(second)) != verdict:
    why.append(
      f'With the running statistics of BatchNorm it would be {verdict}, with re-estimated ones '
      f'{other}: what differs may be the statistics.'
    )
    verdict = UNDETERMINED
  return verdict, why
