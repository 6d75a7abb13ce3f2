"""Learning rates that are dropped within a training: successive halving, for each batch size.

At a rung, an evaluation on whole splits, the learning rates of a batch size (and branch) that are
not among the better ones end there, in all trials together. What is dropped follows from the plan
and the rows of that evaluation alone, so that it is the same on all processes and after a resume.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.bounds import shown_value
from bsjax.config.errors import ConfigError
from bsjax.config.metrics import judged
from bsjax.plan.lanes import StudyPlan
from bsjax.storage.records import Damaged, Row

FEWEST = 3  # neighbouring rates that go on: as many as the parabola of the analysis takes
_DIGITS = 12  # of a mean merit: what differs beyond them are equals


def rungs(config: ConfigDict, plan: StudyPlan) -> tuple[int, ...]:
  """Returns the evaluations at which learning rates are dropped, in examples.

  Each is the first on whole splits after its share of training. Raises ConfigError where that is
  the end, or the same for two.
  """
  marks = [mark for part in plan.stages for mark in part.evaluations if mark]
  chosen: list[int] = []
  for share in config.halving.rungs:
    mark = next(mark for mark in marks if mark >= share * plan.total_examples)
    if mark == plan.total_examples or mark in chosen:
      where = 'the end of training' if mark == plan.total_examples else 'that of the one before'
      raise ConfigError(
        f'halving.rungs={shown_value(tuple(config.halving.rungs))}: the first of {len(marks)} '
        f'evaluations after {share:g} of training is {where}, at {mark:,} examples; give other '
        f'shares, or more than evaluations={config.evaluations}',
        'halving.rungs',
        'evaluations',
      )
    chosen.append(mark)
  return tuple(chosen)


def dropped(keep: float, lanes: Iterable[Row], rows: Sequence[Row]) -> frozenset[int]:
  """Returns the lanes that end at a rung.

  Args:
    keep: the share of learning rates that goes on.
    lanes: rows of plan.csv.
    rows: those of the rung, of all lanes that have come there.
  """
  at_rung = {row['lane']: row for row in rows}
  ended: set[int] = set()
  for _, members in itertools.groupby(sorted(lanes, key=_setting), key=_setting):
    ended |= _of_setting(keep, list(members), at_rung)
  return frozenset(ended)


def _setting(lane: Row) -> tuple[int, str]:
  return lane['batch_size'], lane.get('branch', '')


def _of_setting(keep: float, lanes: Sequence[Row], at_rung: Mapping[int, Row]) -> set[int]:
  """The lanes of a batch size and branch that end.

  A rate at which some trial has diverged is none of the better ones, and a lane that has goes on
  as it is: frozen. A rate that lacks a trial of the others is not compared, and goes on.
  """
  trials = {lane['trial'] for lane in lanes}
  by_rate: dict[float, list[Row]] = {}
  for lane in lanes:
    if lane['lane'] in at_rung:
      by_rate.setdefault(lane['learning_rate'], []).append(lane)
  whole = {r: mine for r, mine in by_rate.items() if {one['trial'] for one in mine} == trials}
  merits = {r: _merit([at_rung[one['lane']] for one in whole[r]]) for r in sorted(whole)}
  sound = {rate: merit for rate, merit in merits.items() if merit is not None}
  if len(sound) <= FEWEST:
    return set()
  low, high = _going_on(keep, list(sound), list(sound.values()))
  outside = (mine for rate, mine in whole.items() if not low <= rate <= high)
  return {
    lane['lane'] for mine in outside for lane in mine if not at_rung[lane['lane']]['diverged']
  }


def _merit(rows: Sequence[Row]) -> float | None:
  """The mean over trials by which the analysis chooses a rate; None where one is lost."""
  values = [row[judged().val] for row in rows]
  if any(row['diverged'] for row in rows) or not all(map(_finite, values)):
    return None
  return round(judged().metric.merit(math.fsum(values) / len(values)), _DIGITS)


def _finite(value: Any) -> bool:
  return value is not None and math.isfinite(value)


def _going_on(keep: float, rates: Sequence[float], merits: Sequence[float]) -> tuple[float, float]:
  """The lowest and the highest of ascending rates that go on, with all that lie between."""
  places = range(len(rates))
  best = max(places, key=lambda place: merits[place])
  better = sorted(places, key=lambda place: (-merits[place], abs(place - best)))
  beside = min(max(best - FEWEST // 2, 0), len(rates) - FEWEST)
  on = {*better[: math.ceil(keep * len(rates))], beside, beside + FEWEST - 1}
  return rates[min(on)], rates[max(on)]


def refuse_otherwise(
  keep: float, marks: Sequence[int], lanes: Sequence[Row], rows: Sequence[Row], path: Any
) -> None:
  """Raises records.Damaged where rows say of other lanes that they were dropped at a rung."""
  for mark in marks:
    at_mark = [row for row in rows if row['examples'] == mark]
    said = {row['lane'] for row in at_mark if row.get('dropped')}
    if at_mark and said != (expected := dropped(keep, lanes, at_mark)):
      odd = min(said ^ expected)
      raise Damaged(
        f'{path}: lane {odd} is {"" if odd in said else "not "}dropped at {mark:,} examples, which '
        'does not follow from the rows there; restore the file, or choose another --workdir'
      )
