"""The sentence of every reason: why there is no value, or no verdict, and what to keep in mind.

Each code stands once, with a template or a function of its details. Nothing reads a sentence back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bsjax.report.text.audit_reasons import OF_AUDIT
from bsjax.report.text.claim_reasons import OF_CLAIMS
from bsjax.report.text.formats import filled
from bsjax.report.text.goal_reasons import OF_GOALS
from bsjax.report.text.run_reasons import OF_RUNS
from bsjax.stats.estimate import Reason

OF_INTERVALS: dict[str, str | Callable[..., str]] = {
  'no_values': 'there is no value',
  'not_finite': 'a value is not finite',
  'nothing_measured': 'nothing was measured',
  'moments_not_finite': 'a mean or a variance is not finite',
  'one_observation': 'one observation has no variance',
  'mean_denominator_not_above_zero': 'the mean denominator is not above zero',
  'mean_numerator_below_zero': 'the mean numerator is below zero',
  'mean_below_zero': 'a mean is significantly below zero, which its true value cannot be',
  'denominator_zero': 'the denominator is zero without any spread',
  'denominator_not_above_zero': (
    'the denominator is not significantly above zero, so the ratio has no upper bound'
  ),
  'numerator_not_above_zero': (
    'a numerator is not above zero, so the ratio is that of means, not the mean of ratios'
  ),
  'ratio_zero': 'the ratio is zero and has no logarithm',
  'upper_bound_overflows': 'the upper bound overflows',
}
_WHOLE_EPOCHS = (
  'Where a small training set without repetitions is learned by heart, examples not yet drawn have '
  'the larger gradients, and the noise scale of whole epochs is too low'
)
OF_NOISE: dict[str, str | Callable[..., str]] = {
  'one_measurement': 'fewer than two evaluations measured it',
  'not_positive': 'a measurement is not above zero',
  'no_late_measurement': 'no noise scale was measured in the last half of training',
  'no_rate_for_noise': 'no learning rate was chosen',
  'no_early_windows': (
    'the records do not tell updates early in epochs from all others. ' + _WHOLE_EPOCHS
  ),
  'few_early_updates': (
    'too few updates early in epochs were measured, so that all had to do. ' + _WHOLE_EPOCHS
  ),
  'probes_at_epoch_ends': (
    'all {probes} probes of a run stand near the end of an epoch, where the noise scale of a small '
    'training set may be a third off its mean over the epoch'
  ),
  'not_measured': 'not measured, or not finite',
  'no_gradient_seen': 'the optimizer has not seen a gradient yet',
  'curvature_along_gradient': 'the curvature along the gradient is not positive',
  'curvature_weighted_by_noise': 'the curvature weighted by the noise is not positive',
}
TEMPLATES = OF_INTERVALS | OF_NOISE | OF_CLAIMS | OF_GOALS | OF_RUNS | OF_AUDIT


def sentence(reason: Reason) -> str:
  """The words of a reason, beginning in lower case and without a full stop."""
  template = TEMPLATES[reason.code]
  details = {name: in_words(detail) for name, detail in reason.details.items()}
  return template(**details) if callable(template) else filled(template, **details)


def sentences(reasons: Iterable[Reason]) -> str:
  """Several reasons, parted by semicolons; empty where there is none."""
  return '; '.join(map(sentence, reasons))


def full_sentence(reason: Reason) -> str:
  """The words of a reason as a sentence of its own."""
  text = sentence(reason)
  return f'{text[0].upper()}{text[1:]}.'


def coded(reason: Reason) -> dict[str, Any]:
  """A reason as summary.json holds it: {'code', **details}, those among its details too."""
  return {'code': reason.code} | {name: _in_codes(each) for name, each in reason.details.items()}


def decoded(row: Mapping[str, Any]) -> Reason:
  """The reason of a row as `coded` gives it, also after it was JSON."""
  return Reason(**{name: _from_codes(detail) for name, detail in row.items()})


def _in_codes(detail: Any) -> Any:
  if isinstance(detail, Reason):
    return coded(detail)
  if isinstance(detail, Mapping):
    return {key: _in_codes(value) for key, value in detail.items()}
  return [_in_codes(item) for item in detail] if isinstance(detail, tuple | list) else detail


def _from_codes(detail: Any) -> Any:
  if isinstance(detail, Mapping):
    if 'code' in detail:
      return decoded(detail)
    return {_as_number(key): _from_codes(value) for key, value in detail.items()}
  return [_from_codes(item) for item in detail] if isinstance(detail, list) else detail


def _as_number(key: Any) -> Any:
  """Batch sizes, trials and learning rates, which are text where they are keys of JSON."""
  for kind in (int, float):
    with contextlib.suppress(ValueError):
      return kind(key) if isinstance(key, str) else key
  return key


def in_words(detail: Any) -> Any:
  """Reasons among the details of a reason become sentences, at any depth."""
  if isinstance(detail, Reason):
    return sentence(detail)
  if isinstance(detail, Mapping):
    return {key: in_words(value) for key, value in detail.items()}
  if isinstance(detail, tuple | list):
    return [in_words(value) for value in detail]
  return detail
