"""Which batch size reaches a target soonest: in examples, updates, or seconds of one run alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims.claim import ABOVE, SUPPORTED, Finding
from bsjax.analysis.measures.critical_batch_size import EARLY, MAY_BE_FASTER
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import Difference, against_best

OVERHEAD = 0.2  # how much above the fewest examples the fewest updates may cost
GOALS = EXAMPLES, UPDATES, TIME = 'examples', 'updates', 'time'  # beside the best metric
_BESIDE = {key: code for key, code in MAY_BE_FASTER.items() if key != 'at_grid_edge'}


def row_of(
  goal: str, batch_size: int | None, why: Sequence[Reason], learning_rate: float | None = None
) -> Finding:
  """The row of a goal; its batch size is None where none is shown."""
  row = {'goal': goal, 'batch_size': batch_size, 'learning_rate': learning_rate}
  return Finding(row, tuple(why))


def to_target(critical: Mapping[str, Any]) -> list[Finding]:
  """The goals of reaching a target, from the examples that every trial needed."""
  if why := _before_first_evaluation(critical):
    return [row_of(goal, None, [why]) for goal in (EXAMPLES, UPDATES)]
  reached, rates, out = _reached(critical.get('points', ()))
  if why := _too_few(reached, critical):
    return [row_of(goal, None, [why, *out]) for goal in (EXAMPLES, UPDATES)]
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
    row_of(EXAMPLES, best, [first, *_at_edge(critical, best), *known, *out], rates[best]),
    row_of(UPDATES, size, [first, second, *_at_edge(critical, size), *cost, *out], rates[size]),
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
    return row_of(TIME, None, [why])
  measured, (reached, learning_rates, out) = _rates(cost), _reached(critical.get('points', ()))
  out += [Reason('not_run_whole', size=size) for size in reached if size not in measured]
  reached = {size: logs for size, logs in reached.items() if size in measured}
  if why := _too_few(reached, critical, run_whole=True):
    return row_of(TIME, None, [why, *out])
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
  return row_of(TIME, best, why, learning_rates[best])


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
