"""Sharpness against batch size: at the end of training, and where training losses are equal.

  python experiments/flat_minima/analyze.py WORKDIR

reads a finished run of configs/flat_minima.py with sharpness.json of all checkpoints, and writes
result.json beside itself.
"""

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np

from bsjax.stats.intervals import mean_interval
from bsjax.storage import records

HERE = Path(__file__).parent
MEASURES = ('lambda_max', 'trace', 'sam')
# Set before the run. Losses at which lanes are compared, half a decade apart:
LEVELS = (0.3, 0.1, 0.03)
# and the exponent up to which sharpness counts as not depending on the batch size: a fifth of
# "in proportion", at most a factor of 2.3 over the whole range of 64.
MARGIN = 0.2
FAILED = 1.0  # lanes that end with more training loss than this have not trained


def lanes(rows):
  """Every lane's rows in order of examples, those that failed left out."""
  in_order = sorted(rows, key=lambda row: (row['lane'], row['examples']))
  paths = [list(path) for _, path in itertools.groupby(in_order, lambda row: row['lane'])]
  return [path for path in paths if _sound(path[-1]) and path[-1]['train_loss'] < FAILED]


def _sound(row):
  return all(row[name] is not None and row[name] > 0 for name in (*MEASURES, 'train_loss'))


def at_level(path, level):
  """A lane where its training loss first passes a level, between two checkpoints in logs, or None.

  The untrained network lies on no line with a trained one.
  """
  for before, after in itertools.pairwise(path):
    if after['train_loss'] is None or after['train_loss'] >= level:
      continue
    if not before['examples'] or not (_sound(before) and _sound(after)):
      return None
    share = math.log(before['train_loss'] / level) / math.log(
      before['train_loss'] / after['train_loss']
    )
    mixed = {
      name: math.exp((1 - share) * math.log(before[name]) + share * math.log(after[name]))
      for name in MEASURES
    }
    accuracy = (1 - share) * before['val_accuracy'] + share * after['val_accuracy']
    return after | mixed | {'train_loss': level, 'val_accuracy': accuracy}
  return None


def in_all_trials(rows, trials):
  """The rows of batch sizes and learning rates that no trial lacks."""
  by_setting = {}
  for row in rows:
    by_setting.setdefault((row['batch_size'], row['learning_rate']), []).append(row)
  return [row for group in by_setting.values() if len(group) == trials for row in group]


def slope(rows, same, value):
  """The change of a value per doubling of the batch size, where `same` is equal.

  One slope per trial, by least squares with one level for each value of `same`; Student's interval
  over trials. None where nothing is shared by two batch sizes.
  """
  by_trial = {}
  for row in rows:
    groups = by_trial.setdefault(row['trial'], {})
    point = math.log2(row['batch_size']), value(row)
    groups.setdefault(round(math.log2(same(row)), 6), []).append(point)
  slopes = []
  for groups in by_trial.values():
    centred = [np.array(group) - np.mean(group, axis=0) for group in groups.values()]
    x, y = np.concatenate(centred).T
    if not x.any():
      return None
    slopes.append(float(x @ y / (x @ x)))
  return mean_interval(slopes).to_json('slope') if slopes else None


def learning_rate(row):
  return row['learning_rate']


def rate_per_example(row):
  return row['learning_rate'] / row['batch_size']


def comparison(rows, at, equal, same):
  """Slopes of all measures (of log2, so exponents), and whether they are within the margin."""
  found = {
    name: slope(rows, same, lambda row, name=name: math.log2(row[name]))
    for name in (*MEASURES, 'train_loss')
  }
  for entry in filter(None, found.values()):
    low, high = entry['ci95']
    entry['within_margin'] = bool(low >= -MARGIN and high <= MARGIN)
  accuracy = slope(rows, same, lambda row: row['val_accuracy'])
  settings = {(row['batch_size'], row['learning_rate']) for row in rows}
  result = {'at': at, 'equal': equal, 'settings': len(settings)}
  return result | found | {'val_accuracy': accuracy}


def by_setting(rows, keys):
  """Geometric means over trials, one row for each batch size and learning rate."""
  groups = {}
  for row in rows:
    groups.setdefault((row['batch_size'], row['learning_rate']), []).append(row)
  return [
    {'batch_size': size, 'learning_rate': rate}
    | {key: math.exp(math.fsum(math.log(row[key]) for row in group) / len(group)) for key in keys}
    for (size, rate), group in sorted(groups.items())
  ]


def paths(trained):
  """The largest eigenvalue and the loss along training, as geometric means over trials."""
  steps = zip(*(path[1:] for path in trained), strict=True)
  moments = [by_setting(filter(_sound, rows), ('train_loss', 'lambda_max')) for rows in steps]
  result = {}
  for row in itertools.chain(*moments):
    path = result.setdefault((row['batch_size'], row['learning_rate']), [])
    path.append([row['train_loss'], row['lambda_max']])
  return [
    {'batch_size': size, 'learning_rate': rate, 'loss_and_lambda_max': path}
    for (size, rate), path in sorted(result.items())
  ]


def analyze(workdir):
  """What result.json holds."""
  rows = json.loads((workdir / 'sharpness.json').read_text())['rows']
  trials = len({row['trial'] for row in rows})
  trained = lanes(rows)
  moments = {'end': [path[-1] for path in trained]}
  for level in LEVELS:
    at = (at_level(path, level) for path in trained)
    moments[f'{level:g}'] = [row for row in at if row]
  moments = {name: in_all_trials(found, trials) for name, found in moments.items()}
  equal = {'learning rate': learning_rate, 'learning rate per example': rate_per_example}
  return {
    'margin': MARGIN,
    'failed': FAILED,
    'levels': LEVELS,
    'trials': trials,
    'lanes': len({row['lane'] for row in rows}),
    'trained': len(trained),
    'checkpoints': len({row['examples'] for row in rows}),
    'comparisons': [
      comparison(found, at, name, same)
      for at, found in moments.items()
      for name, same in equal.items()
      if found
    ],
    'settings': {
      at: by_setting(found, (*MEASURES, 'train_loss', 'val_accuracy'))
      for at, found in moments.items()
    },
    'paths': paths(trained),
  }


if __name__ == '__main__':
  records.write_json(HERE / 'result.json', analyze(Path(sys.argv[1])))
