"""Columns of drawn records: clocks, noise scales, classes, other metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from bsjax.config.metrics import FRACTION, LossEntry, MetricEntry, stored
from bsjax.plan.lanes import StudyPlan
from helpers import world_files
from helpers.draw import Draw
from helpers.kept_records import BITS, SCORE, Rows, Study

METRICS = (
  (MetricEntry('loss', 'cross entropy', 'cross entropy values', False, 'nats', 0), 1.0),
  (BITS._replace(margin=0.02), 1.44),
  (BITS, 1.44),
  (SCORE, -1.0),
  (MetricEntry('f1', 'F1 score', 'F1 scores', True, FRACTION, 0, 1, margin=0.01), None),
  (MetricEntry('mistakes', 'error rate', 'error rates', False, FRACTION, 0, 1), None),
)


def clocks(config: ConfigDict, planned: StudyPlan, rows: Rows) -> None:
  """Epochs, updates, batch sizes and learning rates as stages and the schedule make them."""
  parts, known = (
    planned.stages,
    [{lane.lane: lane for lane in part.lanes} for part in planned.stages],
  )
  for row in rows:
    at = next(i for i, part in enumerate(parts) if row['examples'] <= part.end)
    done = [(part.end - part.start, known[i][row['lane']]) for i, part in enumerate(parts[:at])]
    lane = known[at][row['lane']]
    done.append((row['examples'] - parts[at].start, lane))
    updates = [examples // one.batch_size for examples, one in done]
    summed = sum(count * one.learning_rate for count, (_, one) in zip(updates, done, strict=True))
    share = row['examples'] / planned.total_examples
    row |= {'stage': at, 'epoch': parts[at].epoch(row['examples']), 'updates': sum(updates)}
    row |= {
      'batch_size': lane.batch_size,
      'learning_rate_sum': summed * _mean_factor(config, share),
    }
    row['learning_rate'] = lane.learning_rate * _factor(config, share)


def _factor(config: ConfigDict, share: float) -> float:
  """The learning rate at a share of training, over its peak; without the warm-up."""
  schedule = config.schedule
  if schedule.name == 'cosine':
    return 0.5 * (1 + math.cos(math.pi * share))
  passed = [mark for mark in schedule.boundaries if mark <= share]
  return schedule.factor ** len(passed) if schedule.name == 'step' else 1.0


def _mean_factor(config: ConfigDict, share: float) -> float:
  return float(np.mean([_factor(config, share * (i + 0.5) / 32) for i in range(32)]))


def noise(draw: Draw, lanes: Rows, rows: Rows) -> None:
  """Noise scales of every kind; |G|^2 may be below zero, and some moments are not known."""
  kinds = draw.one((), ('noise',), ('noise', 'noise_early'), ('exact',), ('noise', 'exact'))
  kinds += draw.one((), (), ('preconditioned_noise', 'preconditioned_noise_early'))
  if 'exact' in kinds:
    kinds += draw.one((), ('preconditioned',), ('curvature',))
  level, spread = draw.one(0.5, 20.0, 400.0), draw.one(0.05, 0.3, 2.0)
  missing, spans = draw.one(0.0, 0.0, 0.1), draw.chance(0.7)

  def moments(count: int) -> dict[str, Any]:
    noisy = draw.random.normal(0, 1, 2)
    known = {'trace': level * math.exp(0.1 * noisy[0]), 'grad_sq': 1.0 + spread * noisy[1]}
    known |= {'trace_var': 0.1 * level**2, 'grad_sq_var': 4 * spread**2, 'cov': 0.01 * level}
    lost = draw.chance(missing)
    return {'count': count, **known, 'negative': draw.one(0.0, 0.25)} | (
      dict.fromkeys(('trace', 'grad_sq')) if lost else {}
    )

  few = draw.one(2, 40)
  for row in rows:
    if not row['examples'] or row['diverged'] or 'val_examples' in row:
      continue
    for kind in kinds:
      if kind.startswith(('noise', 'preconditioned_')):
        count = few if kind.endswith('early') else draw.one(0, 6, 80, 80)
        window = moments(count)
        row[kind] = window | ({'spans': moments(count // 8)} if spans else {})
    if 'exact' in kinds and (row['lane'] % 7 or spread < 1):
      row['exact'] = _exact(moments, kinds)


def _exact(moments: Callable[[int], dict[str, Any]], kinds: tuple[str, ...]) -> dict[str, Any]:
  found: dict[str, Any] = {'examples': 64}
  for kind in ('plain', 'preconditioned', 'curvature'):
    if kind == 'plain' or kind in kinds:
      probe = moments(64)
      pair = probe['trace'], probe['grad_sq']
      ratio = pair[0] / pair[1] if None not in pair and pair[1] > 0 else None
      del probe['count'], probe['negative']
      found[kind] = probe | {'n': 64, 'noise_scale': ratio}
  return found


def classes(draw: Draw, rows: Rows, unequal: bool) -> dict[str, Any]:
  """data.json; accuracies by class where these are unequal, some of which are not known."""
  facts = world_files.facts(5000)
  if not unequal:
    return facts
  train = draw.one([400, 200, 100, 50, 25, 12, 6], [90, 300, 30, 300], [50, 7], [60, 60, 60])
  held = [20] * len(train)
  held[-1] = draw.one(20, 20, 0)
  harder = np.linspace(0.0, draw.one(0.1, 0.4), len(train))[np.argsort(np.argsort(train))[::-1]]
  lost, fresh = draw.one(-1, -1, 3), draw.one(0.0, 0.01)
  for row in rows:
    slope = 0.01 * math.log2(row['batch_size']) * np.arange(len(train))
    by_class = np.clip(row['val_accuracy'] - harder - slope * draw.random.random(), 0, 1).tolist()
    by_class = [None if not count else x for x, count in zip(by_class, held, strict=True)]
    if row['lane'] != lost:
      row['val_class_accuracy'] = by_class
    known = [x for x in by_class if x is not None]
    row['val_balanced_accuracy'] = math.fsum(known) / len(known)
    if 'reestimated_val_accuracy' in row and row['lane'] != lost:
      again = [None if x is None else max(0.0, x - fresh) for x in by_class]
      row['reestimated_val_class_accuracy'] = again
  seen = {'batch_size': 8, 'mean': 2.5, 'percentile_5': 1.0, 'share_lacking': 0.9, 'batches': 40}
  per_batch = [seen | {'classes': len(train)}]
  per_batch += [seen | {'batch_size': 64, 'share_lacking': 0.0, 'classes': len(train)}]
  facts |= {'class_names': [f'c{i}' for i in range(len(train))], 'classes_per_batch': per_batch}
  return facts | {'class_counts': {'train': train, 'validation': held}}


def reestimated(draw: Draw, lanes: Rows, rows: Rows) -> None:
  """The same again as under re-estimated statistics, of which large batches gain more."""
  lag = draw.one(0.0, 1e-4, -2e-4)
  for row in rows:
    for key in ('train_loss', 'val_loss', 'train_accuracy', 'val_accuracy'):
      row[f'reestimated_{key}'] = row[key]
    by = lag * lanes[row['lane']]['batch_size'] * (row['examples'] > 0)
    row['reestimated_val_accuracy'] = min(1.0, row['val_accuracy'] + by)


def of_metric(draw: Draw, study: Study) -> Study:
  """The study as one that is judged by another metric."""
  metric, factor = draw.one(*METRICS)
  config = json.loads(json.dumps(study.config))
  said = {'task': stored(metric, LossEntry(*draw.one(('cross entropy', 'nats', 0), ('energy',))))}
  if draw.chance(0.5):
    said |= {'model': {'name': 'Decoder'}, 'data': {'name': 'a set of ours', 'images': False}}
    config['model'] |= {'name': 'own'}
    config['data'] |= {'source': 'own', 'name': 'a set of ours'}
  if draw.chance(0.5):
    said |= {'optimizer': {'name': 'Sophia', 'hyperparameters': draw.one({}, {'rho': 0.04})}}
    config['optimizer'] |= {'name': 'own'}
  rows = [_judged_row(row, metric, factor) for row in study.rows]
  return study._replace(config=config | {'own': said}, rows=rows, facts=None)


def _judged_row(
  row: Mapping[str, Any], metric: MetricEntry, factor: float | None
) -> dict[str, Any]:
  found = {key: value for key, value in row.items() if not key.endswith('accuracy')}
  for split in ('train', 'val'):
    loss, accuracy = row.get(f'{split}_loss'), row.get(f'{split}_accuracy')
    of = accuracy if factor is None else loss
    value = None if of is None else of if factor is None else factor * of
    if value is not None and metric.name == 'mistakes':
      value = 1 - value
    found[f'{split}_{metric.name}'] = value
  return found
