"""The hyperbola over trials: what differs between them, and the errors that they have in common.

A batch size whose best learning rate lies between two of the grid is too slow in every trial, and
where training does not follow a hyperbola all trials err alike. Of that the spread over trials
knows nothing, but the residuals of their means do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, stdtrit

from bsjax.stats.estimate import Estimate
from bsjax.stats.hyperbola import Fit, Shared, fit_hyperbola, highest
from bsjax.stats.intervals import mean_interval
from bsjax.stats.tobit import EXACT

_AT_LIMIT = 50.0  # log B_crit that is as good as infinite, and its negative as zero


def fit_trials(
  batch_sizes: Int[np.ndarray, ' size'],
  updates: Float[np.ndarray, 'size trial'],
  known: Int[np.ndarray, 'size trial'],
  confidence: float = 0.95,
) -> Fit:
  """The fit of all trials, whose interval holds errors of the trials and those they share.

  From three trials on, each of which bounds its own B_crit, log B_crit is averaged over trials, and
  its variance is that over trials plus that of the shared errors, with Satterthwaite's degrees of
  freedom. Otherwise `fit_hyperbola` with the shared errors. What trials share is seen at batch
  sizes where all are exact, if there are three.
  """
  peak = highest(batch_sizes, updates, known)
  if isinstance(peak, Fit):
    return peak
  shared = _shared(batch_sizes, updates, known, peak.fit)
  joint = peak.fitted(confidence, shared)
  fits = _alone(batch_sizes, updates, known)
  if len(fits) < 3:
    return joint
  logs = np.log([fit.b_crit.value for fit in fits])
  return joint._replace(
    b_crit=_both(logs, batch_sizes[(known == EXACT).all(axis=1)], shared, joint.b_crit),
    examples_min=_geometric_mean([fit.examples_min for fit in fits]),
    updates_min=_geometric_mean([fit.updates_min for fit in fits]),
    parts=(mean_interval(logs, confidence).map(math.exp), joint.b_crit),
  )


def _alone(batch_sizes: np.ndarray, updates: np.ndarray, known: np.ndarray) -> list[Fit]:
  """The fit of each trial; none where there are too few, or one that does not bound its B_crit."""
  fits: list[Fit] = []
  for j in range(updates.shape[1] if updates.shape[1] > 2 else 0):
    fit = fit_hyperbola(batch_sizes, updates[:, [j]], known[:, [j]], rough_ends=True)
    if fit.b_crit.value is None or not fit.b_crit.low or fit.b_crit.unbounded:
      return []
    fits.append(fit)
  return fits


def _shared(
  batch_sizes: np.ndarray, updates: np.ndarray, known: np.ndarray, fit: Fit
) -> Shared | None:
  """What the residuals of means over trials exceed those within trials by."""
  exact = (known == EXACT).all(axis=1)
  count, trials = int(exact.sum()), updates.shape[1]
  if count < 3 or trials < 2:
    return None
  limit = -_AT_LIMIT if fit.examples_min is None else _AT_LIMIT
  theta = limit if fit.b_crit.value is None else math.log(fit.b_crit.value)
  rest = np.log(updates[exact]) - np.logaddexp(0, theta - np.log(batch_sizes[exact]))[:, None]
  rest -= rest.mean(axis=0)
  means = rest.mean(axis=1)
  within = float(((rest - means[:, None]) ** 2).sum()) / ((count - 1) * (trials - 1))
  return Shared(max(0.0, float(means @ means) / (count - 2) - within / trials), count - 2)


def _both(logs: np.ndarray, sizes: np.ndarray, shared: Shared | None, joint: Estimate) -> Estimate:
  n, mean = len(logs), float(logs.mean())
  over_trials = float(logs.var(ddof=1)) / n
  over_sizes, df = 0.0, 1
  if shared is not None:
    gain = expit(mean - np.log(sizes))  # d log updates / d log B_crit
    over_sizes, df = shared.variance / float(((gain - gain.mean()) ** 2).sum()), shared.df
  variance = over_trials + over_sizes
  half = 0.0
  if variance > 0:
    df = variance**2 / (over_trials**2 / (n - 1) + over_sizes**2 / df)
    half = float(stdtrit(df, (1 + joint.confidence) / 2)) * math.sqrt(variance)
  ends = {'low': math.exp(mean - half), 'high': math.exp(mean + half)}
  return replace(joint, value=math.exp(mean), **ends, unbounded=False, over='trials and residuals')


def _geometric_mean(values: Sequence[float]) -> float:
  return math.exp(math.fsum(map(math.log, values)) / len(values))
