"""Simultaneous confidence intervals for several contrasts of means with unequal variances.

Bonferroni's correction takes the contrasts for unrelated and pays for it; Tukey's studentized range
takes variances for equal, and has no room for a trend beside the pairs. Here the family is drawn as
it is: means from their variances, variances from their degrees of freedom, and each draw is judged
as the study is, so that what is approximate in single p-values counts, too.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr

DRAWS = 10_000


class Family:
  """Contrasts of independent means, and how small the least of their p-values is without effect."""

  def __init__(
    self,
    weights: Float[np.ndarray, 'contrast group'],
    variances: Float[np.ndarray, ' group'],
    dfs: Float[np.ndarray, ' group'],
  ):
    rng = np.random.default_rng(0)
    means = rng.standard_normal((DRAWS, len(variances))) * np.sqrt(variances)
    drawn = variances * rng.chisquare(dfs, (DRAWS, len(variances))) / dfs
    squares = np.square(weights).T
    errors = drawn @ squares
    # Satterthwaite's, of the variances drawn.
    df = np.square(errors) / (np.square(drawn) / dfs @ np.square(squares))
    self._least = 2 * stdtr(df, -np.abs(means @ weights.T) / np.sqrt(errors)).min(axis=1)

  def false(self, level: float) -> float:
    """How often some contrast without an effect has a two-sided p-value of at most `level`."""
    return float((self._least <= level).mean())

  def confidence(self, joint: float = 0.95) -> float:
    """The confidence of each contrast's own interval at which all hold together."""
    return 1 - float(np.quantile(self._least, 1 - joint))
