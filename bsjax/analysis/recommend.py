"""Which batch size to take for a goal, and how much of that the trials show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import ABOVE, SUPPORTED, Finding, Question, better, within
from bsjax.analysis.claims.pairs import Pair, Ranking
from bsjax.analysis.measures.borrowed_rates import borrowed_rates
from bsjax.analysis.measures.critical_batch_size import EARLY
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.selection import Chosen, Tuned
from bsjax.config.decide_keys import BEST
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import Difference, against_best

OVERHEAD = 0.2  # how much above the fewest examples the fewest updates may cost
GOALS = EXAMPLES, UPDATES, TIME = 'examples', 'updates', 'time'  # beside the best metric


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
  return [_most_accurate(chosen, ranking, tried or {}, asked), *_to_target(critical)]


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
    return _row(judged().val, None, [Reason('nothing_to_compare', sizes=whole), *out])
  best, n = pairs[0].best, pairs[0].plain.interval.n
  if n < 2:
    return _row(judged().val, None, [Reason('one_trial_highest', best=best), *out])
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
  return _row(judged().val, size, [*why, *beside, *out], taken.learning_rate)


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


def _to_target(critical: Mapping[str, Any]) -> list[Finding]:
  """The goals of reaching a target, from the examples that every trial needed."""
  if why := _before_first_evaluation(critical):
    return [_row(goal, None, [why]) for goal in (EXAMPLES, UPDATES)]
  reached, rates, out = _reached(critical.get('points', ()))
  if why := _too_few(reached, critical):
    return [_row(goal, None, [why, *out]) for goal in (EXAMPLES, UPDATES)]
  # Fewest examples are best, and ratios are compared: so the values are minus logarithms.
  pairs = {pair.other: pair for pair in against_best({b: -logs for b, logs in reached.items()})}
  best = next(iter(pairs.values())).best
  unsure = _unsure(critical)
  shown = [other for other, pair in pairs.items() if ABOVE.verdict(pair.interval) == SUPPORTED]
  more = [other for other in shown if other not in unsure]
  level = [other for other in pairs if other not in more]
  fewest = float(reached[best].mean())
  first = Reason(
    'fewest_examples',
    **_target(critical),
    size=best,
    examples=math.exp(fewest),
    trials=len(reached[best]),
  )
  known = [Reason('shown_to_need_more', sizes=more), Reason('not_shown_to', sizes=level)]
  known += _beside(critical)
  near = [b for b in reached if reached[b].mean() <= fewest + math.log1p(OVERHEAD)]
  size = min(near, key=lambda b: float(reached[b].mean()) - math.log(b))
  updates = math.exp(float(reached[size].mean())) / size
  second = Reason('fewest_updates', size=size, updates=updates, of=near)
  cost = [_cost(pairs[size])] if size in pairs else []
  return [
    _row(EXAMPLES, best, [first, *_at_edge(critical, best), *known, *out], rates[best]),
    _row(UPDATES, size, [first, second, *_at_edge(critical, size), *cost, *out], rates[size]),
  ]


def _at_edge(critical: Mapping[str, Any], size: int) -> list[Reason]:
  edge = size in critical.get('at_grid_edge', ())
  return [Reason('chosen_at_grid_edge', sizes=[size])] if edge else []


def _before_first_evaluation(critical: Mapping[str, Any]) -> Reason | None:
  """Why what a target needs is not known, if that is why."""
  points = critical.get('points', ())
  early = [row['batch_size'] for row in points if EARLY in row.get('status', ())]
  return Reason('reached_early', sizes=early) if early else None


def _too_few(
  reached: Mapping[int, np.ndarray], critical: Mapping[str, Any], run_whole: bool = False
) -> Reason | None:
  """Why no two batch sizes can be compared over trials, if that is so."""
  n = min((len(logs) for logs in reached.values()), default=0)
  if len(reached) >= 2 and n >= 2:
    return None
  if critical.get('undefined'):
    return Reason('target_unknown', why=critical['undefined'])
  return Reason('too_few_reach', sizes=len(reached), trials=n, run_whole=run_whole)


def _target(critical: Mapping[str, Any]) -> dict[str, Any]:
  return {'quantity': str(critical.get('quantity', 'loss')), 'target': critical['target']}


def _cost(pair: Difference) -> Reason:
  """The examples a batch size needs, over the fewest, and whether the limit is met for certain."""
  ratio = pair.interval.map(math.exp)
  ends = {'ratio': ratio.value, 'low': ratio.low, 'high': ratio.high}
  certain = ratio.high <= 1 + OVERHEAD
  return Reason('examples_ratio', best=pair.best, **ends, overhead=OVERHEAD, certain=certain)


_BESIDE = {
  'best_rates_unsafe': 'target_beside_unsafe',
  'best_rates_dropped': 'target_beside_dropped',
}


def _unsure(critical: Mapping[str, Any]) -> set[int]:
  """The batch sizes that may need fewer examples at a rate beside the one they are read at."""
  return {size for key in _BESIDE for size in critical.get(key, ())}


def _beside(critical: Mapping[str, Any]) -> list[Reason]:
  sizes = {code: critical.get(key, ()) for key, code in _BESIDE.items()}
  return [Reason(code, batch_sizes=list(found)) for code, found in sizes.items() if found]


def _reached(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[int, np.ndarray], dict[int, float], list[Reason]]:
  """Logarithms of the examples and learning rate by batch size, and which have no such numbers."""
  logs, rates, out = {}, {}, []
  most = max((len(row['examples']) for row in rows), default=0)
  for row in rows:
    size, examples = row['batch_size'], np.array(row['examples'], dtype=np.float64)
    if examples.size < max(most, 1) or not (np.isfinite(examples) & (examples > 0)).all():
      out.append(Reason('falls_short', size=size))
    elif size not in logs or np.log(examples).mean() < logs[size].mean():
      logs[size], rates[size] = np.log(examples), row['learning_rate']
  return logs, rates, out


def _row(
  goal: str, batch_size: int | None, why: Sequence[Reason], learning_rate: float | None = None
) -> Finding:
  row = {'goal': goal, 'batch_size': batch_size, 'learning_rate': learning_rate}
  return Finding(row, tuple(why))


def seconds_to_target(critical: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[int, float]:
  """By batch size: geometric mean over trials of the examples to the target, at the median rate.

  `critical` is as for `recommendation`, `cost` is native_cost.json. Batch sizes are left out that
  were not run whole, or do not reach the target in every trial.
  """
  if _before_first_evaluation(critical):
    return {}
  logs, measured = _reached(critical.get('points', ()))[0], _rates(cost)
  both = [size for size in logs if size in measured]
  return {size: math.exp(logs[size].mean()) / measured[size]['median'] for size in both}


def run_alone(critical: Mapping[str, Any], cost: Mapping[str, Any]) -> Finding:
  """The row of the least time to the target, were each batch size run alone as measured.

  A batch size is shown to need longer only if it does over trials, all pairs at once, and with the
  rates of both at the ends of their ranges that favour it.
  """
  if why := _before_first_evaluation(critical):
    return _row(TIME, None, [why])
  measured, (reached, learning_rates, out) = _rates(cost), _reached(critical.get('points', ()))
  out += [Reason('not_run_whole', size=size) for size in reached if size not in measured]
  reached = {size: logs for size, logs in reached.items() if size in measured}
  if why := _too_few(reached, critical, run_whole=True):
    return _row(TIME, None, [why, *out])
  values = {size: math.log(measured[size]['median']) - logs for size, logs in reached.items()}
  pairs = against_best(values)
  best = pairs[0].best
  unsure = _unsure(critical)
  longer = [pair.other for pair in pairs if _takes_longer(pair, measured)]
  more = [other for other in longer if other not in unsure]
  level = [pair.other for pair in pairs if pair.other not in more]
  least = Reason(
    'least_seconds',
    **_target(critical),
    hardware=cost['hardware'],
    seconds=seconds_to_target(critical, cost)[best],
    trials=len(reached[best]),
    examples_per_second=measured[best]['median'],
  )
  known = [Reason('shown_to_need_longer', sizes=more), Reason('not_shown_to', sizes=level)]
  why = [least, *_at_edge(critical, best), *known, *_beside(critical), *out]
  return _row(TIME, best, why, learning_rates[best])


def _rates(cost: Mapping[str, Any]) -> dict[int, Mapping[str, float]]:
  """Examples per second of each batch size that was run whole.

  None for a study of several stages, of which each costs another time: no single rate leads to its
  target.
  """
  if len({row['stage'] for row in cost['rows']}) > 1:
    return {}
  rates = {row['batch_size']: row['examples_per_second'] for row in cost['rows']}
  return {size: rate for size, rate in rates.items() if rate}


def _takes_longer(pair: Difference, measured: Mapping[int, Mapping[str, float]]) -> bool:
  best, other = measured[pair.best], measured[pair.other]
  doubt = math.log(best['median'] / best['low']) + math.log(other['high'] / other['median'])
  return ABOVE.verdict(pair.interval) == SUPPORTED and pair.interval.low > doubt
