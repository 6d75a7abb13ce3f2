"""Published rules for the learning rate at a batch size, drawn through the measured optima.

A rule says how the optimum depends on the batch size, up to a factor. The factor is fitted to the
measured optima in the log, the noise scale in the rule is the measured one: each rule has one free
number, so that their misfits compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num

from bsjax.analysis.measures.exponent import Points
from bsjax.config.own import OWN
from bsjax.optim.entries import OPTIMIZERS
from bsjax.stats.estimate import Reason

Sizes = Num[np.ndarray, '...']  # batch sizes, or what a rule gives at each of them
_LIMIT = 1e6  # a noise scale so many times the batch sizes stands for an infinite one
_BAND = 33


def linear(batch_sizes: Sizes) -> Sizes:
  """B: twice the examples, twice the step (Goyal et al. 2017, arXiv:1706.02677)."""
  return np.asarray(batch_sizes, dtype=np.float64)


def square_root(batch_sizes: Sizes) -> Sizes:
  """sqrt(B), for Adam and RMSProp (Malladi et al. 2022, arXiv:2205.10287)."""
  return np.sqrt(batch_sizes)


def mccandlish(batch_sizes: Sizes, noise_scale: float, alpha: float = 1.0) -> Sizes:
  """1 / (1 + B_noise / B)^alpha: linear far below B_noise, constant far above.

  McCandlish et al. 2018 (arXiv:1812.06162, section 2.2); alpha is 1 for SGD, and 0.5 to 1 for Adam.
  """
  return (1 + noise_scale / np.asarray(batch_sizes, dtype=np.float64)) ** -alpha


def surge(batch_sizes: Sizes, noise_scale: float) -> Sizes:
  """1 / [(sqrt(B_noise / B) + sqrt(B / B_noise)) / 2]: 1 at B_noise, lower on either side.

  For optimizers that step by signs, such as Adam (Li et al. 2024, arXiv:2405.14578).
  """
  ratio = np.sqrt(np.asarray(batch_sizes, dtype=np.float64) / noise_scale)
  return 2 / (1 / ratio + ratio)


class Rule(NamedTuple):
  """shape(batch_sizes, noise_scale), and for whom it was derived."""

  shape: Callable[[Sizes, float], Sizes]
  source: str
  adaptive: bool = False  # derived for Adam and its like, otherwise for SGD
  uses_noise_scale: bool = False
  below_noise_scale: bool = False  # holds only where noise dominates
  caveat: Reason | None = None


_MCCANDLISH = 'McCandlish et al. 2018, arXiv:1812.06162'
RULES = {
  'linear': Rule(
    lambda sizes, noise: linear(sizes),
    'Goyal et al. 2017, arXiv:1706.02677',
    below_noise_scale=True,
  ),
  'mccandlish': Rule(mccandlish, _MCCANDLISH, uses_noise_scale=True),
  'mccandlish_adam': Rule(
    lambda sizes, noise: mccandlish(sizes, noise, 0.5),
    _MCCANDLISH,
    adaptive=True,
    uses_noise_scale=True,
    caveat=Reason('exponent_is_a_range', low=0.5, high=1.0, drawn=0.5),
  ),
  'square_root': Rule(
    lambda sizes, noise: square_root(sizes),
    'Malladi et al. 2022, arXiv:2205.10287',
    adaptive=True,
    below_noise_scale=True,
    caveat=Reason('betas_must_change'),
  ),
  'surge': Rule(
    surge,
    'Li et al. 2024, arXiv:2405.14578',
    adaptive=True,
    uses_noise_scale=True,
    caveat=Reason('noise_scale_of_signs'),
  ),
}


def predictions(
  given: Points,
  noise_scale: Mapping[str, Any],
  optimizer: str,
  batch_sizes: Num[np.ndarray, ' grid'] | None = None,
) -> list[dict[str, Any]]:
  """Each rule as a curve through the measured optima, best fit first, undefined ones last.

  noise_scale: {'b_simple', 'ci95', 'unbounded'} as in summary.json, in examples.
  batch_sizes: where to draw; by default from the smallest measured to the largest.

  `rms_log_misfit` is about the distance of the optima from the curve as a fraction. The band
  `low`, `high` is that of every noise scale in its interval, with the factor fitted to each; null
  without an interval or a noise scale in the rule. It leaves out the uncertainty of the optima.
  """
  if batch_sizes is None and not given.too_few:
    batch_sizes = np.geomspace(given.batch_sizes[0], given.batch_sizes[-1], 65)
  results = []
  for name, rule in RULES.items():
    about = _about(name, rule, given, noise_scale, optimizer)
    unusable = _unusable(noise_scale) if rule.uses_noise_scale else None
    if why := given.too_few or unusable:
      results.append(about | {'undefined': why})
    else:
      results.append(about | _drawn(rule, given, noise_scale, batch_sizes))
  return sorted(results, key=lambda result: result.get('rms_log_misfit', math.inf))


def _about(
  name: str, rule: Rule, given: Points, noise_scale: Mapping[str, Any], optimizer: str
) -> dict[str, Any]:
  """The rule's name and source, and why it does not apply here; `applies` is null if unknown."""
  adaptive = optimizer in OPTIMIZERS and OPTIMIZERS[optimizer].adaptive
  reasons, applies = [], True
  if optimizer == OWN:
    reasons, applies = [Reason('optimizer_from_outside')], None
  elif rule.adaptive != adaptive:
    code = 'derived_for_adaptive' if rule.adaptive else 'derived_for_sgd'
    reasons, applies = [Reason(code, optimizer=optimizer)], False
  if rule.below_noise_scale and _unusable(noise_scale):
    reasons.append(Reason('only_below_unknown_noise_scale'))
    applies = applies and None
  elif rule.below_noise_scale:
    above = given.batch_sizes[given.batch_sizes >= noise_scale['b_simple']]
    if above.size:
      reasons.append(Reason('only_below_noise_scale', batch_size=int(above[0])))
      applies = False
  reasons += [rule.caveat] if rule.caveat else []
  return {'rule': name, 'source': rule.source, 'applies': applies, 'why': tuple(reasons) or ''}


def _unusable(noise_scale: Mapping[str, Any]) -> Reason | None:
  value = noise_scale.get('b_simple')
  if value is not None and math.isfinite(value) and value > 0:
    return None
  return Reason('noise_scale_undefined', value=value, why=noise_scale.get('reason', ()))


def _drawn(
  rule: Rule, given: Points, noise_scale: Mapping[str, Any], batch_sizes: np.ndarray
) -> dict[str, Any]:
  means = given.log_rates.mean(axis=0)

  def fitted(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve on the grid, and the log residuals of the optima."""
    shape = np.log(rule.shape(given.batch_sizes, noise))
    factor = np.mean(means - shape)
    return np.exp(factor + np.log(rule.shape(batch_sizes, noise))), means - shape - factor

  value = noise_scale['b_simple'] if rule.uses_noise_scale else math.nan
  curve, residuals = fitted(value)
  noises = _noise_scales(noise_scale, given.batch_sizes) if rule.uses_noise_scale else None
  band = None if noises is None else np.array([fitted(noise)[0] for noise in [value, *noises]])
  return {
    'rms_log_misfit': math.sqrt(np.mean(residuals**2)),
    'curve': {
      'batch_size': batch_sizes.tolist(),
      'learning_rate': curve.tolist(),
      'low': None if band is None else band.min(axis=0).tolist(),
      'high': None if band is None else band.max(axis=0).tolist(),
    },
  }


def _noise_scales(noise_scale: Mapping[str, Any], batch_sizes: np.ndarray) -> np.ndarray | None:
  """Noise scales across the interval, or None without one; open ends stand in by their limits."""
  low, high = noise_scale['ci95']
  if low is None or (high is None and not noise_scale['unbounded']):
    return None
  if not all(math.isfinite(end) for end in (low, high) if end is not None):
    return None
  lowest = max(low, batch_sizes[0] / _LIMIT)
  highest = batch_sizes[-1] * _LIMIT if high is None else max(high, lowest)
  return np.geomspace(lowest, highest, _BAND)
