"""The question where larger batches stop paying: B_crit, its interval at a look, what it lacks.

It is that of the training loss that is the middle one of those chosen from the runs of the look, as
on top of `critical_batch_size` in a summary. Where a best rate to that target is the last of its
grid a batch size is only bounded, and rates that lie far apart leave an error in every trial that
no number of trials makes smaller: both are mended by more rates before there is a look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.decide.rates import Rates, around
from bsjax.analysis.measures.critical_batch_size import at_target, middle_target, points_of
from bsjax.analysis.runs.histories import Setting, Tried
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.decide_keys import Asked
from bsjax.stats.estimate import Reason

QUANTITY = 'train_loss'  # as in a summary
FACTOR = 2.0  # of the ends of the interval, where no other margin is given
NEAR = 2  # rates on each side of the best one that more trials are worth
FEWEST_UPDATES = 16  # of a larger batch size that is tried


class KnownCritical(NamedTuple):
  """B_crit at a look: in examples, with the ends of its interval, and their `factor`, or `why` not.

  `known`: it is bounded, and its ends are within the margin of each other.
  """

  target: float | None = None
  b_crit: float | None = None
  low: float | None = None
  high: float | None = None
  factor: float | None = None
  known: bool = False
  why: Reason | None = None


class Aimed(NamedTuple):
  """The settings with all trials (of a batch size that has none all there are), and their target.

  That, a training loss, is chosen from them; or why there is none.
  """

  whole: dict[int, list[Setting]]
  target: float | Reason


def aimed(tried: Tried) -> Aimed:
  """What a look at these settings is at."""
  most = max(len(one.lanes) for settings in tried.values() for one in settings)
  whole = {
    size: [one for one in settings if len(one.lanes) == most] or list(settings)
    for size, settings in tried.items()
  }
  return Aimed(whole, middle_target(whole, QUANTITY))


def best_rates(tried: Tried, at: Aimed) -> tuple[dict[int, Tuned], dict[int, Rates]]:
  """The batch sizes at the rates that reach the target soonest, and whether these are surrounded.

  One that never reaches it has none ('none'), and bounds B_crit all the same.
  """
  whole, target = at
  if isinstance(target, Reason):
    return {}, {}
  tuned, rates = {}, {}
  for point in points_of(whole, QUANTITY, target):
    settings = tried[point.batch_size]
    if point.learning_rate is None:
      rates[point.batch_size] = Rates('none')
      continue
    logs = [math.log(setting.learning_rate) for setting in settings]
    place = logs.index(math.log(point.learning_rate))
    rates[point.batch_size] = around(logs, place)
    tuned[point.batch_size] = Tuned(
      point.batch_size, point.learning_rate, settings[place].lanes, best_rate=point.learning_rate
    )
  return tuned, rates


def known_critical(asked: Asked, at: Aimed, error: float) -> KnownCritical:
  """B_crit with an interval that misses it with at most `error`."""
  whole, target = at
  if isinstance(target, Reason):
    return KnownCritical(why=target)
  fitted = at_target(whole, QUANTITY, target, 1 - error)
  if 'undefined' in fitted:
    return KnownCritical(target, why=fitted['undefined'])
  low, high = fitted['ci95']
  known = KnownCritical(target, fitted['b_crit'], low, high)
  if not low or high is None:
    code = 'not_bounded_above' if high is None else 'not_bounded_below'
    return known._replace(why=Reason(code))
  factor = high / low
  return known._replace(factor=factor, known=factor <= (asked.margin or FACTOR))


def kept(tried: Sequence[Setting], best: Tuned | None) -> tuple[float, ...]:
  """The learning rates that more trials are worth; all where none is the best."""
  rates = [setting.learning_rate for setting in tried]
  if best is None:
    return tuple(rates)
  at = rates.index(best.learning_rate)
  return tuple(rates[max(0, at - NEAR) : at + NEAR + 1])


def next_size(tried: Tried, known: KnownCritical) -> tuple[int, int] | None:
  """A batch size to try beyond those there, and the one beside it; None: none can be, or needs to.

  It needs to where B_crit is estimated beyond them and not known. It can where all lanes have just
  updated at every evaluation of those there, by which the study is extended, in whole
  micro-batches.
  """
  if known.known or (known.low is None and known.high is None):
    return None
  sizes = sorted(tried)
  lane = tried[sizes[0]][0].lanes[0]
  marks = [row['examples'] for row in lane.planned_rows]
  # At a limit it has no value, and an interval that goes there.
  if (known.b_crit or (math.inf if known.high is None else 0.0)) > sizes[-1]:
    size, beside = 2 * sizes[-1], sizes[-1]
    block = math.lcm(size, *sizes)
    fits = not any(mark % block for mark in marks) and marks[-1] >= FEWEST_UPDATES * size
  elif (known.b_crit or (0.0 if known.high is not None else math.inf)) < sizes[0]:
    size, beside = sizes[0] // 2, sizes[0]
    fits = sizes[0] % 2 == 0 and size % lane.plan['micro_batch'] == 0
  else:
    return None
  return (size, beside) if fits else None


def plain(known: KnownCritical | None) -> Mapping[str, Any] | None:
  """As an entry of a summary holds it."""
  return known._asdict() if known else None
