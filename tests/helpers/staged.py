"""Made-up studies of stages, with a planted slope in each."""

import numpy as np

from helpers import synthetic

EXAMPLES, EPOCHS = 4096, 16.0
SIZES = (8, 16, 64)
WIGGLE = (0.0, 0.002, -0.001)  # of trials


def config(order=('head', 'tail'), epochs=(4.0, 12.0), report=(), normalization='group', **keys):
  """A config of stages, each with the keys of a stage that the analysis reads."""
  config = synthetic.config(normalization)
  config['stages'] = {'order': list(order)}
  for name, length in zip(order, epochs, strict=True):
    config['stages'][name] = {'epochs': length, 'examples': 0, 'trainable': []} | keys
    config['stages'][name].setdefault('batch_size', ['keep'])
  if order:
    config['stages'][order[0]]['trainable'] = ['Dense_1/*']
  config['report'] = {'epochs': list(report)}
  return config


def grows(lane, updates, epoch):
  """Accuracies with a slope of -0.02 a doubling until epoch 4, and of +0.01 after it."""
  slope = -0.02 if epoch <= 4 else 0.01
  wiggle = WIGGLE[lane['trial']] * (1 + lane['batch_size'] / 64)
  val = 0.5 + 0.01 * epoch + slope * np.log2(lane['batch_size'] / 8) + wiggle
  return {'val_accuracy': val, 'train_accuracy': 0.9}


def turning(lane, updates, epoch):
  """Accuracies of which the second branch has more, and re-estimated ones that turn about."""
  row = grows(lane, updates, epoch)
  row['val_accuracy'] += (0.01 + 0.002 * lane['trial']) * (lane['branch'] == 'multiply:2')
  return row | {
    'reestimated_val_accuracy': 1.4 - row['val_accuracy'],
    'reestimated_train_accuracy': 0.9,
  }


def made(value=grows, ends=4.0, sizes=SIZES, branches=('',)):
  """Plan and records every epoch; a record at the end of a stage belongs to it."""
  plan, rows = [], []
  for branch in branches:
    lanes = synthetic.plan(sizes, (0.1,), 3, examples=EXAMPLES, epochs=EPOCHS)
    lanes = [lane | {'branch': branch, 'lane': lane['lane'] + len(plan)} for lane in lanes]
    plan += lanes
    for lane in lanes:
      for index in range(17):
        row = synthetic.record(lane, index / 16)
        epoch = row['epoch']
        row['stage'] = int(epoch > ends)
        row['learning_rate_sum'] = 0.1 * row['updates']
        rows.append(row | value(lane, row['updates'], epoch))
  return plan, rows
