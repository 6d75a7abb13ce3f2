"""Made-up studies with columns of their own: noise scales, classes, other metrics, tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bsjax.config import base_config
from bsjax.config.metrics import LossEntry, MetricEntry, stored
from helpers import synthetic

Rows = list[dict[str, Any]]


class Study(NamedTuple):
  """What a workdir holds."""

  config: Mapping[str, Any]
  plan: Rows
  rows: Rows
  facts: Mapping[str, Any] | None = None
  cost: Mapping[str, Any] | None = None
  sharpness: Mapping[str, Any] | None = None


def noisy() -> Study:
  """Noise scales of every kind; those of the largest batch size have no upper bound."""
  config = synthetic.config() | {'optimizer': {'name': 'adam', 'b1': 0.9, 'b2': 0.999}}
  plan = synthetic.plan((8, 32, 128), (0.05, 0.1), 3)
  random, rows = np.random.default_rng(0), []

  def window(size: int, count: int, factor: float) -> dict[str, Any]:
    trace = factor * 40 * math.exp(random.normal(0, 0.1))
    grad_sq = 2.0 + random.normal(0, 0.1) if size < 128 else random.normal(0.1, 1.5)
    spread = {'trace_var': 9.0, 'grad_sq_var': 4.0, 'cov': 0.5, 'negative': 0.25}
    moments = {'count': count, 'trace': trace, 'grad_sq': grad_sq} | spread
    return moments | {'spans': moments | {'count': count // 8}}

  def probe(size: int, factor: float) -> dict[str, Any]:
    kept_of = window(size, 100, factor)
    ratio = kept_of['trace'] / kept_of['grad_sq']
    known = {key: kept_of[key] for key in ('trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov')}
    return known | {'noise_scale': ratio if ratio > 0 else None, 'n': 100}

  for row in synthetic.realistic(plan, evaluations=6):
    size = plan[row['lane']]['batch_size']
    if row['examples']:
      row['noise'], row['noise_early'] = window(size, 80, 1.0), window(size, 4 * (size > 8), 1.2)
      row['preconditioned_noise'] = window(size, 80, 2.0)
      row['preconditioned_noise_early'] = window(size, 10, 2.5)
    if size != 32:
      kinds = {'plain': probe(size, 1.1), 'preconditioned': probe(size, 2.2)}
      row['exact'] = {'examples': 100, **kinds, 'curvature': probe(size, 0.7)}
    rows.append(row)
  return Study(config, plan, rows)


def long_tail(normalization: str = 'group', **data: Any) -> Study:
  """Accuracies by class, of which small batches are better at the rare ones."""
  plan, random = synthetic.plan((8, 16, 32), (0.1,), 4), np.random.default_rng(1)
  base = np.array([0.9, 0.85, 0.8, 0.7, 0.6, 0.4, 0.3])
  lucky, rows = random.normal(0, 0.05, (4, 7)), []
  for lane in plan:
    doublings = np.log2(lane['batch_size'] / 16)
    slopes = np.array([0.0, 0.0, 0.01, 0.0, 0.0, -0.03, -0.04])
    found = base + slopes * doublings + lucky[lane['trial']] + random.normal(0, 0.004, 7)
    fresh = found - 0.01 * doublings * np.eye(7)[[5, 6]].sum(0)
    values = {'val_class_accuracy': found.tolist(), 'val_balanced_accuracy': float(found.mean())}
    values |= {'val_accuracy': float(found.mean()), 'train_accuracy': 0.9}
    if normalization == 'batch':
      values |= {'reestimated_val_class_accuracy': fresh.tolist()}
      values |= {f'reestimated_{split}_accuracy': 0.5 for split in ('val', 'train')}
      values |= {f'reestimated_{split}_loss': 0.5 for split in ('val', 'train')}
    rows += [synthetic.record(lane, 0.0), synthetic.record(lane, 1.0, **values)]
  counts = {'train': [400, 200, 100, 50, 25, 12, 6], 'validation': [20] * 7}
  seen = {'batch_size': 8, 'mean': 3.5, 'percentile_5': 2.0, 'share_lacking': 1.0, 'batches': 9}
  facts = {'class_names': list('abcdefg'), 'class_counts': counts}
  facts['classes_per_batch'] = [seen | {'classes': 7}]
  return Study(synthetic.config(normalization, **data), plan, rows, facts)


def tokens(metric: MetricEntry, name: str, best: float) -> Study:
  """A model of language from outside, judged by another metric than accuracy."""
  config = json.loads(base_config().to_json())
  task = stored(metric, LossEntry('cross entropy', 'nats', 0))
  data = {'name': "Python's reference", 'images': False}
  config |= {'own': {'task': task, 'model': {'name': 'Decoder'}, 'data': data}, 'epochs': 2.0}
  config['model'] |= {'name': 'own', 'normalization': 'none'}
  config['data'] |= {'source': 'own', 'name': data['name']}
  plan, rows = synthetic.plan((8, 16, 64), (0.002, 0.004, 0.008), 3, 8192, 2.0), []
  random = np.random.default_rng(3)
  for lane in plan:
    off = math.log(lane['learning_rate'] / 0.004) - 0.1 * math.log2(lane['batch_size'] / 16)
    luck = random.normal(0, 0.01) + 0.02 * lane['trial']
    for index in range(9):
      share = index / 8
      loss = 3.3 * math.exp(-1.5 * share**0.5) + (0.05 * off**2 + luck) * share
      value = best * loss
      row = synthetic.record(lane, share, train_loss=loss, val_loss=1.05 * loss)
      row = {key: row[key] for key in row if not key.endswith('accuracy')}
      rows.append(row | {f'train_{name}': value, f'val_{name}': 1.05 * value})
  return Study(config, plan, rows)


BITS = MetricEntry('bits', 'bits per character', 'bits per character', False, 'bits', 0)
SCORE = MetricEntry('score', 'log likelihood', 'log likelihoods', True)
