"""Which batch size to take for a goal, and how much of that the trials show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import SUPPORTED, Finding, Question, better, within
from bsjax.analysis.claims.pairs import Pair, Ranking
from bsjax.analysis.goals_to_target import row_of, to_target
from bsjax.analysis.measures.borrowed_rates import borrowed_rates
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.selection import Chosen, Tuned
from bsjax.config.decide_keys import BEST
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason


def recommendation(
  chosen: Chosen,
  ranking: Ranking,
  critical: Mapping[str, Any],
  tried: Tried | None = None,
  asked: Mapping[str, Any] | None = None,
) -> list[Finding]:
  """One row for each goal, {'goal', 'batch_size', 'learning_rate'}; batch_size None if not shown.

  `ranking` is that of the batch sizes at equal epochs; `tried` are all learning rates, to tell
  whether one that is recommended is at the edge of those tried; `asked` is the decision of a study
  that goes on in rounds, which may have shown a batch size to be worse that is not ranked any more.

  `critical` is {'target', 'points': [{'batch_size', 'learning_rate', 'examples': [a number or None
  for each trial]}], ...} or {'undefined': why}.
  """
  return [_most_accurate(chosen, ranking, tried or {}, asked), *to_target(critical)]


def _most_accurate(
  chosen: Chosen, ranking: Ranking, tried: Tried, asked: Mapping[str, Any] | None
) -> Finding:
  """The highest mean, or the largest batch size shown to be as good within the margin.

  One that was only not shown to be worse is not taken: with few trials that is nearly every one.
  """
  pairs, out = ranking.pairs, ranking.out
  if not pairs:
    apart = [reason.details['size'] for reason in out]
    whole = [size for size in chosen if size not in apart]
    return row_of(judged().val, None, [Reason('nothing_to_compare', sizes=whole), *out])
  best, n = pairs[0].best, pairs[0].plain.interval.n
  if n < 2:
    return row_of(judged().val, None, [Reason('one_trial_highest', best=best), *out])
  # Where either is read beside its best rates, it may be the better of the two.
  beside = confounds.skipped(chosen, [best, *(pair.other for pair in pairs)])
  unsure = {reason.details['size'] for reason in beside}
  level = {p.other: p for p in pairs if p.other in unsure or not _shown(p, better())}
  worse = _shown_worse([pair.other for pair in pairs if pair.other not in level], best, asked)
  beaten = worse.details['sizes']
  level = {pair.other: pair for pair in pairs if pair.other not in beaten}
  out = [reason for reason in out if reason.details['size'] not in beaten]
  alike = [other for other, pair in level.items() if _shown(pair, within())]
  size = max([best, *(other for other in alike if not unsure & {best, other})])
  why = [
    Reason('highest_mean', best=best, trials=n),
    worse,
    Reason('not_shown_worse', sizes=list(level)),
  ]
  if size != best:
    why.append(Reason('as_good', size=size, best=best, margin=judged().margin))
  largest = max(level, default=best)
  if largest > size:
    # How much may be lost by taking a larger batch size that was not shown to be worse.
    difference = level[largest].plain.interval
    ends = {'value': difference.value, 'low': difference.low, 'high': difference.high}
    why.append(Reason('at_stake', best=best, other=largest, **ends))
  taken, borrowed = _rate(chosen, size)
  why += borrowed
  if size in tried:
    why += confounds.tuning(tried, {size: taken}, [size])
  return row_of(judged().val, size, [*why, *beside, *out], taken.learning_rate)


def _shown_worse(ranked: list[int], best: int, asked: Mapping[str, Any] | None) -> Reason:
  """The batch sizes that are shown to be worse, and how surely all at once.

  `ranked` are those of the runs as they are. Where looks ask for the best batch size it is what
  these have shown, with the error that they spend in all.
  """
  errors = [one['error'] for one in asked['rounds'] if one['error']] if asked else []
  if not asked or not errors:
    return Reason('shown_worse', sizes=ranked, level=0.95)
  if asked['kind'] != BEST:
    return Reason('shown_worse', sizes=ranked, level=1 - errors[-1])
  states = {one['batch_size']: one['state'] for one in asked['shown']}
  worse = [size for size, state in states.items() if state == 'worse' and size != best]
  return Reason('shown_worse', sizes=worse, level=1 - asked['error'], looks=True)


def _rate(chosen: Chosen, size: int) -> tuple[Tuned, list[Reason]]:
  """The batch size at the rate of its window that it and the others put nearest to its best.

  Its metric was read at its own best rate, which luck may have moved; the batch size of the best
  mean is often that of the most luck.
  """
  tuned, best = chosen[size], borrowed_rates(chosen).get(size)
  if best is None:
    return tuned, []
  rates = [part.learning_rate for part in tuned.window]
  rate = min(rates, key=lambda rate: abs(math.log(rate / best)))
  if rate == tuned.learning_rate:
    return tuned, []
  about = {'size': size, 'own': tuned.learning_rate, 'rate': rate, 'best': best}
  return replace(tuned, learning_rate=rate), [Reason('rate_of_others', **about)]


def _shown(pair: Pair, question: Question) -> bool:
  """Whether something is shown by every kind of BatchNorm statistics there is."""
  effects = [effect for effect in (pair.plain, pair.again) if effect is not None]
  return all(question.verdict(effect.interval) == SUPPORTED for effect in effects)
