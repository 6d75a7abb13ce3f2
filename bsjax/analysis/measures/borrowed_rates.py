"""Where the best learning rate of a batch size lies, by its own runs and those of all others.

A noisy batch size tells its best rate badly, and one step of the grid off may cost more than any
batch size gains. But best rates go about as a power of the batch size, and valleys are about as
steep: both are estimated here with how far batch sizes are from them, so that each is drawn
towards what the others say by as much as its own runs leave open, and no further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs.selection import Chosen, SelectionKind, Tuned
from bsjax.config.metrics import judged
from bsjax.stats.paired import NO_WIDTH
from bsjax.stats.shrinkage import shrunk
from bsjax.stats.trial_effects import spreads

FEWEST = 3  # batch sizes read at a parabola's top, of which two make the power
SURE = 2.0  # standard errors by which the pooled curvature is a valley's
FLATTEST = 1 / 4  # of the pooled curvature


class Valley(NamedTuple):
  """The rates of a window, their mean metric, and the variance of such a mean."""

  x: Float[np.ndarray, ' rate']
  merit: Float[np.ndarray, ' rate']
  variance: float

  @property
  def curvature(self) -> tuple[float, float]:
    """The coefficient of the square of log rate, and its variance."""
    inverse = np.linalg.pinv(np.vander(self.x - self.x.mean(), 3, increasing=True))
    return float(inverse[2] @ self.merit), self.variance * float(np.square(inverse[2]).sum())

  def top(self, curvature: float) -> tuple[float, float]:
    """Where a parabola of this curvature is highest, and the variance of that."""
    u = self.x - self.x.mean()
    slope = float(u @ (self.merit - curvature * u * u) / (u @ u))
    variance = self.variance / float(u @ u) / (4 * curvature**2)
    return float(self.x.mean()) - slope / (2 * curvature), variance


def borrowed_rates(chosen: Chosen) -> Mapping[int, float]:
  """The best learning rate of each batch size that is read at a parabola's top, off the grid.

  Empty where these are too few, do not share their trials, or together show no valley.
  """
  parabolas = {size: one for size, one in chosen.items() if one.selection == SelectionKind.PARABOLA}
  valleys = _valleys(parabolas)
  if len(valleys) < FEWEST:
    return {}
  estimates, variances = np.array([valley.curvature for valley in valleys]).T
  curvatures = shrunk(estimates, variances, np.ones((len(valleys), 1)))
  pooled, precision = curvatures.line[0], (1 / (variances + curvatures.between)).sum()
  if pooled + SURE / math.sqrt(precision) >= 0:
    return {}
  steep = np.minimum(curvatures.values, FLATTEST * pooled)
  tops, doubts = np.array([v.top(c) for v, c in zip(valleys, steep, strict=True)]).T
  log_sizes = np.log(list(parabolas))
  design = np.stack([np.ones_like(log_sizes), log_sizes - log_sizes.mean()], axis=1)
  rates = np.exp(shrunk(tops, doubts, design).values)
  return dict(zip(parabolas, rates.tolist(), strict=True))


def _valleys(parabolas: Mapping[int, Tuned]) -> list[Valley]:
  """One for each batch size; none where their lanes do not tell how much they scatter."""
  trials = {tuple(lane.plan['trial'] for lane in one.lanes) for one in parabolas.values()}
  if len(parabolas) < FEWEST or len(trials) != 1 or len(next(iter(trials))) < 2:
    return []
  finals = [
    np.array([part.finals(judged().val) for part in one.window]) for one in parabolas.values()
  ]
  # The first weight alone: the variance of one lane.
  lanes = spreads(finals, [np.eye(len(values))[0] for values in finals])
  if any(math.sqrt(lane.variance) <= NO_WIDTH for lane in lanes):
    return []
  return [
    Valley(
      np.log([part.learning_rate for part in one.window]),
      np.array([judged().metric.merit(mean) for mean in values.mean(axis=1)]),
      lane.variance / values.shape[1],
    )
    for one, values, lane in zip(parabolas.values(), finals, lanes, strict=True)
  ]
