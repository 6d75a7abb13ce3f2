"""Tables of strangers drawn at random: every knob of what an audit is given, many at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from helpers import drawn_files
from helpers.drawn_files import MEASURED, Knobs


class Table(NamedTuple):
  """Files by name, or a frame, and what is said beside them; `knobs` say how it was drawn."""

  files: dict[str, bytes]
  frame: pd.DataFrame | None
  said: dict[str, Any]
  knobs: dict[str, Any]


def drawn(number: int) -> Table:
  """The table of a number."""
  knob = Knobs(np.random.default_rng((number, 2026)))
  rows = _spoiled(_beside(_runs(knob), knob), knob)
  rows = _cells(rows, knob)
  said: dict[str, Any] = {}
  way = knob('way', *['csv'] * 7, 'frame', 'frame', 'keras', 'charts', 'files', 'settings')
  rows = _clocks(rows, knob, said, way)
  rows = _metrics(rows, knob, way)
  rows = _in_order(rows, knob)
  _options(knob, said)
  rows = rows.dropna(axis=1, how='all')
  writers = {
    'csv': drawn_files.csv,
    'keras': drawn_files.keras,
    'charts': drawn_files.charts,
    'files': drawn_files.files,
  }
  writers |= {'settings': drawn_files.settings, 'frame': lambda rows, knob: {}}
  files = writers[way](rows, knob)
  frame = (
    None
    if files
    else drawn_files.named(rows.drop(columns=knob.drawn['dropped'], errors='ignore'), knob)
  )
  return Table(files, frame, said, knob.drawn)


def _runs(knob: Knobs) -> pd.DataFrame:
  """Runs of a small sweep, with all that may be logged."""
  random = knob.random
  count = knob('sizes', 2, *[3] * 5, *[4] * 4, 5, 1, 8)
  sizes = sorted(random.choice(2 ** np.arange(2, 11), count, replace=False).tolist())
  rates = 0.02 * knob('factor', 2.0, 2.0, 4.0, 3.0) ** np.arange(knob('rates', 1, 2, 3, 4, 4, 5))
  growth = knob('grid', 0.0, 0.0, 0.0, 0.5, 1.0)
  trials, epochs = knob('trials', 1, 2, 3, 3, 4, 4, 5), knob('epochs', 3, 4, 5, 6, 8, 8, 44)
  epochs = epochs if count < 5 else min(epochs, 6)
  examples = knob('train', 2048, 4096, 5000, 60000)
  slope, only = (
    knob('slope', 0.0, 0.002, 0.01, 0.02, -0.01),
    knob('only updates', False, False, True),
  )
  sd, best = knob('sd', 0.0005, 0.002, 0.01), float(random.choice(rates)) * random.uniform(0.8, 1.2)
  speed, power = knob('speed', 3.0, 8.0), knob('power', 0.0, 0.5, 1.0)
  whole = knob('rest', math.ceil, math.floor)
  luck, rows = random.normal(0, 2 * sd, trials), []
  for size in sizes:
    doublings = math.log2(size / sizes[0])
    for rate in (float(f'{rate * 2 ** (growth * doublings):.4g}') for rate in rates):
      for trial in range(trials):
        off = math.log(rate / best) - power * math.log(2) * doublings
        end = 0.9 - slope * doublings - 0.008 * off**2 + luck[trial] + random.normal(0, sd)
        own = random.normal(1, 0.03, 4)  # no two runs are alike in anything
        for epoch in range(1, epochs + 1):
          pace = speed * epoch / epochs * ((sizes[0] / size) ** 0.3 if only else 1.0)
          value = 0.1 + (end - 0.1) * -math.expm1(-pace) + random.normal(0, 0.2 * sd)
          row = {'batch_size': size, 'learning_rate': rate, 'trial': trial, 'epoch': epoch}
          train = value + 0.03 * own[0] * epoch / epochs - 0.005
          row |= {'val_accuracy': value, 'train_accuracy': train}
          row |= {'val_loss': -1.3 * math.log(max(value, 0.02)) + 0.02 * own[1] * pace}
          lasting = random.normal(0.02, 0.001) - 0.02 * slope * doublings
          row |= {'train_loss': 2.2 * own[2] * math.exp(-own[2] * pace) + lasting}
          row |= {'seconds': 0.001 * own[3] * epoch * examples * (1 / size + 0.01)}
          row |= {'updates': whole(examples / size) * epoch, 'examples': epoch * examples}
          rows.append(row)
  frame = pd.DataFrame(rows)
  frame[[*MEASURED, 'seconds']] = frame[[*MEASURED, 'seconds']].round(7)
  frame['train_accuracy'] = frame['train_accuracy'].clip(0, 1)
  frame['val_accuracy'] = frame['val_accuracy'].clip(0, 1)
  return frame.assign(run=_of_runs(frame))


def _of_runs(frame: pd.DataFrame) -> list[str]:
  keys = frame[['batch_size', 'learning_rate', 'trial']].itertuples(index=False)
  return [f'net_bs{size}_lr{rate:g}_seed{trial}' for size, rate, trial in keys]


def _beside(rows: pd.DataFrame, knob: Knobs) -> pd.DataFrame:
  """Settings and measurements that some tables have."""
  numbers = pd.Series(pd.factorize(rows['run'])[0], rows.index)
  size = rows['batch_size']
  columns = {
    'momentum': knob('momentum', None, None, None, 0.9, 0.8 + 0.1 * (numbers % 2)),
    'weight_decay': knob('decay', None, None, None, 0.0005, 0.0),
    'warmup_updates': knob('warmup', None, None, None, 0, 20),
    'batch_norm_momentum': knob('statistics', None, None, None, None, 0.99, 0.9),
    'nesterov': knob('other setting', None, None, None, numbers % 3 > 0, 'yes'),
    'hostname': knob('host', None, None, 'node' + (numbers % 4).astype(str)),
    'sharpness': knob('sharp', None, None, None, (40.0 * size**-0.3 + numbers**1.5 % 5).round(6)),
    'reestimated_val_accuracy': knob(
      'fresh', *[None] * 5, rows['val_accuracy'] + 0.0004 * size**0.5
    ),
    'stage': knob('stage', *[None] * 5, np.where(rows['epoch'] > 2, 'tail', 'head')),
  }
  rows = rows.assign(**{name: values for name, values in columns.items() if values is not None})
  knob.drawn = {k: v if not hasattr(v, 'index') and not hasattr(v, 'shape') else 'yes'
                for k, v in knob.drawn.items()}  # fmt: skip
  if 'reestimated_val_accuracy' in rows:
    rows['reestimated_val_accuracy'] = rows['reestimated_val_accuracy'].clip(0, 1).round(7)
  return rows


def _spoiled(rows: pd.DataFrame, knob: Knobs) -> pd.DataFrame:
  """Runs that diverge, stop early, or are not there; metrics that are logged now and then."""
  runs = rows['run'].drop_duplicates().tolist()
  one, other = (runs[int(knob.random.integers(len(runs)))] for _ in range(2))
  half = rows['epoch'] > rows['epoch'].max() / 2
  fails = knob('fails', *['none'] * 4, 'one', 'largest rate', 'largest size')
  of = {'one': rows['run'] == one, 'none': rows['run'] == ''}
  of['largest rate'] = rows['learning_rate'] == rows['learning_rate'].max()
  of['largest size'] = (rows['batch_size'] == rows['batch_size'].max()) & (rows['trial'] != 1)
  value = knob('fails as', math.inf, 'nan', 'chance')
  for name in MEASURED:
    if name in rows and value != 'chance':
      rows[name] = rows[name].mask(of[fails] & half, math.inf)
  if value == 'chance':
    rows['val_accuracy'] = rows['val_accuracy'].where(
      ~(of[fails] & half), 0.13 * rows['val_accuracy']
    )
  lacks = knob('lacks', *['none'] * 6, 'run', 'end', 'rate', 'ends')
  if lacks == 'run' and len(runs) > 2:
    rows = rows[rows['run'] != other]
  if lacks == 'end':
    rows = rows[~(half & (rows['run'] == other))]
  if lacks == 'ends':  # each run stops by itself
    numbers = pd.Series(pd.factorize(rows['run'])[0], rows.index)
    rows = rows[rows['epoch'] <= rows['epoch'].max() - numbers % 3]
  if lacks == 'rate' and rows['learning_rate'].nunique() > 1:
    least = rows['learning_rate'] == rows['learning_rate'].min()
    rows = rows[~(least & (rows['batch_size'] == rows['batch_size'].min()))]
  if knob('now and then', *[False] * 5, True):
    rows['val_accuracy'] = rows['val_accuracy'].where(rows['epoch'] % 2 == 0)
  return rows


def _cells(rows: pd.DataFrame, knob: Knobs) -> pd.DataFrame:
  """Several studies in one table: of one name, or told apart by two columns."""
  cells = knob('cells', *[1] * 8, 2, 3)
  parts = []
  for number in range(cells):
    part = rows.copy()
    apart = 0.004 * number * np.log2(part['batch_size']) * (-1) ** number
    for name in MEASURED:
      part[name] *= 1 + 0.002 * number * knob.random.normal(size=len(part))
    part['val_accuracy'] = (part['val_accuracy'] + apart).clip(0, 1)
    part['train_accuracy'] = part['train_accuracy'].clip(0, 1)
    part[[*MEASURED]] = part[[*MEASURED]].round(7)
    parts.append(part.assign(N=100 * 2 ** (number % 2), D=f'data{number // 2}'))
  if cells == 1:
    return rows
  rows = pd.concat(parts, ignore_index=True)
  return rows.assign(run=rows['run'] + '_n' + rows['N'].astype(str) + rows['D'])


def _clocks(rows: pd.DataFrame, knob: Knobs, said: dict[str, Any], way: str) -> pd.DataFrame:
  """Which clocks are logged; some make the table one that cannot be read."""
  options = 'epoch', 'epoch', 'epoch', 'from 0', 'start', 'updates', 'steps', 'examples'
  options += 'epoch and steps', 'epoch and updates', 'epoch and examples', 'other steps'
  clock = knob('clock', *options) if way in ('csv', 'frame') else 'epoch'
  if way == 'charts':
    clock = 'steps'
  keep = {'updates': ['updates'], 'steps': ['step'], 'examples': ['examples']}
  keep |= {'epoch and steps': ['epoch', 'step'], 'epoch and updates': ['epoch', 'updates']}
  keep |= {'epoch and examples': ['epoch', 'examples'], 'other steps': ['epoch', 'step']}
  rows = rows.assign(step=rows['updates'] if clock != 'other steps' else rows['epoch'] * 10)
  if clock == 'from 0':
    rows = rows.assign(epoch=rows['epoch'] - 1)
  if clock == 'start':
    first = rows[rows['epoch'] == 1].assign(epoch=0, updates=0, examples=0, step=0, seconds=0.0)
    first = first.assign(val_accuracy=0.1, train_accuracy=0.1, val_loss=2.3, train_loss=2.3)
    rows = pd.concat([first, rows], ignore_index=True)
  others = {'epoch', 'updates', 'examples', 'step'} - set(keep.get(clock, ['epoch']))
  if knob('time', 'seconds', None, None) is None:
    others.add('seconds')
  if {'N', 'D'} <= set(rows) and way in ('csv', 'frame', 'files'):
    said['columns'] = {'cell': 'N+D' if rows['D'].nunique() > 1 else 'N'}
  return rows.drop(columns=sorted(others))


def _metrics(rows: pd.DataFrame, knob: Knobs, way: str) -> pd.DataFrame:
  """Which metrics are logged, in which unit."""
  options = 'all', 'all', 'accuracy', 'accuracies', 'losses', 'loss', 'error', 'test', 'both'
  kept = knob('metrics', *options) if way != 'keras' else 'all'
  unit = knob('unit', 1, 1, 1, 100, 100, '%') if way not in ('keras', 'charts') else 1
  drop = {'losses': MEASURED[:2], 'accuracy': MEASURED[1:], 'accuracies': MEASURED[2:]}
  drop |= {'loss': (*MEASURED[:2], 'train_loss'), 'error': ('train_accuracy', 'train_loss')}
  drop |= {'test': MEASURED[1:3], 'both': ('train_accuracy',)}
  rows = rows.drop(columns=list(drop.get(kept, ())))
  if kept == 'error':
    rows = rows.assign(val_error=(1 - rows['val_accuracy']).round(7)).drop(columns='val_accuracy')
    rows['val_error'] = rows['val_error'].where(rows['val_error'] > -math.inf, math.inf)
  if kept == 'test':
    rows = rows.rename(columns={'val_accuracy': 'test_accuracy'})
  if kept == 'both':
    rows = rows.assign(test_accuracy=(0.99 * rows['val_accuracy']).round(7))
  fractions = [n for n in rows if n.endswith(('_accuracy', '_error'))]
  if unit != 1:
    rows[fractions] = (100 * rows[fractions]).round(6)
  if unit == '%':
    rows[fractions] = rows[fractions].map(lambda x: f'{x:g}%' if math.isfinite(x) else None)
  return rows


def _in_order(rows: pd.DataFrame, knob: Knobs) -> pd.DataFrame:
  """Labels of runs, rows in any order, some written twice or again."""
  labels = knob('labels', *['trial'] * 4, 'run', 'both', 'none', 'apart')
  if labels == 'apart':  # no trial is that of another batch size
    rows = rows.assign(trial=rows['trial'] + 10 * rows['batch_size'])
  order = knob('order', 'runs', 'runs', 'any', 'clock', 'twice', 'resumed')
  if order == 'any' and labels != 'none':
    rows = rows.sample(frac=1.0, random_state=int(knob.random.integers(1000)))
  if order == 'clock' and labels != 'none':
    clock = next(name for name in ('epoch', 'updates', 'step', 'examples') if name in rows)
    rows = rows.sort_values(clock, kind='stable')
  if order == 'twice':
    rows = pd.concat([rows, rows.iloc[3:7]])
  if order == 'resumed' and labels != 'none':
    again = rows[rows['run'] == rows['run'].iloc[0]].tail(2)
    number = [name for name in MEASURED if name in again and again[name].dtype == float]
    rows = pd.concat([rows, again.assign(**{name: again[name] + 0.001 for name in number})])
  drop = {'run': ['trial'], 'none': ['trial', 'run']}.get(labels, ['run'] * (labels != 'both'))
  knob.drawn['dropped'] = drop
  return rows


def _options(knob: Knobs, said: dict[str, Any]) -> None:
  """What is said beside the table."""
  size = knob('said size', None, None, *[knob.drawn['train']] * 4, 999)
  options = {
    'train_examples': size,
    'batch_norm': knob('said norm', None, 'none', 'none', 'none', 0.9, 0.99),
  }
  options |= {'momentum': knob('said momentum', None, 0.9, 0.0)}
  options |= {'weight_decay': knob('said decay', None, 0.0, 0.001)}
  options |= {'price_per_hour': knob('price', None, None, 2.5)}
  said |= {name: value for name, value in options.items() if value is not None}
