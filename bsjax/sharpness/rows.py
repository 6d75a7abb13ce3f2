"""Measurements of lanes -> rows of sharpness.json and a table for a person; undefined, and why."""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict
from rich.table import Table

from bsjax.config.metrics import judged
from bsjax.noise.estimators import finite
from bsjax.plan.lanes import Lane
from bsjax.sharpness import spectrum

Row = dict[str, Any]

RESOLUTION = 1e-6  # of the loss: smaller differences of losses are rounding in float32
# And in absolute terms: near probability 1 the loss of an example is known to 2^-24.
FINEST = 50 * 2.0**-24
CAPTION = (
  'Evaluation mode, on the training examples given. Never compare sharpness at unequal training '
  'loss or unequal\nlearning rate: it shrinks with the loss of a network that fits, and large '
  'steps keep out of sharp places.\n± is the standard error of the trace; ~: not converged, ± the '
  'bound on the error. Full-batch descent is\nunstable where lambda_max x rate is above the '
  'threshold.'
)


def lane_row(
  lane: Lane, position: Row, measured: PyTree, epsilons: tuple[float, ...], top: int
) -> Row:
  """Returns the row of one lane from the host arrays of `lane.measure`.

  `position` holds examples, learning_rate_now and stability (value, reason), `top` how many
  eigenvalues to list. The row's `undefined` maps each null to its reason.
  """
  threshold, why_no_threshold = position['stability']
  row = {
    'lane': lane.lane,
    'batch_size': lane.batch_size,
    'learning_rate': lane.learning_rate,
    'learning_rate_now': position['learning_rate_now'],
    'trial': lane.trial,
    'examples': position['examples'],
    'mode': 'evaluation',
    'examples_used': int(measured['train'].count),
    **means(measured),
  }
  why = _why_nothing(measured, row)
  values = _values(measured, row, epsilons, top)
  row |= {name: None if why else value for name, (value, _) in values.items()}
  reasons = {name: why or reason for name, (_, reason) in values.items()}
  row['stability_threshold'] = threshold
  reasons['stability_threshold'] = why_no_threshold
  for name in ('train_loss', judged().train, 'val_loss', judged().val):
    reasons[name] = why or 'the loss of this split is not finite'
  row['undefined'] = {name: reasons[name] for name, value in row.items() if value is None}
  return row


def means(measured: PyTree) -> dict[str, float | None]:
  """Loss and metrics of both splits, from sums of one point; None where the loss is not finite.

  Metrics too: the largest of logits that are not finite is no prediction.
  """
  result = {}
  for split in ('train', 'val'):
    count, loss = int(measured[split].count), finite(float(measured[split].loss))
    result[f'{split}_loss'] = None if loss is None else loss / count
    for metric, total in measured[split].metrics.items():
      result[f'{split}_{metric}'] = None if loss is None else total.item() / count
  return result


def stability_threshold(config: ConfigDict, learning_rate: float) -> tuple[float | None, str]:
  """What lambda_max x learning rate must not exceed for full-batch descent to be stable.

  2 (1 + beta) for SGD with momentum beta (beta = 0: the well-known 2), and 2 (1 + beta) / (1 + 2
  beta) with Nesterov's (Cohen et al. 2021, arXiv:2103.00065, equation 1).
  """
  if config.name != 'sgd':
    why = f'{config.name} scales the steps of every parameter, so 2 / learning rate does not apply'
    return None, why
  if learning_rate == 0:
    return None, 'the learning rate is 0 here'
  beta = config.momentum
  return 2 * (1 + beta) / (1 + 2 * beta if config.nesterov else 1), ''


def _why_nothing(measured: PyTree, row: Row) -> str:
  """Why nothing can be measured on a lane, or nothing."""
  if not measured['finite']:
    return 'the lane has diverged: a number of it, or of its next update, is not finite'
  if row['train_loss'] is None:
    return 'the training loss of the lane is not finite'
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(measured['lanczos'])):
    return 'a product with the Hessian is not finite'
  return ''


def _values(
  measured: PyTree, row: Row, epsilons: tuple[float, ...], top: int
) -> dict[str, tuple[Any, str]]:
  """Every measurement by name, with the reason where it is None."""
  lanczos, loss = measured['lanczos'], row['train_loss'] or math.nan
  zero, size = 'the gradient is zero', len(lanczos.alpha)
  trace, error = spectrum.mean_and_standard_error(measured['trace'])
  values = {
    'trace': (finite(trace), 'a product with the Hessian is not finite'),
    'trace_standard_error': (finite(error), 'one probe has no spread; use more --probes'),
    'gradient_norm': (finite(math.sqrt(measured['gradient_sq'])), 'the gradient is not finite'),
    'gradient_curvature': (finite(float(measured['gradient_curvature'])), zero),
    'sam': _rise(float(measured['sam']), loss, zero),
    'adaptive_sam': _rise(float(measured['adaptive_sam']), loss, zero),
  }
  for epsilon, percent in zip(epsilons, measured['keskar'], strict=True):
    rise = float(percent) / 100 * (1 + loss)
    value, why = _rise(rise, loss, 'the loss is not finite everywhere in the box')
    values[f'keskar_{epsilon:g}'] = (None if value is None else float(percent), why)
  names = ['eigenvalues', 'lambda_max', 'lambda_min', 'lambda_ratio', 'density']
  names += ['lambda_max_times_learning_rate']
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(lanczos)):
    return values | {name: (None, '') for name in names}
  ritz = [spectrum.ritz(lanczos.alpha[i], lanczos.beta[i]) for i in range(size)]
  largest, smallest = spectrum.eigenvalue(ritz[0], 0), spectrum.eigenvalue(ritz[0], -1)
  return values | {
    'eigenvalues': (spectrum.top_eigenvalues(ritz[0], top), ''),
    'lambda_max': (largest['value'], ''),
    'lambda_min': (smallest, ''),
    'lambda_ratio': _ratio(largest, smallest),
    'density': (spectrum.density(ritz), ''),
    'lambda_max_times_learning_rate': (largest['value'] * row['learning_rate_now'], ''),
  }


def _rise(rise: float, loss: float, why_not_finite: str) -> tuple[float | None, str]:
  """A difference of two losses, unless it is mere rounding."""
  if not math.isfinite(rise):
    return None, why_not_finite
  if abs(rise) <= max(RESOLUTION * loss, FINEST):
    return None, f'the rise is below what float32 resolves at a loss of {loss:.3g}'
  return rise, ''


def _ratio(largest: Row, smallest: Row) -> tuple[float | None, str]:
  if not abs(smallest['value']) > smallest['residual']:
    return None, 'the smallest eigenvalue cannot be told from 0: use more --steps'
  return largest['value'] / smallest['value'], ''


def table(rows: list[Row]) -> Table:
  """Returns the rows for a person, every measurement beside training loss and learning rate."""
  result = Table(title='Sharpness', caption=CAPTION, caption_justify='left')
  boxes = [name for name in rows[0] if name.startswith('keskar_')]
  shown = ('train_loss', judged().train, 'learning_rate_now')
  heads = ['lane', 'batch size', 'trial', 'examples', 'train loss']
  heads += [judged().metric.title, 'rate now']
  heads += ['lambda_max', 'x rate', 'threshold', 'trace', 'SAM']
  heads += [name.replace('_', ' ') for name in boxes]
  for head in heads:
    result.add_column(head, justify='right')
  for row in rows:
    cells = [str(row[name]) for name in ('lane', 'batch_size', 'trial', 'examples')]
    cells += [_text(row[name]) for name in shown]
    cells += [_largest(row), _text(row['lambda_max_times_learning_rate'])]
    cells += [_text(row['stability_threshold'])]
    cells += [_with_error(row['trace'], row['trace_standard_error'])]
    cells += [_text(row[name]) for name in ('sam', *boxes)]
    result.add_row(*cells)
  return result


def _largest(row: Row) -> str:
  if row['lambda_max'] is None:
    return 'undefined'
  first = row['eigenvalues'][0]
  if first['converged']:
    return _text(first['value'])
  return f'~{_with_error(first["value"], first["residual"])}'


def _with_error(value: float | None, error: float | None) -> str:
  return _text(value) if error is None else f'{_text(value)} ±{error:.1g}'


def _text(value: float | None) -> str:
  return 'undefined' if value is None else f'{value:.3g}'
