"""What a planned number of trials can see, before any is trained: by simulation of its looks.

Two batch sizes are taken, the difference of which varies over trials with a given standard
deviation, as normal numbers, and judged with Student's interval as wide as each look asks for.
Studies that learn the spread from several learning rates see somewhat more, those that compare more
batch sizes somewhat less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from bsjax.analysis.claims.claim import Claim
from bsjax.analysis.decide.claims import joint
from bsjax.stats.looks import ladder, spending
from bsjax.stats.paired import standard_error

STUDIES = 2000
ENOUGH = 0.8
MOST = 400  # trials that are tried out


def spread_of(claims: Sequence[Claim]) -> float | None:
  """The standard deviation of a difference over trials, of the pair that varies most."""
  pairs = [claim.estimate for claim in claims if claim.kind == 'pair']
  estimates = [estimate for estimate in pairs if estimate.low is not None]
  return max((standard_error(one) * math.sqrt(one.n) for one in estimates), default=None)


class Seen(NamedTuple):
  """Of a number of trials: the chance to show that equal ones are alike, and the least difference
  that is shown with 80%, in the unit of the spread; None where none up to four margins is."""

  trials: int
  alike: float
  difference: float | None


def seen(spread: float, margin: float, first: int, most: int, error: float = 0.05) -> Seen:
  """What a study of up to `most` trials sees; `spread` is that of differences over trials."""
  runs = np.random.default_rng(0).standard_normal((STUDIES, most)) * spread
  parts = _Looks(runs, first, most, error)
  steps = margin * np.linspace(0.1, 4.0, 40)
  shown = (float(by) for by in steps if parts.shown(float(by)) >= ENOUGH)
  return Seen(most, parts.alike(margin), next(shown, None))


def smallest(spread: float, margin: float, first: int, error: float = 0.05) -> int | None:
  """The fewest trials at most at which equal batch sizes are shown to be alike with 80%."""
  low, high = first, MOST
  if seen(spread, margin, first, high, error).alike < ENOUGH:
    return None
  while low < high:
    middle = (low + high) // 2
    if seen(spread, margin, first, middle, error).alike >= ENOUGH:
      high = middle
    else:
      low = middle + 1
  return low


class _Looks:
  """Intervals of all looks at differences without an effect, [study, look]."""

  def __init__(self, runs: Float[np.ndarray, 'study trial'], first: int, most: int, error: float):
    rungs = ladder(first, most)
    spent = np.array([1 - joint(part) for part in spending(rungs, error).values()])
    parts = [runs[:, :rung] for rung in rungs]
    self._means = np.stack([part.mean(axis=1) for part in parts], axis=1)
    errors = [part.std(axis=1, ddof=1) / math.sqrt(part.shape[1]) for part in parts]
    self._half = np.stack(errors, axis=1) * stdtrit(np.array(rungs) - 1.0, 1 - spent / 2)

  def alike(self, margin: float) -> float:
    """The share of studies that show no more than the margin at some look."""
    return _share(abs(self._means) + self._half < margin)

  def shown(self, difference: float) -> float:
    """The share that shows a difference of this size."""
    return _share(self._means + difference - self._half > 0)


def _share(looks: Bool[np.ndarray, 'study look']) -> float:
  return float(looks.any(axis=1).mean())
