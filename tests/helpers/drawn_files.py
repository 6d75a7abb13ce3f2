"""Tables as files of any dialect and any program, their columns as anybody calls them."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import numpy as np
import pandas as pd

NAMES = {
  'batch_size': ('batch_size', 'bs', 'batch-size', 'config/batch_size', 'Batch Size', 'minibatch'),
  'learning_rate': ('learning_rate', 'lr', 'config.lr', 'peak_lr', 'Learning Rate', 'base_lr'),
  'trial': ('trial', 'seed', 'rep', 'random_seed'),
  'run': ('run', 'run_id', 'Name', 'experiment'),
  'epoch': ('epoch', 'epochs', 'current_epoch', 'Epoch'),
  'updates': ('updates', 'global_step', 'iteration', 'trainer/global_step'),
  'examples': ('examples', 'samples', 'images_seen', 'samples_seen'),
  'seconds': ('seconds', 'elapsed', '_runtime'),
  'val_accuracy': ('val_accuracy', 'val_acc', 'Validation Accuracy', 'eval/top1', 'dev_acc@1'),
  'val_error': ('val_error', 'valid_err', 'Val Error Rate'),
  'train_accuracy': ('train_accuracy', 'train_acc', 'training/top1'),
  'val_loss': ('val_loss', 'valid_nll', 'eval/loss', 'validation_ce'),
  'train_loss': ('train_loss', 'Train Loss', 'train/xent', 'loss'),
  'test_accuracy': ('test_acc', 'test/accuracy', 'holdout_top1'),
  'momentum': ('momentum', 'sgd_momentum'),
  'weight_decay': ('weight_decay', 'wd'),
  'warmup_updates': ('warmup_steps', 'warmup'),
  'batch_norm_momentum': ('batch_norm_momentum', 'bn_momentum'),
  'sharpness': ('sharpness', 'lambda_max'),
  'frozen': ('frozen', 'freeze'),
}
MEASURED = 'val_accuracy', 'train_accuracy', 'val_loss', 'train_loss'


class Knobs:
  """Draws from options, and remembers what."""

  def __init__(self, random: np.random.Generator) -> None:
    self.random, self.drawn = random, {}

  def __call__(self, name: str, *options: Any) -> Any:
    self.drawn[name] = options[int(self.random.integers(len(options)))]
    return self.drawn[name]


def named(rows: pd.DataFrame, knob: Knobs) -> pd.DataFrame:
  """As strangers call the columns."""
  names = {name: knob(f'name of {name}', *NAMES[name]) for name in rows if name in NAMES}
  return rows.rename(columns=names)


def csv(rows: pd.DataFrame, knob: Knobs) -> dict[str, bytes]:
  """In any dialect."""
  rows = named(rows.drop(columns=knob.drawn['dropped'], errors='ignore'), knob)
  separator, mark = knob('separator', ',', ',', ';', '\t', '|'), knob('mark', '.', '.', ',')
  mark = '.' if separator == ',' else mark
  missing, lost = knob('missing', '', 'NA', '-'), knob('lost', 'nan', 'inf', 'NaN')
  rows = rows.astype(object).where(rows.notna(), missing).replace([math.inf, -math.inf], lost)
  if mark == ',':
    rows = rows.map(_with_comma)
  text = rows.to_csv(index=False, sep=separator, lineterminator=knob('lines', '\n', '\n', '\r\n'))
  text = knob('above', '', '', '', '\n\n') + text
  content = text.encode(knob('encoding', 'utf-8', 'utf-8', 'utf-8-sig', 'utf-16'))
  if knob('packed', False, False, False, True):
    return {'runs.csv.gz': gzip.compress(content, mtime=0)}
  return {'runs.csv': content}


def _with_comma(value: Any) -> Any:
  number = isinstance(value, float) or str(value).endswith('%')
  return str(value).replace('.', ',') if number else value


def files(rows: pd.DataFrame, knob: Knobs) -> dict[str, bytes]:
  """A file for each run, whose name tells the settings."""
  rows = rows.reset_index(drop=True)
  kept = named(rows.drop(columns=['batch_size', 'learning_rate', 'trial', 'run']), knob)
  return {
    f'{name}.csv': kept.loc[part.index].to_csv(index=False).encode()
    for name, part in rows.groupby('run', sort=False)
  }


def settings(rows: pd.DataFrame, knob: Knobs) -> dict[str, bytes]:
  """Curves in one file, the settings of runs in another."""
  settings = rows.drop_duplicates('run')[['run', 'batch_size', 'learning_rate', 'trial']]
  settings = settings.assign(run='r' + settings['run'].rank().astype(int).astype(str))
  numbers = rows['run'].rank(method='dense').astype(int)
  curves = rows.drop(columns=['batch_size', 'learning_rate', 'trial'])
  curves = curves.assign(run='r' + numbers.astype(str))
  return {
    'curves.csv': named(curves, knob).to_csv(index=False).encode(),
    'settings.csv': named(settings, knob).to_csv(index=False).encode(),
  }


def keras(rows: pd.DataFrame, knob: Knobs) -> dict[str, bytes]:
  """Histories of runs in one file: by name, or a list with their params."""
  listed, runs = knob('histories', 'list', 'names', 'single'), []
  for name, part in rows.groupby('run', sort=False):
    keras = {'train_accuracy': 'accuracy', 'train_loss': 'loss', 'val_accuracy': 'val_accuracy'}
    history = {to: part[of].tolist() for of, to in keras.items()} | {
      'val_loss': part['val_loss'].tolist()
    }
    first = part.iloc[0]
    settings = {'batch_size': int(first['batch_size']), 'lr': float(first['learning_rate'])}
    runs.append((name, history, settings | {'seed': int(first['trial'])}))
  if listed == 'single':
    return {f'{name}.json': json.dumps(history).encode() for name, history, _ in runs}
  if listed == 'names':
    return {'all.json': json.dumps({n: {'history': h, 'params': s} for n, h, s in runs}).encode()}
  return {'all.json': json.dumps([{'history': h, 'params': s} for _, h, s in runs]).encode()}


def charts(rows: pd.DataFrame, knob: Knobs) -> dict[str, bytes]:
  """A chart of each metric, with a column for each run."""
  files = {}
  for name in (
    name for name in rows if name in MEASURED or name.endswith(('_error', 'test_accuracy'))
  ):
    wide = rows.drop_duplicates(['run', 'step']).pivot(index='step', columns='run', values=name)
    called = knob(f'name of {name}', *NAMES[name])
    wide.columns = [f'{run} - {called}' for run in wide.columns]
    ends = wide.rename(columns=lambda n: f'{n}__MIN')
    if knob('ends', True, False):
      wide = pd.concat([wide, ends], axis=1)
    files[f'{name}.csv'] = wide.rename_axis('Step').reset_index().to_csv(index=False).encode()
  return files
