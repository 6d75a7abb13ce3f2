"""Censored (Tobit) regression with one intercept per trial: some values are only bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import erfcx, log_ndtr

# What is known of a value: itself, that it is at least so large, or at most.
EXACT, AT_LEAST, AT_MOST = 0, 1, -1
NOTHING = 1e-9  # AT_LEAST so many says nothing of a number of updates

SHARPEST = 1e6  # one over the residual deviation; no run is known to a part in a million
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Peak(NamedTuple):
  """The highest log-likelihood, and the 1 / sd and each trial's intercept / sd that give it."""

  height: np.ndarray
  sharp: np.ndarray
  place: np.ndarray


def maximize(a: np.ndarray, known: np.ndarray, start: Peak | None = None) -> Peak:
  """Maximises the likelihood of a_ij = s_j + error over s and sd, for each leading entry of `a`.

  In 1 / sd and s / sd it is concave (Olsen 1978, Econometrica 46, 1211), so damped Newton steps
  lead to the maximum from anywhere. Without bounds it has a closed form.
  """
  exact = known == EXACT
  n = int(exact.sum())
  mean = a.mean(axis=1)
  squares = ((a - mean[:, None]) ** 2).sum(axis=(1, 2))
  sharp = np.sqrt(a[0].size / np.maximum(squares, a[0].size / SHARPEST**2))
  place = sharp[:, None] * mean
  if start is not None and not exact.all():
    _, sharp, place = start
  for _ in range(0 if exact.all() else 100):
    z = sharp[:, None, None] * a - place[:, None]
    slope, bend = _derivatives(z, known)
    g_sharp, g_place = n / sharp + (slope * a).sum(axis=(1, 2)), -slope.sum(axis=1)
    cross, inner = -(bend * a).sum(axis=1), bend.sum(axis=1)
    outer = n / sharp**2 + (bend * a * a).sum(axis=(1, 2)) - (cross**2 / inner).sum(axis=1)
    d_sharp = (g_sharp - (cross * g_place / inner).sum(axis=1)) / outer
    d_place = (g_place - cross * d_sharp[:, None]) / inner
    gain = np.maximum(g_sharp * d_sharp + (g_place * d_place).sum(axis=1), 0.0)
    if ((gain < 1e-8) | (sharp >= SHARPEST)).all():
      break
    step = np.where(gain > 0.15, 1 / (1 + np.sqrt(gain)), 1.0)
    sharp = np.minimum(sharp + step * d_sharp, SHARPEST)
    place = place + step[:, None] * d_place
  z = sharp[:, None, None] * a - place[:, None]
  terms = np.where(exact, -z * z / 2 - HALF_LOG_TAU, log_ndtr(-known * z))
  return Peak(n * np.log(sharp) + terms.sum(axis=(1, 2)), sharp, place)


def _derivatives(z: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """First and negative second derivative of each log-likelihood term by its residual z."""
  x = -known * z
  mills = math.sqrt(2 / math.pi) / erfcx(-x / math.sqrt(2))  # density / probability at x
  # Far out mills + x cancels; the second derivative lies between 0 and 1.
  bend = np.clip(mills * (mills + x), 0.0, 1.0)
  exact = known == EXACT
  return np.where(exact, -z, -known * mills), np.where(exact, 1.0, bend)
