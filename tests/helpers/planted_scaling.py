"""Made-up studies of several scaling rules, in which one law of the learning rate is true."""

import math

import numpy as np

from bsjax.plan.scaling_rules import rates
from helpers import synthetic

BASE = 32
RULE = 'none,sqrt,linear'


def config(learning_rates=(0.1, 0.2, 0.4), rule=RULE, base=BASE, normalization='group'):
  """As synthetic.config, with what the comparison of rules reads."""
  return synthetic.config(normalization) | {
    'learning_rates': list(learning_rates),
    'scaling': {'rule': rule, 'base_batch_size': base},
  }


def plan(config, sizes=(32, 64, 128), trials=5, examples=4096, epochs=4.0):
  """One row per lane: every batch size at the learning rates of all rules."""
  scaling, rows = config['scaling'], []
  for size in sizes:
    tried = rates(scaling['rule'], config['learning_rates'], size, scaling['base_batch_size'])
    rows += synthetic.plan((size,), tried, trials, examples, epochs)
  return [row | {'lane': lane, 'micro_batch': 32} for lane, row in enumerate(rows)]


def records(
  plan_rows,
  power=1.0,
  seed=0,
  seeds=0.05,
  own=0.01,
  best=0.2,
  cost=0.02,
  accuracy_noise=0.002,
  evaluations=8,
  diverges=lambda lane: False,
):
  """Records in which what counts is learning_rate / (batch size)^power alone.

  `seeds` is the standard deviation of a trial's log loss, shared by its lanes, `own` that of a
  lane; accuracies fall by `cost` for every e-fold from the `best` rate of the base batch size, with
  `accuracy_noise` of a lane beside that of the trial.
  """
  random = np.random.default_rng(seed)
  trials = sorted({row['trial'] for row in plan_rows})
  shared = {trial: random.normal(0, seeds) for trial in trials}
  lucky = {trial: random.normal(0, 0.01) for trial in trials}
  rows = []
  for lane in plan_rows:
    rate = lane['learning_rate'] * (BASE / lane['batch_size']) ** power
    private, luck = random.normal(0, own), random.normal(0, accuracy_noise)
    for index in range(evaluations + 1):
      share = index / evaluations
      if diverges(lane) and share > 0.4:
        nothing = {'train_loss': None, 'val_loss': None, 'diverged': True}
        rows.append(synthetic.record(lane, share, **nothing))
        continue
      loss = 2.3 * math.exp(-3 * share * min(rate / best, 2.0) ** 0.5 + shared[lane['trial']])
      accuracy = 0.9 - cost * abs(math.log(rate / best)) + lucky[lane['trial']] + luck
      # Of a lane at share 0 nothing of its own can be seen yet.
      values = {'train_loss': loss * math.exp(private if share else 0.0)}
      values |= {'val_accuracy': 0.1 + (accuracy - 0.1) * (1 - math.exp(-8 * share))}
      values |= {'val_loss': values['train_loss'], 'learning_rate_sum': share}
      rows.append(synthetic.record(lane, share, **values))
  return rows


def records_at_distances(plan_rows, distances, evaluations=4):
  """Records whose training curves lie at given distances from that of the base batch size.

  `distances[batch size, learning rate]` lists those of the trials, in logs of the training loss.
  """
  rows = []
  for lane in plan_rows:
    above = distances.get((lane['batch_size'], lane['learning_rate']))
    distance = above[lane['trial']] if above is not None else 0.0
    for index in range(evaluations + 1):
      share = index / evaluations
      log_loss = math.log(2.3) - 2 * share + 0.05 * lane['trial'] + (distance if share else 0.0)
      loss = math.exp(log_loss)
      rows.append(synthetic.record(lane, share, train_loss=loss, val_loss=loss))
  return rows
