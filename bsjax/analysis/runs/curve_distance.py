"""How far apart the training curves of two runs are, and how far apart two seeds put them.

A curve is the log of the training loss at every evaluation after the start. The distance of two
curves is the mean over evaluations, at equal examples seen, of the absolute difference: 0.05 means
that the losses differ by about 5%, whatever the loss. The noise floor is the mean distance of two
trials of one setting.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from bsjax.analysis.runs.histories import LaneHistory
from bsjax.stats.estimate import Estimate

Curves = Float[np.ndarray, 'trial evaluation']
QUANTITY = 'train_loss'
FEWEST = 3  # trials: with one left out there must be a pair


class Ratio(NamedTuple):
  """A positive quantity on its log scale, where its interval is Student's."""

  log: Estimate

  @property
  def value(self) -> Estimate:
    """The quantity itself."""
    return self.log.map(math.exp)


NOTHING = Ratio(Estimate(None))


def curves(lanes: Sequence[LaneHistory]) -> tuple[dict[int, list[float]], str]:
  """Log losses by examples seen, one a lane, where all lanes have a record; or none, and why."""
  found: list[dict[int, float]] = []
  for lane in lanes:
    trial = lane.plan['trial']
    if lane.problem:
      return {}, f'trial {trial} {lane.problem}'
    rows = [row for row in lane.rows if 0 < row['examples'] <= lane.plan['examples']]
    for row in rows:
      value = row.get(QUANTITY)
      if value is None or not 0 < value < math.inf:
        return {}, f'the training loss of trial {trial} is {value} after {row["examples"]} examples'
    found.append({row['examples']: math.log(row[QUANTITY]) for row in rows})
  common = set.intersection(*map(set, found)) if found else set()
  if not common:
    return {}, 'the runs have no evaluation in common'
  return {at: [each[at] for each in found] for at in sorted(common)}, ''


def aligned(a: dict[int, list[float]], b: dict[int, list[float]]) -> tuple[Curves, Curves]:
  """Two sets of curves at the evaluations that both have."""
  common = [at for at in a if at in b]
  return np.array([a[at] for at in common]).T, np.array([b[at] for at in common]).T


def paired(a: Curves, b: Curves) -> Float[np.ndarray, ' trial']:
  """The distance of the two curves of each trial."""
  return np.abs(a - b).mean(axis=1)


def seeds(base: Curves) -> Float[np.ndarray, 'trial trial']:
  """The distance of every two trials."""
  return np.abs(base[:, None] - base[None]).mean(axis=2)


def mean_distance(a: Curves, b: Curves, confidence: float = 0.95) -> Ratio:
  """The mean distance within trials; undefined where it is zero."""
  each = paired(a, b)
  return jackknife(lambda keep: _mean(each[keep]), len(each), 1, confidence)


def noise_floor(base: Curves, confidence: float = 0.95) -> Ratio:
  """The mean distance of two trials; an interval needs three of them."""
  between = seeds(base)
  return jackknife(lambda keep: _mean_pair(between, keep), len(base), 2, confidence)


def against_seeds(a: Curves, b: Curves, confidence: float = 0.95) -> Ratio:
  """The mean distance of `b` from `a` within trials, over that of two trials of `a`.

  Below 1 the curves of a trial are closer than those of two seeds. Both means are of the same
  trials: the jackknife leaves a trial out of both.
  """
  each, between = paired(a, b), seeds(a)

  def log_ratio(keep: Bool[np.ndarray, ' trial']) -> float:
    above, below = _mean(each[keep]), _mean_pair(between, keep)
    return above / below if below else math.nan

  return jackknife(log_ratio, len(each), 2, confidence)


def jackknife(
  statistic: Callable[[Bool[np.ndarray, ' trial']], float],
  n: int,
  fewest: int,
  confidence: float = 0.95,
) -> Ratio:
  """The log of a positive statistic of trials, Student's interval of its pseudo-values.

  `statistic` takes a mask of the trials to use, and needs `fewest`: with no more there is no
  interval. For the mean of a spread over few trials the log keeps close to 95%, the value itself
  does not (docs/analysis.md has the simulation).
  """
  if n < fewest:
    return NOTHING
  everyone = np.ones(n, dtype=bool)
  whole = _log(statistic(everyone))
  if not math.isfinite(whole):
    return NOTHING
  if n == fewest:
    return Ratio(Estimate(whole, n=n, confidence=confidence))
  without = np.array([_log(statistic(everyone & (np.arange(n) != left))) for left in range(n)])
  if not np.isfinite(without).all():
    return Ratio(Estimate(whole, n=n, confidence=confidence))
  pseudo = n * whole - (n - 1) * without
  error = pseudo.std(ddof=1) / math.sqrt(n)
  half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(error)
  return Ratio(Estimate(whole, whole - half, whole + half, n, confidence))


def _mean(each: np.ndarray) -> float:
  return float(each.mean())


def _mean_pair(between: np.ndarray, keep: np.ndarray) -> float:
  kept = np.flatnonzero(keep)
  return math.fsum(between[i, j] for i, j in itertools.combinations(kept, 2)) / math.comb(
    len(kept), 2
  )


def _log(value: float) -> float:
  return math.log(value) if value > 0 else math.nan
