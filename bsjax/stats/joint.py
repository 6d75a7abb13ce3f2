"""Several contrasts of means that hold together, where every mean has its own variance.

Bonferroni's correction takes the contrasts for unrelated and pays for it; Tukey's studentized range
takes variances for equal, and has no room for a trend beside the pairs. Here the family is drawn as
it is: means from their variances, and variances from their degrees of freedom.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

DRAWS = 10_000
STEPS = 14  # of halving the span in which the level lies


class Family:
  """Contrasts of independent means, and how often their t reaches what without any effect.

  `df` are Satterthwaite's degrees of freedom of each contrast's variance.
  """

  def __init__(
    self,
    weights: Float[np.ndarray, 'contrast group'],
    variances: Float[np.ndarray, ' group'],
    dfs: Float[np.ndarray, ' group'],
  ):
    parts = np.square(weights) * variances
    self.errors = np.sqrt(parts.sum(axis=1))
    self.df = np.square(parts.sum(axis=1)) / (np.square(parts) / dfs).sum(axis=1)
    rng = np.random.default_rng(0)
    means = rng.standard_normal((DRAWS, len(variances))) * np.sqrt(variances)
    drawn = variances * rng.chisquare(dfs, (DRAWS, len(variances))) / dfs
    self._t = np.abs(means @ weights.T) / np.sqrt(drawn @ np.square(weights).T)

  def false(self, level: float) -> float:
    """How often some contrast without an effect has a two-sided p-value of at most `level`."""
    return float((self._t >= stdtrit(self.df, 1 - level / 2)).any(axis=1).mean())

  def confidence(self, joint: float = 0.95) -> float:
    """The confidence of each contrast's own interval at which all hold together."""
    low, high = 0.0, 1 - joint
    for _ in range(STEPS):
      middle = (low + high) / 2
      low, high = (low, middle) if self.false(middle) > 1 - joint else (middle, high)
    return 1 - low
