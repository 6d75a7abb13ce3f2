"""One lane's windows of noise measurements, from its records, as moments for an interval."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.stats.intervals import Estimate, PairMoments, fieller_from_moments, weighted_moments

SPAN = 8  # updates averaged into one observation of a window
FEWEST_SPANS = 4  # a variance from fewer says little: then the updates themselves are taken
FEWEST_UPDATES = 4

Window = Mapping[str, Any]  # of estimators.window_summary


def combine_windows(windows: Sequence[Window], *, blocks: bool = True) -> PairMoments:
  """The moments of one lane's consecutive windows, from the `summary` of each, as (trace, grad_sq).

  The means weigh every update equally either way. With `blocks` the windows are the independent
  observations, which holds whatever the correlation of updates inside a window; without, or with
  one window that measured anything, the updates are (Chan's merge of all windows).
  """
  measured = [window for window in windows if window['count']]
  if not blocks or len(measured) < 2:
    return _merge(measured)
  sizes, trace, grad_sq = _columns(measured, 'count', 'trace', 'grad_sq')
  return weighted_moments(trace, grad_sq, sizes)


def measurement_moments(windows: Sequence[Window]) -> PairMoments:
  """The moments of the mean over all windows, from the spread of spans inside each.

  What differs between windows is the drift of the noise, or another trial, and no error of the
  mean: windows are strata, whose variances add up by the squares of their shares of the updates
  (Cochran 1977, Sampling Techniques, eq. 5.7). n counts the observations less one for each window
  but the first, so that n - 1 are the degrees of freedom. A window of fewer than four whole spans
  takes its updates as observations that count half each, which is safe where only neighbours are
  correlated, and by at most 1/2. Where some window has fewer than four updates, all windows are
  merged and drift counts as uncertainty.
  """
  measured = [window for window in windows if window['count']]
  if not measured:
    return PairMoments(*[math.nan] * 5, n=0)
  if min(window['count'] for window in measured) < FEWEST_UPDATES:
    merged = _merge(measured)
    return merged._replace(n=merged.n / 2 if merged.n > 1 else merged.n)
  counts, trace, grad_sq = _columns(measured, 'count', 'trace', 'grad_sq')
  shares = counts / counts.sum()
  observed = [_observations(window) for window in measured]
  numbers = np.array([number for number, _ in observed])
  n = 1 + float((numbers - 1).sum())
  spreads = _columns([spread for _, spread in observed], 'trace_var', 'grad_sq_var', 'cov')
  variances = [float(shares**2 / numbers @ spread) * n for spread in spreads]
  return PairMoments(float(shares @ trace), float(shares @ grad_sq), *variances, n=n)


def measured_interval(windows: Sequence[Window], confidence: float = 0.95) -> Estimate:
  """The noise scale over windows, and how well it was measured there (Fieller's interval).

  One run's own noise scale: what another trial would have found is not in this interval.
  """
  return fieller_from_moments(measurement_moments(windows), confidence)


def _observations(window: Window) -> tuple[int | float, Window]:
  """How many observations a window holds, and the (co)variances of one."""
  spans = window.get('spans', {'count': 0})
  if spans['count'] >= FEWEST_SPANS:
    return spans['count'], spans
  return window['count'] / 2, window


def _merge(windows: Sequence[Window]) -> PairMoments:
  sizes, trace, grad_sq = _columns(windows, 'count', 'trace', 'grad_sq')
  within = _columns(windows, 'trace_var', 'grad_sq_var', 'cov')
  n = int(sizes.sum())
  if n < 2:
    return weighted_moments(trace, grad_sq, sizes)
  mean_a, mean_b = float(sizes @ trace) / n, float(sizes @ grad_sq) / n
  da, db = trace - mean_a, grad_sq - mean_b
  # A window of one update has no variance of its own, and none to add.
  inside = [
    sum((k - 1) * v for k, v in zip(sizes, column, strict=True) if k > 1) for column in within
  ]
  between = [sizes @ (da * da), sizes @ (db * db), sizes @ (da * db)]
  variances = [float(i + o) / (n - 1) for i, o in zip(inside, between, strict=True)]
  return PairMoments(mean_a, mean_b, *variances, n=n)


def _columns(windows: Sequence[Window], *names: str) -> list[np.ndarray]:
  """The named numbers of every window; None becomes NaN."""
  return [np.array([window[name] for window in windows], dtype=np.float64) for name in names]
