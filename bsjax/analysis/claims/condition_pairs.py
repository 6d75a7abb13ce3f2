"""Two conditions read at one value of a clock, and the differences between them in each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bsjax.analysis.claims.conditions import Held
from bsjax.analysis.claims.confounds import named
from bsjax.analysis.runs.budgets import Reading, meeting_point, read
from bsjax.analysis.runs.histories import Setting
from bsjax.stats.estimate import Reason


class Differences(NamedTuple):
  """The second condition less the first, a number a trial; `low` and `high` wherever between."""

  at: Float[np.ndarray, ' trial']
  low: Float[np.ndarray, ' trial']
  high: Float[np.ndarray, ' trial']


class Pair(NamedTuple):
  """Two conditions read at one clock: batch size -> the readings of both, or why there are none."""

  first: str
  second: str
  clock: str
  read: Mapping[int, tuple[Reading, Reading]]
  out: Mapping[int, Reason | str]
  why: tuple[str, ...]  # what else differs
  unread: bool = False  # whether a batch size that both have could not be read at this clock


def read_pair(held: Mapping[str, Held], first: str, second: str, clock: str) -> Pair:
  """Reads two conditions at every batch size that both have."""
  one, other = held[first], held[second]
  found, out, unread = {}, {}, False
  for size in sorted(set(one.tried) | set(other.tried)):
    if why := _missing(held, (first, second), size):
      out[size] = why
      continue
    both = _common_trials(one.chosen[size], other.chosen[size])
    ends = [[lane.final['updates'] for lane in setting.lanes] for setting in both]
    if clock == 'updates' and ends[0] == ends[1]:
      continue  # the same as at equal examples
    value = meeting_point(dict(enumerate(both)), clock)
    readings = [read(setting, clock, value) for setting in both]
    if problem := next((each.problem for each in readings if each.problem), None):
      out[size], unread = problem, True
    else:
      found[size] = (readings[0], readings[1])
  context = [_unequal(first, second, clock, found), *_tuning(held, (first, second), found)]
  return Pair(first, second, clock, found, out, tuple(filter(None, context)), unread)


def difference(pair: Pair, sizes: Sequence[int], name: str) -> Differences | None:
  """The second less the first in each trial, averaged over batch sizes; None if not everywhere.

  Of trials that not all of the batch sizes have, none takes part.
  """
  readings = [pair.read[size] for size in sizes]
  trials = set.intersection(*(set(first.trials) for first, _ in readings)) if readings else set()
  each = [_at_size(*both, name, trials) for both in readings]
  if not trials or any(found is None for found in each):
    return None
  return Differences(*(np.mean(part, axis=0) for part in zip(*each, strict=True)))


def again(pair: Pair, sizes: Sequence[int], name: str) -> Differences | None:
  """The same with re-estimated BatchNorm statistics, which a model without any does not need."""
  key = 'reestimated_' + name
  if not any(key in reading.values for size in sizes for reading in pair.read[size]):
    return None
  return difference(pair, sizes, key)


def _at_size(first: Reading, second: Reading, name: str, trials: set[int]) -> Differences | None:
  use = [trial in trials for trial in first.trials]  # both have the same trials in one order
  parts = []
  for reading in (first, second):
    key = name if name in reading.values else name.removeprefix('reestimated_')
    if key not in reading.values or not np.isfinite(reading.values[key]).all():
      return None
    ends = reading.before[key][use], reading.after[key][use]
    parts.append((reading.values[key][use], np.minimum(*ends), np.maximum(*ends)))
  (a, a_low, a_high), (b, b_low, b_high) = parts
  return Differences(b - a, b_low - a_high, b_high - a_low)


def _missing(held: Mapping[str, Held], names: Sequence[str], size: int) -> str | Reason:
  for name in names:
    if size not in held[name].tried:
      return f'{name} was not trained with it'
    if size in held[name].failed:
      return Reason('of_condition', condition=name, why=held[name].failed[size])
  trials = [{lane.plan['trial'] for lane in held[name].chosen[size].lanes} for name in names]
  return '' if set.intersection(*trials) else 'the two have no trial in common'


def _common_trials(first: Setting, second: Setting) -> tuple[Setting, Setting]:
  """Both with the lanes of the trials that both have, in their order."""
  by_trial = [{lane.plan['trial']: lane for lane in each.lanes} for each in (first, second)]
  shared = sorted(by_trial[0].keys() & by_trial[1].keys())
  lanes = [tuple(lanes[trial] for trial in shared) for lanes in by_trial]
  return replace(first, lanes=lanes[0]), replace(second, lanes=lanes[1])


def _unequal(
  first: str, second: str, clock: str, found: Mapping[int, tuple[Reading, Reading]]
) -> str:
  """What is not equal where the two are read."""
  if not found:
    return ''
  key = 'epoch' if clock == 'updates' else 'updates'
  means = np.array([[each.values[key].mean() for each in pair] for pair in found.values()])
  if clock == 'updates':
    at = means.mean(axis=0)
    return f'There {first} stands at epoch {at[0]:.3g} and {second} at epoch {at[1]:.3g}.'
  ratios = means[:, 1] / np.maximum(means[:, 0], 1)
  if np.allclose(ratios, 1, atol=0.01):
    return ''
  low, high = (f'{value:.3g}' for value in (ratios.min(), ratios.max()))
  times = low if low == high else f'{low} to {high}'
  return (
    f'There {second} has made {times} times as many updates as {first}: an effect of their number '
    'would look the same.'
  )


def _tuning(held: Mapping[str, Held], names: Sequence[str], sizes: Mapping[int, Any]) -> list[str]:
  texts = []
  for name in names:
    edge = [size for size in held[name].at_edge if size in sizes]
    single = [size for size in held[name].untuned if size in sizes]
    if edge:
      texts.append(
        f'The learning rate of {name} is at the edge of the grid at {named(edge)}: a better may '
        'lie outside.'
      )
    if single:
      texts.append(
        f'Of {name} only one learning rate was tried at {named(single)}: nothing was tuned there.'
      )
  return texts
