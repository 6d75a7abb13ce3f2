"""The top of a curve over the log of the learning rate, as weights on what was run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FEWEST, MOST = 3, 5


class Top(NamedTuple):
  """Where a curve is highest, and what multiplies the values at the window's points to read it.

  `slope` does so to read how steep another curve is there, `shift` says by how much the top moves
  with the value at each point: not at all where it is no parabola's, or an end of the window.
  """

  window: tuple[int, ...]
  weights: Float[np.ndarray, ' point']
  at: float
  slope: Float[np.ndarray, ' point']
  shift: Float[np.ndarray, ' point']


def top(
  x: Float[np.ndarray, ' point'], values: Float[np.ndarray, ' point'], best: int, near: float
) -> Top:
  """The top of the least-squares parabola through the points that are nearly as good as the best.

  x: ascending. values: finite. best: the place of the highest. near: by how much a point of the
  window may fall short of it. With fewer than `FEWEST` such points it is the best point itself, and
  where the parabola opens upward, as good as there. The window holds at most `MOST` points, and the
  top lies within it.
  """
  window = _window(values, best, near)
  if len(window) < FEWEST:
    still = np.zeros(len(window))
    return Top(window, np.array([float(i == best) for i in window]), float(x[best]), still, still)
  places = list(window)
  center = x[places].mean()
  u = x[places] - center
  inverse = np.linalg.pinv(np.vander(u, 3, increasing=True))
  _, slope, curvature = inverse @ values[places]
  at = -slope / (2 * curvature) if curvature < 0 else x[best] - center
  free = curvature < 0 and u[0] < at < u[-1]
  shift = -(inverse[1] + 2 * at * inverse[2]) / (2 * curvature) if free else np.zeros(len(window))
  at = float(np.clip(at, u[0], u[-1]))
  weights, steepness = np.array([[1.0, at, at * at], [0.0, 1.0, 2 * at]]) @ inverse
  return Top(window, weights, at + float(center), steepness, shift)


def _window(values: np.ndarray, best: int, near: float) -> tuple[int, ...]:
  first = last = best
  while first > 0 and values[best] - values[first - 1] <= near:
    first -= 1
  while last < len(values) - 1 and values[best] - values[last + 1] <= near:
    last += 1
  nearest = sorted(range(first, last + 1), key=lambda place: abs(place - best))
  return tuple(sorted(nearest[:MOST]))
