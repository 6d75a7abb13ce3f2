"""The best learning rate of a batch size, and how its runs are read there.

The best of several noisy means is too good, and which one it is differs from trial to trial by
luck. So no trial is read at a rate of its own: the rates that are nearly as good as the best make a
window, the same for all trials, and a parabola in the log of the learning rate is read at its top.
That is a weighted sum of the runs of a trial, whose spread all lanes of the window tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from bsjax.analysis.runs import dropped
from bsjax.analysis.runs.histories import LaneHistory, Setting, Tried
from bsjax.analysis.runs.reading import Weights
from bsjax.config.metrics import NEAR_MARGINS, judged
from bsjax.stats import valley
from bsjax.stats.estimate import Reason


class SelectionKind:
  """How a batch size is read, as summary['batch_sizes'][]['selection'] says it."""

  PARABOLA = 'parabola'
  BEST_RATE = 'best rate'
  ONE_RATE = 'one rate'


@dataclass(frozen=True)
class Tuned(Setting):
  """A batch size at its best learning rate.

  As a setting it is that of the rate nearest to the best that was run. `window` holds the settings
  that are read together, `weights` what multiplies their values, adding up to 1. `best_rate` is
  where the parabola is highest, or the setting's own where an unsafe rate is nearer to that;
  `selection` is one of `SelectionKind`, `unsafe` holds the rates at which some trial diverged,
  `dropped_beside` those next to it that were dropped before their end, with none beyond that ended,
  `skipped` the unsafe ones that no parabola spans and that lie between the best rate and the next
  safe one: the batch size may be better there than it is where it is read. `slope` reads how steep
  a quantity is in log rate at the best one, `shifts` says by how much each trial moved that.
  """

  window: tuple[Setting, ...] = ()
  weights: tuple[float, ...] = ()
  best_rate: float = math.nan
  selection: str = SelectionKind.ONE_RATE
  unsafe: tuple[float, ...] = ()
  skipped: tuple[float, ...] = ()
  slope: tuple[float, ...] = ()
  shifts: Mapping[int, float] = field(default_factory=dict)
  dropped_beside: tuple[float, ...] = ()

  @property
  def parts(self) -> tuple[tuple[Setting, float], ...]:
    """The settings that are read together, each with its weight."""
    return tuple(zip(self.window, self.weights, strict=True))

  @property
  def weighting(self) -> Weights:
    return Weights(self.weights, self.slope, self.shifts)

  def on_subset(self) -> Tuned:
    """The same, chosen on whole splits, as evaluated on a subset of the examples."""
    lanes = super().on_subset().lanes
    return replace(self, lanes=lanes, window=tuple(part.on_subset() for part in self.window))

  def of_trials(self, trials: Sequence[int]) -> Tuned:
    """The same with the lanes of these trials alone."""
    window = tuple(_of_trials(setting, trials) for setting in self.window)
    return replace(self, lanes=_of_trials(self, trials).lanes, window=window)


Chosen = Mapping[int, Tuned]


class Selection(NamedTuple):
  """The batch sizes with a best learning rate, and why the others have none."""

  chosen: dict[int, Tuned]
  failed: dict[int, Reason]


def select(tried: Tried) -> Selection:
  """Every batch size at its best learning rate."""
  tuned = {size: tune(settings) for size, settings in tried.items()}
  return Selection(
    {size: one for size, one in tuned.items() if isinstance(one, Tuned)},
    {size: one for size, one in tuned.items() if isinstance(one, Reason)},
  )


def tune(tried: Sequence[Setting]) -> Tuned | Reason:
  """The best learning rate by final validation metric, or why there is none.

  A rate at which some trial diverged is unsafe and takes no part, whatever the others reached; nor
  does one that lacks a trial that other rates have.
  """
  usable = [setting for setting in tried if setting.problem is None]
  if not usable:
    return Reason('no_rate_ended_well')
  trials = {lane.plan['trial'] for setting in usable for lane in setting.lanes}
  usable = [
    setting for setting in usable if {lane.plan['trial'] for lane in setting.lanes} == trials
  ]
  if not usable:
    return Reason('different_trials')
  means = [judged().metric.merit(np.mean(setting.finals(judged().val))) for setting in usable]
  best = max(range(len(usable)), key=lambda place: (round(means[place], 12), -_loss(usable[place])))
  x = np.log([setting.learning_rate for setting in usable])
  top = valley.top(x, np.array(means), best, NEAR_MARGINS * judged().margin)
  nearest = usable[min(top.window, key=lambda place: abs(x[place] - top.at))]
  unsafe = tuple(setting.learning_rate for setting in tried if diverged(setting))
  distance = abs(math.log(nearest.learning_rate) - top.at)
  near_unsafe = any(abs(math.log(rate) - top.at) < distance for rate in unsafe)
  kind = SelectionKind.PARABOLA if len(top.window) >= valley.FEWEST else SelectionKind.BEST_RATE
  return Tuned(
    nearest.batch_size,
    nearest.learning_rate,
    nearest.lanes,
    window=tuple(usable[place] for place in top.window),
    weights=tuple(top.weights.tolist()),
    best_rate=nearest.learning_rate if near_unsafe else math.exp(top.at),
    selection=SelectionKind.ONE_RATE if len(tried) == 1 else kind,
    unsafe=unsafe,
    skipped=_skipped(usable, nearest.learning_rate, unsafe)
    if kind == SelectionKind.BEST_RATE
    else (),
    slope=tuple(top.slope.tolist()),
    shifts=_shifts([usable[place] for place in top.window], x[list(top.window)], top.shift),
    dropped_beside=dropped.beside(tried, nearest.learning_rate),
  )


def _shifts(window: Sequence[Setting], x: np.ndarray, shift: np.ndarray) -> dict[int, float]:
  """By how much each trial moved the top: all by as much as if it lay anywhere in a flat window."""
  finals = np.array([part.finals(judged().val) for part in window])
  moved = shift @ (finals - finals.mean(axis=1, keepdims=True))
  if not judged().metric.higher_is_better:
    moved = -moved
  trials = [lane.plan['trial'] for lane in window[0].lanes]
  error = float(moved.std(ddof=1)) / math.sqrt(len(trials)) if len(trials) > 1 else 0.0
  most = float(x[-1] - x[0]) / math.sqrt(12)  # the spread of a uniform distribution
  scale = min(1.0, most / error) if error else 1.0
  return dict(zip(trials, (scale * moved).tolist(), strict=True))


def _skipped(usable: Sequence[Setting], best: float, unsafe: Sequence[float]) -> tuple[float, ...]:
  """The unsafe rates next to the best one, of which a larger and a smaller rate are safe."""
  rates = [setting.learning_rate for setting in usable]
  low = max((rate for rate in rates if rate < best), default=best)
  high = min((rate for rate in rates if rate > best), default=best)
  return tuple(rate for rate in unsafe if low < rate < high)


def diverged(setting: Setting) -> bool:
  problems = (lane.problem for lane in setting.lanes)
  return any(problem and problem.code in ('diverged', 'no_metric') for problem in problems)


def _loss(setting: Setting) -> float:
  """The mean final validation loss, by which rates of equal metric are told apart."""
  losses = [lane.final['val_loss'] for lane in setting.lanes]
  return math.inf if None in losses else math.fsum(losses) / len(losses)


def _of_trials(setting: Setting, trials: Sequence[int]) -> Setting:
  lanes: dict[int, LaneHistory] = {lane.plan['trial']: lane for lane in setting.lanes}
  return Setting(setting.batch_size, setting.learning_rate, tuple(lanes[trial] for trial in trials))
