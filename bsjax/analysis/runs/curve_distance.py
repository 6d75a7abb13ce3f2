"""How far apart the training curves of two runs are, and how far apart two seeds put them.

A curve is the log of the training loss at every evaluation after the start. The distance of two
curves is the mean over evaluations, at equal examples seen, of the absolute difference: 0.05 means
that the losses differ by about 5%, whatever the loss. The noise floor is the mean distance of two
trials of one setting.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bsjax.analysis.runs.histories import LaneHistory
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.jackknife import log_jackknife

Curves = Float[np.ndarray, 'trial evaluation']
QUANTITY = 'train_loss'


class Ratio(NamedTuple):
  """A positive quantity on its log scale, where its interval is Student's."""

  log: Estimate

  @property
  def value(self) -> Estimate:
    """The quantity itself."""
    return self.log.map(math.exp)


NOTHING = Ratio(Estimate(None))


class LogLosses(NamedTuple):
  """Log losses by examples seen, one per lane; empty where `reason` says why there are none."""

  by_examples: dict[int, list[float]]
  reason: Reason | None = None


def curves(lanes: Sequence[LaneHistory]) -> LogLosses:
  """The log losses of the lanes where all of them have a record."""
  by_lane: list[dict[int, float]] = []
  for lane in lanes:
    trial = lane.plan['trial']
    if lane.problem:
      return LogLosses({}, Reason('lanes_failed', trials=[[trial, lane.problem]]))
    rows = [row for row in lane.rows if 0 < row['examples'] <= lane.plan['examples']]
    for row in rows:
      value = row.get(QUANTITY)
      if value is None or not 0 < value < math.inf:
        where = {'trial': trial, 'value': value, 'examples': row['examples']}
        return LogLosses({}, Reason('loss_without_log', **where))
    by_lane.append({row['examples']: math.log(row[QUANTITY]) for row in rows})
  common = set.intersection(*map(set, by_lane)) if by_lane else set()
  if not common:
    return LogLosses({}, Reason('no_evaluation_of_all'))
  return LogLosses({at: [losses[at] for losses in by_lane] for at in sorted(common)})


def aligned(a: dict[int, list[float]], b: dict[int, list[float]]) -> tuple[Curves, Curves]:
  """Two sets of curves at the evaluations that both have; empty where there are none."""
  common = [at for at in a if at in b]
  first, second = (np.array([side[at] for at in common], ndmin=2).T for side in (a, b))
  return first, second


def paired(a: Curves, b: Curves) -> Float[np.ndarray, ' trial']:
  """The distance of the two curves of each trial."""
  return np.abs(a - b).mean(axis=1)


def seeds(base: Curves) -> Float[np.ndarray, 'trial trial']:
  """The distance of every two trials."""
  return np.abs(base[:, None] - base[None]).mean(axis=2)


def mean_distance(a: Curves, b: Curves, confidence: float = 0.95) -> Ratio:
  """The mean distance within trials; undefined where it is zero."""
  distances = paired(a, b)
  return Ratio(log_jackknife(lambda keep: _mean(distances[keep]), len(distances), 1, confidence))


def noise_floor(base: Curves, confidence: float = 0.95) -> Ratio:
  """The mean distance of two trials; an interval needs three of them."""
  between = seeds(base)
  return Ratio(log_jackknife(lambda keep: _mean_pair(between, keep), len(base), 2, confidence))


def against_seeds(a: Curves, b: Curves, confidence: float = 0.95) -> Ratio:
  """The mean distance of `b` from `a` within trials, over that of two trials of `a`.

  Below 1 the curves of a trial are closer than those of two seeds. Both means are of the same
  trials: the jackknife leaves a trial out of both.
  """
  distances, between = paired(a, b), seeds(a)

  def ratio(keep: Bool[np.ndarray, ' trial']) -> float:
    above, below = _mean(distances[keep]), _mean_pair(between, keep)
    return above / below if below else math.nan

  return Ratio(log_jackknife(ratio, len(distances), 2, confidence))


def _mean(distances: np.ndarray) -> float:
  return float(distances.mean())


def _mean_pair(between: np.ndarray, keep: np.ndarray) -> float:
  pairs = list(itertools.combinations(np.flatnonzero(keep), 2))
  return math.fsum(between[i, j] for i, j in pairs) / len(pairs)
