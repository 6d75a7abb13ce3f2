"""Two conditions read at one budget, at every batch size that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.conditions import Held
from bsjax.analysis.runs.budgets import LAST_QUARTER, met, read
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason

Run = tuple[Mapping[str, Any], list[list[Any]], list[Any]]
# Where a lane stands along training, and with what.
PATH = 'examples', 'updates', 'batch_size', 'learning_rate'


class Pair(NamedTuple):
  """Two conditions read at one budget: batch size -> the readings of both, or why there are none.

  `context` is what else differs, `unread` whether a batch size that both have could not be read.
  `skipped` is what `confounds.skipped` says of the first and of the second, `cut_short` by batch
  size what `confounds.cut_short` says of both.
  """

  first: str
  second: str
  budget: str
  read: Mapping[int, tuple[Reading, Reading]]
  out: Mapping[int, Any]
  context: tuple[Reason, ...]
  unread: bool = False
  skipped: tuple[Sequence[Reason], Sequence[Reason]] = ((), ())
  cut_short: Mapping[int, Sequence[Reason]] = {}


def read_pair(held: Mapping[str, Held], first: str, second: str, budget: str) -> Pair:
  """Reads two conditions at every batch size that both have."""
  names, both = (first, second), (held[first], held[second])
  readable, out, unread, cut_short = {}, {}, False, {}
  for size in sorted(set(both[0].tried) | set(both[1].tried)):
    if why := _missing(held, names, size):
      out[size] = why
      continue
    pair = _common_trials(*(one.chosen[size] for one in both))
    if _runs(both[0], pair[0]) == _runs(both[1], pair[1]):
      out[size] = Reason('same_runs')
      continue
    ends = [[lane.final['updates'] for lane in setting.lanes] for setting in pair]
    if budget == 'updates' and ends[0] == ends[1]:
      continue  # the same as at equal examples
    # Conditions may come apart in their last stage only, so they meet as late as can be.
    settings, value = met(dict(enumerate(pair)), budget, LAST_QUARTER)
    readings = [read(setting, budget, value) for setting in settings.values()]
    if problem := next((reading.problem for reading in readings if reading.problem), None):
      out[size], unread = problem, True
    else:
      readable[size] = (readings[0], readings[1])
      cut_short[size] = confounds.cut_short(names, pair, readings)
  context, skipped = _unequal(names, budget, readable), []
  context += confounds.on_subset([one for both_ in readable.values() for one in both_])
  for name, one in zip(names, both, strict=True):
    context += confounds.tuning(one.tried, one.chosen, list(readable), condition=name)
    skipped.append(confounds.skipped(one.chosen, list(readable), condition=name))
  about = tuple(context), unread, tuple(skipped), cut_short
  return Pair(first, second, budget, readable, out, *about)


def _missing(held: Mapping[str, Held], names: Sequence[str], size: int) -> Reason | None:
  for name in names:
    if size not in held[name].tried:
      return Reason('not_trained', condition=name)
    if size in held[name].failed:
      return Reason('failed', condition=name, why=held[name].failed[size])
  trials = [{lane.plan['trial'] for lane in held[name].chosen[size].lanes} for name in names]
  return None if set.intersection(*trials) else Reason('two_share_no_trial')


def _common_trials(first: Tuned, second: Tuned) -> tuple[Tuned, Tuned]:
  """Both with the lanes of the trials that both have, in their order."""
  trials = [{lane.plan['trial'] for lane in one.lanes} for one in (first, second)]
  shared = sorted(set.intersection(*trials))
  return first.of_trials(shared), second.of_trials(shared)


def _runs(held: Held, chosen: Tuned) -> list[Run]:
  """What sets each lane of a window, where it has been, and what it reached.

  Where two conditions are alike in that they are the same runs trained twice, as where a rule
  changes nothing: their difference is zero by construction, and no part of what one condition does.
  """
  lanes = [lane for part in chosen.window for lane in part.lanes]
  keys = 'updates', 'train_loss', 'val_loss', judged().train, judged().val
  return [
    (
      held.trained | {key: x for key, x in lane.plan.items() if key.startswith('optimizer.')},
      [[row.get(key) for key in PATH] for row in lane.rows],
      [lane.final[key] for key in keys],
    )
    for lane in lanes
  ]


def _unequal(
  names: tuple[str, str], budget: str, read_: Mapping[int, tuple[Reading, Reading]]
) -> list[Reason]:
  """What is not equal where the two are read."""
  if not read_:
    return []
  key = 'epoch' if budget == 'updates' else 'updates'
  means = np.array([[reading.values[key].mean() for reading in pair] for pair in read_.values()])
  if budget == 'updates':
    epochs = [float(mean) for mean in means.mean(axis=0)]
    return [Reason('conditions_stand_at', first=names[0], second=names[1], epochs=epochs)]
  ratios = means[:, 1] / np.maximum(means[:, 0], 1)
  if np.allclose(ratios, 1, atol=0.01):
    return []
  low, high = float(ratios.min()), float(ratios.max())
  return [Reason('condition_updates', second=names[1], first=names[0], low=low, high=high)]
