"""How the spread of trials goes with batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import polygamma, stdtrit

from bsjax.stats.estimate import Estimate


def slope_of_spreads(
  sizes: Sequence[int], values: Sequence[Float[np.ndarray, ' _']], confidence: float = 0.95
) -> Estimate:
  """The slope of log2 standard deviations over log2 batch sizes, of three sizes or more.

  How much such a log errs depends on the tails of the values, which so few cannot tell: the scale
  of the errors is that of the residuals about the line, and the interval Student's over sizes. With
  unequally many values they weigh as if they were normal: the log variance of such errs by the
  trigamma function of half its degrees of freedom.
  """
  x = np.log2(np.asarray(sizes, dtype=np.float64))
  logs = np.log2([one.std(ddof=1) for one in values])
  sure = 1 / np.array([polygamma(1, (one.size - 1) / 2) for one in values])
  x -= float(sure @ x) / float(sure.sum())
  spread, df = float(sure @ x**2), len(logs) - 2
  slope, level = float(sure @ (x * logs)) / spread, float(sure @ logs) / float(sure.sum())
  scale = math.sqrt(float(sure @ np.square(logs - level - slope * x)) / df)
  half = float(stdtrit(df, (1 + confidence) / 2)) * scale / math.sqrt(spread)
  return Estimate(slope, slope - half, slope + half, min(one.size for one in values), confidence)
