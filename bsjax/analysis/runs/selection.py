"""Choosing the learning rate on some trials and reporting it on the others.

The best of several noisy means is too good, the more so the more rates were tried: the winner's
curse. A trial that had no say in the choice reports without it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.config.metrics import VAL
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import mean_interval


class Chosen(NamedTuple):
  """For each trial its lane at the rate that the other trials chose.

  selection: 'other trials', or 'same trial' where there is only one and the curse remains.
  lanes: in order of trials; empty where `reason` says why the result is undefined.
  """

  selection: str
  lanes: tuple[LaneHistory, ...] = ()
  reason: Reason | None = None

  @property
  def learning_rates(self) -> list[float]:
    """The learning rate chosen for each trial; the peak of its schedule."""
    return [lane.plan['learning_rate'] for lane in self.lanes]

  def finals(self, key: str) -> list[float | None]:
    """The value of `key` at the end of each trial, as recorded (None where not finite)."""
    return [lane.final[key] for lane in self.lanes]


def best_setting(tried: Sequence[Setting]) -> Setting | None:
  """The setting of highest mean validation accuracy; None if no setting ended well in all trials.

  Ties go to the lower validation loss.
  """
  eligible = [setting for setting in tried if setting.problem is None]
  return max(eligible, key=_objective, default=None)


def leave_one_trial_out(tried: Sequence[Setting]) -> Chosen:
  """Each trial at the learning rate that is best in the mean over all other trials.

  A rate with a problem in any of the others is not eligible. Where the rate chosen by the others
  fails in the trial itself, the result is undefined: the choice is then not a safe one, and without
  that trial the mean would be too good.
  """
  trials = [lane.plan['trial'] for lane in tried[0].lanes] if tried else []
  if any([lane.plan['trial'] for lane in setting.lanes] != trials for setting in tried):
    return Chosen('other trials', reason=Reason('different_trials'))
  if len(trials) < 2:
    best = best_setting(tried)
    if best is None:
      return Chosen('same trial', reason=Reason('no_rate_ended_well'))
    return Chosen('same trial', best.lanes)
  lanes = []
  for index, trial in enumerate(trials):
    others = [
      dataclasses.replace(setting, lanes=setting.lanes[:index] + setting.lanes[index + 1 :])
      for setting in tried
    ]
    best = best_setting(others)
    if best is None:
      return Chosen('other trials', reason=Reason('no_rate_ended_well_in_others', trial=trial))
    lane = tried[others.index(best)].lanes[index]
    if lane.problem:
      details = {'trial': trial, 'problem': lane.problem, 'learning_rate': best.learning_rate}
      return Chosen('other trials', reason=Reason('chosen_rate_failed', **details))
    lanes.append(lane)
  return Chosen('other trials', tuple(lanes))


def reported(tried: Sequence[Setting], key: str = VAL) -> dict[str, Any]:
  """`key` at the chosen rates: mean, 95% Student interval over trials, n, and the rates.

  The mean is unbiased for what tuning on one trial fewer reaches. The interval is too narrow where
  the rates are alike, as the choices of two trials rest on common ones: with four trials and six
  rates that are all the same it covered 87%.
  """
  chosen = leave_one_trial_out(tried)
  values = [math.nan if value is None else value for value in chosen.finals(key)]
  reason = chosen.reason
  if not reason and not all(map(math.isfinite, values)):
    reason = Reason('quantity_not_finite', quantity=key)
  if reason:
    return {'undefined': reason, 'selection': chosen.selection}
  return mean_interval(values).to_json() | {
    'selection': chosen.selection,
    'learning_rates': chosen.learning_rates,
  }


def _objective(setting: Setting) -> tuple[float, float]:
  accuracies = setting.finals(VAL)
  losses = [lane.final['val_loss'] for lane in setting.lanes]
  loss = math.inf if None in losses else sum(losses) / len(losses)
  # Rounded so that sums of the same numbers in another order tie.
  return round(sum(accuracies) / len(accuracies), 12), -loss
