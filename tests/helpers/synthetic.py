"""Made-up studies with known numbers, in the form in which a run leaves them on disk."""

import itertools
import math

import numpy as np


def config(normalization='group', **data):
  """The part of a resolved config that the analysis and the report read."""
  return {
    'seed': 0,
    'epochs': 30.0,
    'trials': 3,
    'micro_batch': 'auto',
    'data': {'source': 'digits', 'name': ''} | data,
    'model': {'name': 'mlp', 'normalization': normalization},
    'optimizer': {'name': 'sgd', 'momentum': 0.9},
    'schedule': {'name': 'cosine'},
    'scaling': {'rule': 'none', 'base_batch_size': 64},
  }


def plan(batch_sizes, learning_rates, trials, examples=43008, epochs=30.0):
  """One row per lane, in the order of a real plan."""
  settings = itertools.product(batch_sizes, learning_rates, range(trials))
  return [
    {
      'lane': lane,
      'group': 0,
      'batch_size': batch_size,
      'learning_rate': learning_rate,
      'trial': trial,
      'branch': '',
      'micro_batch': min(batch_sizes),
      'accumulation': batch_size // min(batch_sizes),
      'updates': examples // batch_size,
      'examples': examples,
      'epochs': epochs,
    }
    for lane, (batch_size, learning_rate, trial) in enumerate(settings)
  ]


def record(lane, share, **values):
  """The record of a lane after a share of its training."""
  row = {
    'lane': lane['lane'],
    'examples': round(share * lane['examples']),
    'updates': round(share * lane['updates']),
    'epoch': share * lane['epochs'],
    'stage': 0,
    'learning_rate': lane['learning_rate'],
    'train_loss': 1.0,
    'train_accuracy': 0.5,
    'val_loss': 1.0,
    'val_accuracy': 0.5,
    'diverged': False,
    'b_simple': None,
    'noise': noise(0, None, None),
  }
  return row | values


def noise(count, trace, grad_sq):
  """The noise measurements of a window, without their spread."""
  spread = dict.fromkeys(('trace_var', 'grad_sq_var', 'cov'))
  return {'count': count, 'trace': trace, 'grad_sq': grad_sq, 'negative': 0.0} | spread


def realistic(plan_rows, evaluations=15, seed=0, diverges=lambda lane: False):
  """Records that look like those of a small network: for pictures, not for numbers."""
  random = np.random.default_rng(seed)
  bases = [_ends(lane, random) for lane in plan_rows]
  rows = []
  for index in range(evaluations + 1):
    share = index / evaluations
    for lane, (ceiling, speed) in zip(plan_rows, bases, strict=True):
      if diverges(lane) and share > 0.2:
        nothing = dict.fromkeys(('train_loss', 'val_loss'), math.nan)
        failed = {'train_accuracy': 0.1, 'val_accuracy': 0.1, 'diverged': True}
        rows.append(record(lane, share, **nothing, **failed))
        continue
      rows.append(_healthy(lane, share, ceiling, speed, evaluations, random))
  return rows


def _ends(lane, random):
  step = lane['learning_rate'] * (64 / lane['batch_size']) ** 0.6
  mismatch = abs(math.log(step / 0.1))
  ceiling = 0.975 - 0.004 * mismatch**1.7 - 0.004 * max(0, math.log2(lane['batch_size'] / 64))
  return ceiling + random.normal(0, 0.0035), 14 * min(1.0, step / 0.1) ** 0.5


def _healthy(lane, share, ceiling, speed, evaluations, random):
  progress = 1 - math.exp(-speed * share)
  error = 0.9 * (1 - progress) + (1 - ceiling) * progress + random.normal(0, 0.002) * progress
  val = 1 - min(max(error, 0.005), 0.95)
  train = min(1.0, val + 0.024 * progress)
  updates = max(1, lane['updates'] // evaluations)
  grad_sq = (0.4 * math.exp(-5 * share) + 0.02) * math.exp(random.normal(0, 0.12))
  grad_sq += random.normal(0, 0.4) * (lane['batch_size'] / 256) * 0.03
  trace = 3.5 * (0.3 + share) * math.exp(random.normal(0, 0.08))
  measured = noise(updates, trace, grad_sq) if share else noise(0, None, None)
  return record(
    lane,
    share,
    train_loss=2.3 * (1 - progress) + 0.004 + (1 - train),
    train_accuracy=train,
    val_loss=2.3 * (1 - progress) + 3 * (1 - val),
    val_accuracy=val,
    noise=measured,
    b_simple=trace / grad_sq if share and grad_sq > 0 else None,
  )


def sharpness(sizes=(8, 16), learning_rate=0.05, examples=43008):
  """sharpness.json of two lanes; the second has not converged."""
  row = {'lane': 0, 'batch_size': sizes[0], 'trial': 0, 'learning_rate': learning_rate}
  row |= {'learning_rate_now': learning_rate, 'examples': examples, 'examples_used': 64}
  row |= {'train_loss': 0.0123, 'train_accuracy': 1.0, 'val_accuracy': 0.9}
  row |= {'lambda_max': 20.0, 'lambda_max_times_learning_rate': 1.0, 'trace': 50.0}
  row |= {'eigenvalues': [{'value': 20.0, 'residual': 0.01, 'converged': True}]}
  row |= {'stability_threshold': 3.8, 'sam': 0.02, 'undefined': {}}
  other = row | {'lane': 9, 'lambda_max': 9.5, 'sam': None, 'batch_size': sizes[1]}
  other |= {'eigenvalues': [{'value': 9.5, 'residual': 2.0, 'converged': False}]}
  other |= {'undefined': {'sam': 'the rise is rounding'}}
  return {'rows': [row, other], 'mode': 'evaluation'}
