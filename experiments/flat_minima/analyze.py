"""Sharpness against batch size: at equal learning rate, rate per example, and training loss.

  python experiments/flat_minima/analyze.py WORKDIR

reads a finished run of configs/flat_minima.py with sharpness.json of all checkpoints, and writes
result.json and figure.png beside itself.
"""

import dataclasses
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bsjax.report.figures.drawing import themed
from bsjax.stats.intervals import mean_interval
from bsjax.storage import records

HERE = Path(__file__).parent
MEASURES = ('lambda_max', 'trace', 'sam')
LEVEL = 0.1  # the training loss at which lanes are compared: all but the slowest pass it
TRAINED = 1.0  # lanes that end with more training loss than this have failed


def finals(rows):
  """Every lane's row at its last checkpoint, those that failed left out."""
  last = {}
  for row in sorted(rows, key=lambda row: row['examples']):
    last[row['lane']] = row
  return [r for r in last.values() if r['train_loss'] is not None and r['train_loss'] < TRAINED]


def at_level(rows):
  """Every lane where its training loss first passes LEVEL, between two checkpoints in logs."""
  rows_at_level = []
  lanes = itertools.groupby(
    sorted(rows, key=lambda r: (r['lane'], r['examples'])), lambda r: r['lane']
  )
  for _, path in lanes:
    for before, after in itertools.pairwise(path):
      losses = before['train_loss'], after['train_loss']
      if None in losses or not losses[0] >= LEVEL > losses[1]:
        continue
      if not before['examples']:
        break  # the untrained network lies on no line with a trained one
      if any(row[name] is None or row[name] <= 0 for row in (before, after) for name in MEASURES):
        break
      share = math.log(losses[0] / LEVEL) / math.log(losses[0] / losses[1])
      mixed = {
        name: math.exp((1 - share) * math.log(before[name]) + share * math.log(after[name]))
        for name in MEASURES
      }
      rows_at_level.append(after | mixed | {'train_loss': LEVEL})
      break
  return rows_at_level


def slopes(rows, same):
  """The change of log2 of each measure per doubling of the batch size, where `same` is equal.

  One slope per trial, by least squares with one level for each value of `same`; Student's interval
  over trials.
  """
  result = {}
  for name in (*MEASURES, 'train_loss'):
    by_trial = []
    for trial in sorted({row['trial'] for row in rows}):
      groups = {}
      for row in rows:
        if row['trial'] == trial and row[name] is not None and row[name] > 0:
          point = math.log2(row['batch_size']), math.log2(row[name])
          groups.setdefault(round(math.log2(same(row)), 6), []).append(point)
      centred = [np.array(g) - np.mean(g, axis=0) for g in groups.values() if len(g) > 1]
      x, y = np.concatenate(centred).T
      by_trial.append(x @ y / (x @ x))
    mean, low, high, n = dataclasses.astuple(mean_interval(by_trial))[:4]
    result[name] = {'slope': mean, 'ci95': [low, high], 'n': n}
  return result


def rate(row):
  return row['learning_rate']


def rate_per_example(row):
  return row['learning_rate'] / row['batch_size']


@themed
def draw(rows):
  """The largest eigenvalue at the end, against both kinds of rate, and along training."""
  figure = Figure(figsize=(11.5, 4.2), layout='constrained')
  by_rate, by_ratio, along = figure.subplots(1, 3)
  colours = dict(
    zip((16, 64, 256, 1024), ('#2c0594', '#9c179e', '#ed7953', '#fdb42f'), strict=True)
  )
  for axes, at in ((by_rate, rate), (by_ratio, rate_per_example)):
    for row in finals(rows):
      axes.plot(at(row), row['lambda_max'], 'o', color=colours[row['batch_size']], alpha=0.7)
  for lane in sorted({row['lane'] for row in rows}):
    path = [r for r in rows if r['lane'] == lane and (r['lambda_max'] or 0) > 0 and r['train_loss']]
    path = [r for r in path if r['train_loss'] < 3 and r['examples']]
    x, y = [r['train_loss'] for r in path], [r['lambda_max'] for r in path]
    if path:
      along.plot(x, y, '-', color=colours[path[0]['batch_size']], linewidth=0.9, alpha=0.7)
  rates = sorted({row['learning_rate'] for row in rows})
  by_rate.plot(rates, [2 / r for r in rates], '--', color='#667085', label='2 / learning rate')
  by_rate.set(title='At the end', xlabel='learning rate', ylabel='largest eigenvalue')
  by_ratio.set(title='The same lanes', xlabel='learning rate / batch size')
  along.set(title='Along training', xlabel='training loss')
  along.invert_xaxis()
  for size, colour in colours.items():
    by_ratio.plot([], [], 'o', color=colour, label=f'batch size {size}')
  for axes in (by_rate, by_ratio, along):
    axes.set(xscale='log', yscale='log')
  by_rate.legend(fontsize=8)
  by_ratio.legend(fontsize=8)
  figure.savefig(HERE / 'figure.png', dpi=110)


def main(workdir):
  rows = json.loads((workdir / 'sharpness.json').read_text())['rows']
  end, level = finals(rows), at_level(rows)
  result = {
    'end, equal learning rate': slopes(end, rate),
    'end, equal learning rate per example of the batch': slopes(end, rate_per_example),
  }
  if level:
    result[f'at training loss {LEVEL}, equal learning rate'] = slopes(level, rate)
    result[f'at training loss {LEVEL}, equal learning rate per example of the batch'] = slopes(
      level, rate_per_example
    )
  keys = ('batch_size', 'learning_rate', 'trial', 'train_loss', 'val_accuracy', *MEASURES)
  rows_at_end = [{key: row[key] for key in (*keys, 'keskar_0.001')} for row in end]
  records.write_json(HERE / 'result.json', {'slopes': result, 'end': rows_at_end})
  draw(rows)


if __name__ == '__main__':
  main(Path(sys.argv[1]))
