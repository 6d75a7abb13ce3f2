"""Which batch size to take for a goal, and how much of that the trials show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims.pairs import Values, again, left_out, usable_values
from bsjax.analysis.claims.verdicts import MARGIN, SUPPORTED, above, near, paragraph, points
from bsjax.analysis.measures.critical_batch_size import EARLY
from bsjax.analysis.runs.histories import Setting
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import Difference, against_best

OVERHEAD = 0.2  # how much above the fewest examples the fewest updates may cost

ACCURACY = 'best validation accuracy'
EXAMPLES = 'fewest examples to a target'
UPDATES = f'fewest updates within {100 * OVERHEAD:g}% of the fewest examples'
TIME = 'least time to a target, run alone'


def recommendation(
  chosen: Mapping[int, Setting],
  values: Values,
  critical: Mapping[str, Any],
  reestimated: Values | None = None,
) -> list[dict[str, Any]]:
  """A row a goal, {'goal', 'batch_size', 'learning_rate', 'why'}; batch_size None if not shown.

  `values` and `reestimated` are as for `claims`. `critical` is {'target', 'points': [{'batch_size',
  'learning_rate', 'examples': [a number or None a trial]}], ...} or {'undefined': why}.
  """
  return [_most_accurate(chosen, values, reestimated), *_to_target(critical)]


def _most_accurate(
  chosen: Mapping[int, Setting], values: Values, reestimated: Values | None
) -> dict[str, Any]:
  """The highest mean, or the largest batch size shown to be as good within the margin.

  One that was only not shown to be worse is not taken: with few trials that is nearly every one.
  """
  usable, why_not = usable_values({size: values[size] for size in values if size in chosen})
  out = left_out(why_not)
  pairs = against_best(usable)
  if not pairs:
    few = 'No batch size has' if not usable else f'Only batch size {next(iter(usable))} has'
    return _row(ACCURACY, None, [f'{few} a result in every trial: nothing to compare.', *out])
  best, n = pairs[0].best, pairs[0].interval.n
  if n < 2:
    why = f'One trial has no spread and shows no batch size to be best; highest here: {best}.'
    return _row(ACCURACY, None, [why, *out])
  level = {pair.other: pair for pair in pairs if not _worse(pair, reestimated)}
  worse = [pair.other for pair in pairs if pair.other not in level]
  as_good = [other for other, pair in level.items() if _as_good(pair, reestimated)]
  size = max([best, *as_good])
  why = [
    f'Batch size {best} has the highest mean over {n} trials. Shown to be worse, at 95% for all '
    f'pairs at once: {_named(worse)}. Not shown to be worse: {_named(list(level))}.'
  ]
  if size != best:
    why.append(
      f'{size} is within {100 * MARGIN:g} percentage points of {best}, by its whole interval, and '
      'needs fewer updates.'
    )
  largest = max(level, default=best)
  if largest > size:
    why.append(_at_stake(level[largest]))
  return _row(ACCURACY, size, [*why, *out], chosen[size].learning_rate)


def _worse(pair: Difference, reestimated: Values | None) -> bool:
  """Shown to be worse than the best, by every kind of BatchNorm statistics there is."""
  second = again(pair, reestimated)
  return above(pair.interval) == SUPPORTED and (second is None or above(second) == SUPPORTED)


def _as_good(pair: Difference, reestimated: Values | None) -> bool:
  """Shown to be within the margin of the best, by every kind of BatchNorm statistics there is."""
  second, within = again(pair, reestimated), near(0.0, MARGIN)
  return within(pair.interval) == SUPPORTED and (second is None or within(second) == SUPPORTED)


def _at_stake(pair: Difference) -> str:
  """How much may be lost by taking a larger batch size that was not shown to be worse."""
  mean, low, high = pair.interval.value, pair.interval.low, pair.interval.high
  return (
    f'Whether {pair.other} is as good is undetermined: {pair.best} less {pair.other} is '
    f'{points(mean)} percentage points, interval {points(low)} to {points(high)}.'
  )


def _to_target(critical: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The goals of reaching a target, from the examples that every trial needed."""
  if why := _before_first_evaluation(critical):
    return [_row(goal, None, [why]) for goal in (EXAMPLES, UPDATES)]
  reached, rates, out = _reached(critical.get('points', ()))
  n = min((len(logs) for logs in reached.values()), default=0)
  if len(reached) < 2 or n < 2:
    few = f'{len(reached)} batch sizes reach the target in every trial, over {n} trials'
    why = critical.get('undefined') or f'{few}: too few to compare'
    return [_row(goal, None, [Reason('stop', why=why), *out]) for goal in (EXAMPLES, UPDATES)]
  # Fewest examples are best, and ratios are compared: so the values are minus logarithms.
  pairs = {pair.other: pair for pair in against_best({b: -logs for b, logs in reached.items()})}
  best = next(iter(pairs.values())).best
  more = [other for other, pair in pairs.items() if above(pair.interval) == SUPPORTED]
  level = [other for other in pairs if other not in more]
  fewest = float(reached[best].mean())
  first = (
    f'To {_target(critical)}: batch size {best} needs {math.exp(fewest):,.0f} examples, the fewest '
    f'(geometric mean of {n} trials).'
  )
  shown = f'Shown to need more: {_named(more)}. Not shown to: {_named(level)}.'
  within = [b for b in reached if reached[b].mean() <= fewest + math.log1p(OVERHEAD)]
  size = min(within, key=lambda b: float(reached[b].mean()) - math.log(b))
  updates = math.exp(float(reached[size].mean())) / size
  second = f'Batch size {size} needs {updates:,.0f} updates, the fewest of {_named(within)}.'
  cost = _cost(pairs[size]) if size in pairs else ''
  return [
    _row(EXAMPLES, best, [first, shown, *out], rates[best]),
    _row(UPDATES, size, [first, second, cost, *out], rates[size]),
  ]


def _before_first_evaluation(critical: Mapping[str, Any]) -> str:
  """Why what a target needs is not known; empty if that is not why."""
  early = [
    row['batch_size'] for row in critical.get('points', ()) if EARLY in row.get('status', ())
  ]
  if not early:
    return ''
  why = f'Batch size {_named(early)} reached the target before its first evaluation'
  return f'{why}, so what it needs is not known: evaluate more often.'


def _target(critical: Mapping[str, Any]) -> str:
  """In words, such as 'a train loss of 0.1'."""
  quantity = str(critical.get('quantity', 'loss')).replace('_', ' ')
  return f'a {quantity} of {critical["target"]:.4g}'


def _cost(pair: Difference) -> str:
  """The examples a batch size needs, over the fewest, and whether the limit is met for certain."""
  found = pair.interval.map(math.exp)
  ratio, low, high = found.value, found.low, found.high
  text = f'It needs {ratio:.3g} times the examples of {pair.best}, interval {low:.3g} to {high:.3g}'
  if high > 1 + OVERHEAD:
    return f'{text}: whether it stays within {100 * OVERHEAD:g}% is undetermined.'
  return f'{text}.'


def _reached(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[int, np.ndarray], dict[int, float], list[str]]:
  """Logarithms of the examples and learning rate by batch size, and which have no such numbers."""
  logs, rates, out = {}, {}, []
  most = max((len(row['examples']) for row in rows), default=0)
  for row in rows:
    size, examples = row['batch_size'], np.array(row['examples'], dtype=np.float64)
    if examples.size < max(most, 1) or not (np.isfinite(examples) & (examples > 0)).all():
      out.append(f'Batch size {size} does not reach the target in every trial.')
    elif size not in logs or np.log(examples).mean() < logs[size].mean():
      logs[size], rates[size] = np.log(examples), row['learning_rate']
  return logs, rates, out


def _named(sizes: Sequence[int]) -> str:
  return ', '.join(map(str, sizes)) or 'none'


def _row(
  goal: str, batch_size: int | None, why: Sequence[str | Reason], learning_rate: float | None = None
) -> dict[str, Any]:
  return {
    'goal': goal,
    'batch_size': batch_size,
    'learning_rate': learning_rate,
    'why': paragraph(why),
  }


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


def run_alone(critical: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, Any]:
  """The row of the least time to the target, were each batch size run alone as measured.

  A batch size is shown to need longer only if it does over trials, all pairs at once, and with the
  rates of both at the ends of their ranges that favour it.
  """
  if why := _before_first_evaluation(critical):
    return _row(TIME, None, [why])
  measured, (reached, learning_rates, out) = _rates(cost), _reached(critical.get('points', ()))
  out += [f'Batch size {size} was not run whole.' for size in reached if size not in measured]
  reached = {size: logs for size, logs in reached.items() if size in measured}
  n = min((len(logs) for logs in reached.values()), default=0)
  if len(reached) < 2 or n < 2:
    few = f'{len(reached)} batch sizes run whole reach the target in every trial, over {n} trials'
    why = critical.get('undefined') or f'{few}: too few to compare'
    return _row(TIME, None, [f'{why}.', *out])
  values = {size: math.log(measured[size]['median']) - logs for size, logs in reached.items()}
  pairs = against_best(values)
  best = pairs[0].best
  more = [pair.other for pair in pairs if _takes_longer(pair, measured)]
  level = [pair.other for pair in pairs if pair.other not in more]
  why = [
    f'To {_target(critical)} on {cost["hardware"]}: {seconds_to_target(critical, cost)[best]:.3g} '
    f's (geometric mean of {n} trials), at {measured[best]["median"]:,.0f} examples a second; '
    'evaluations and reading data are not counted.',
    f'Shown to need longer: {_named(more)}. Not shown to: {_named(level)}.',
  ]
  return _row(TIME, best, [*why, *out], learning_rates[best])


def _rates(cost: Mapping[str, Any]) -> dict[int, Mapping[str, float]]:
  """Examples a second of each batch size that was run whole.

  None for a study of several stages, of which each costs another time: no single rate leads to its
  target.
  """
  if len({row['stage'] for row in cost['rows']}) > 1:
    return {}
  found = {row['batch_size']: row['examples_per_second'] for row in cost['rows']}
  return {size: rate for size, rate in found.items() if rate}


def _takes_longer(pair: Difference, measured: Mapping[int, Mapping[str, float]]) -> bool:
  best, other = measured[pair.best], measured[pair.other]
  doubt = math.log(best['median'] / best['low']) + math.log(other['high'] / other['median'])
  return above(pair.interval) == SUPPORTED and pair.interval.low > doubt
