"""Residual variance of single runs, once effects of their trial and setting are taken off.

Runs of a trial share what makes it a lucky one: initialization and the order of examples. In
    x[group, setting, trial] = mean[group, setting] + effect[trial] + error
a group (a batch size with several learning rates) has its own error variance, so that a noisy group
neither hides nor fakes what others show. All settings of a group help to estimate it, which makes
three trials tell what single differences over three trials cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

ROUNDS = 5  # of estimating variances and trial effects in turn; the former change little after two
LEAST = 0.25  # what is left at least of a variance when the doubt about trial effects is taken off


class Spread(NamedTuple):
  """The variance of a weighted mean of a group's runs in one trial, trial effects aside.

  `df` are its degrees of freedom.
  """

  variance: float
  df: float


def spreads(
  groups: Sequence[Float[np.ndarray, '_setting trial']],
  weights: Sequence[Float[np.ndarray, ' _setting']],
) -> list[Spread]:
  """The spread of `weights @ runs` of each group; weights add up to 1.

  The trial effects taken off a group are estimated from the other groups (by precision), and the
  variance of that estimate from its mean square. Groups of one setting do not take part in that:
  two of them that agree by chance would prove each other exact. Runs of one group and trial may
  still resemble each other: their correlation, pooled over groups, counts where it is above zero.

  Raises:
    ValueError: there are fewer than two groups of several settings or fewer than two trials, or
      groups differ in their trials.
  """
  trials = {group.shape[1] for group in groups}
  if sum(len(group) > 1 for group in groups) < 2 or len(trials) > 1 or min(trials) < 2:
    raise ValueError(
      f'groups have the shapes {[group.shape for group in groups]}: give two or more of several '
      'settings, with the same two or more trials.'
    )
  free = min(trials) - 1
  counts = np.array([len(group) for group in groups], dtype=np.float64)
  centered = [group - group.mean(axis=1, keepdims=True) for group in groups]
  sums = np.array([part.sum(axis=0) for part in centered])
  variances = np.full(len(groups), 1.0)
  errors = centered
  for _ in range(ROUNDS):
    precision = (counts > 1) / variances
    others = (precision @ sums - precision[:, None] * sums) / _others(precision * counts)[:, None]
    errors = [part - effects for part, effects in zip(centered, others, strict=True)]
    squares = np.array([np.square(part).sum() for part in errors]) / (counts * free)
    if not squares.all():
      return [Spread(0.0, float(count * free)) for count in counts]
    variances = np.maximum(squares - 1 / _others(precision * counts), LEAST * squares)
    variances = np.maximum(variances, 1e-12 * variances.max())
  rho = _correlation(errors, variances, precision * counts, free)
  doubts = 1 / _others((counts > 1) * counts / variances)
  return [
    Spread(
      float(variance * ((1 - rho) * (weight @ weight) + rho)),
      _df(float(count), free, rho, float(doubt / variance)),
    )
    for variance, weight, count, doubt in zip(variances, weights, counts, doubts, strict=True)
  ]


def _df(count: float, free: int, rho: float, doubt: float) -> float:
  """Degrees of freedom of a variance from `count` runs per trial, one at least.

  Runs of a trial that resemble each other count as fewer. They share the doubt about the effect of
  the trial, too, which is taken off their mean square again. `doubt` is over the variance; a larger
  one than that was cut off.
  """
  doubt = min(doubt, 1.0)
  return max(1.0, count * free / ((1 + doubt) ** 2 + (count - 1) * (rho + doubt**2)))


def _others(values: np.ndarray) -> np.ndarray:
  """For each group the sum over all the others."""
  return values.sum() - values


def _correlation(
  errors: Sequence[np.ndarray], variances: np.ndarray, precision: np.ndarray, free: int
) -> float:
  """The correlation of two errors of a group in one trial, pooled over groups; not below zero."""
  excess = total = 0.0
  for error, variance, doubt in zip(errors, variances, 1 / _others(precision), strict=True):
    count, means = len(error), error.mean(axis=0)
    if count < 2:
      continue
    between = count * np.square(means).sum() / free - count * doubt
    within = np.square(error - means).sum() / ((count - 1) * free)
    excess += (between - within) / variance
    total += count
  return float(np.clip(excess / total, 0.0, 1.0)) if total else 0.0
