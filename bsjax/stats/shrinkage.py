"""Estimates drawn towards the line through all of them, each by how uncertain it is by itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float


class Shrunk(NamedTuple):
  """What is expected of each group, and the line with the variance of groups about it."""

  values: Float[np.ndarray, ' group']
  line: Float[np.ndarray, ' group']
  between: float


def shrunk(
  estimates: Float[np.ndarray, ' group'],
  variances: Float[np.ndarray, ' group'],
  design: Float[np.ndarray, 'group term'],
) -> Shrunk:
  """What is expected of each group, given its own estimate and those of all others.

  Groups lie about `design @ terms` with a variance that their estimates tell (Paule and Mandel
  1982: at which the weighted squares of residuals are as large as their degrees of freedom), none
  if they lie no further apart than their own variances make them. variances: above zero.
  """
  free = len(estimates) - design.shape[1]

  def residuals(between: float) -> tuple[np.ndarray, float]:
    scale = 1 / np.sqrt(variances + between)
    terms = np.linalg.lstsq(design * scale[:, None], estimates * scale, rcond=None)[0]
    off = estimates - design @ terms
    return off, float(np.square(off * scale).sum()) - free

  between = 0.0
  if free > 0 and residuals(0.0)[1] > 0:
    most = float(np.square(residuals(0.0)[0]).sum())  # at which the sum is below one
    between = float(scipy.optimize.brentq(lambda value: residuals(value)[1], 0.0, 2 * most / free))
  off, _ = residuals(between)
  values = estimates - variances / (variances + between) * off
  return Shrunk(values, estimates - off, between)
