"""Tables that are wrong or unusual in one way each; what is said is kept by test_kept.py."""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bsjax.audit import audit
from bsjax.audit.problem import Problem
from helpers.audit_tables import sweep
from helpers.kept import Kept


def _said_of(table: pd.DataFrame | Mapping[str, bytes], said: Mapping[str, Any]) -> str:
  """The answer, notes, claims and what else may be the cause; or the refusal."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    try:
      if isinstance(table, pd.DataFrame):
        found = audit(table, **said)
      else:
        for file, content in table.items():
          (folder / file).write_bytes(content)
        found = audit([folder / file for file in table], **said)
    except Problem as problem:
      return str(problem).replace(str(folder), 'FOLDER')
  result = found.result
  claims = [
    f'{row["verdict"]} {row["n"]}: {row["claim"]}; {row["why"]}' for row in result['claims']
  ]
  around = [f'{row["confound"]} {row["present"]}: {row["evidence"]}' for row in result['confounds']]
  return '\n'.join([result['answer']['headline'], *result['read']['notes'], *claims, *around])


def wrong() -> Kept:
  """Tables that are wrong, or unusual, in one way each."""
  plain = _said_of(PLAIN, {})
  words, usual = {'plain': plain}, set(plain.splitlines()[1:])
  for name, made in {**_values(), **_rows(), **_clocks(), **_bytes(), **_exports()}.items():
    table, said = made if isinstance(made, tuple) else (made, {})
    lines = _said_of(table, said).splitlines()
    words[name] = '\n'.join(line for line in lines if line not in usual)
  return Kept({}, words)


def _value(size: int, rate: float, epoch: int) -> float:
  """No two settings are as good."""
  return 0.5 + 0.05 * epoch - 0.004 * math.log2(size) - 0.0123 * (rate > 0.1)


PLAIN = sweep(_value, sizes=(8, 16, 64), rates=(0.1, 0.2))
# No differences are equal, and none lies half way between two that are written.
PLAIN['val_accuracy'] += 0.0007 * np.sin(1.7 * np.arange(len(PLAIN)) ** 1.3)


def _at(column: str, value: Any, rows: Any = 5) -> pd.DataFrame:
  """The plain table with another value in a row."""
  frame = PLAIN.astype({column: object}) if isinstance(value, str) else PLAIN.copy()
  if isinstance(value, float):
    frame[column] = frame[column].astype(float)
  frame.loc[rows, column] = value
  return frame


def _values() -> dict[str, Any]:
  """Columns and values that cannot be, or may be two things."""
  acc, rename = 'val_accuracy', PLAIN.rename
  values = {
    acc: (1.2, -0.1, 130.0, math.nan, math.inf, 'abc', '93%', ' nan '),
    'batch_size': (0, 2.5, 2.0**41, math.nan, 'x'),
    'learning_rate': (0.0, -0.1, math.inf, math.nan),
    'epoch': (-1, math.inf, math.nan, 2.5),
    'trial': (math.nan, 7, '2'),
  }
  tables: dict[str, Any] = {
    f'{column} {value}': _at(column, value) for column, each in values.items() for value in each
  }
  tables |= {f'{column} missing': PLAIN.drop(columns=column) for column in PLAIN}
  percent = PLAIN.assign(val_accuracy=100 * PLAIN[acc])
  signs = PLAIN.assign(val_accuracy=[f'{100 * value:.2f}%' for value in PLAIN[acc]])
  two = PLAIN.assign(val_acc=PLAIN[acc], valid_top1=PLAIN[acc]).drop(columns=acc)
  smooth = PLAIN.assign(val_acc=PLAIN[acc], val_acc_smooth=PLAIN[acc]).drop(columns=acc)
  text_, said = PLAIN.astype(str), {'columns': {'val_error': acc}}
  return tables | {
    'percent': percent,
    'percent above': percent.assign(val_accuracy=percent[acc] * 1.6),
    'signs': signs,
    'signs in part': signs.assign(val_accuracy=signs[acc].where(signs.index != 4, '55')),
    'two names': two,
    'smooth': smooth,
    'only smooth': smooth.drop(columns='val_acc'),
    'texts': text_,
    'said error': (PLAIN, said),
    'said percent': (PLAIN, {'columns': {acc: f'{acc}%'}}),
    'said nothing': (PLAIN, {'columns': {'val_loss': ''}}),
    'said unknown': (PLAIN, {'columns': {'batch_sze': 'batch_size'}}),
    'said absent': (PLAIN, {'columns': {'batch_size': 'batchsize'}}),
    'said two': (PLAIN, {'columns': {'batch_size': 'batch_size+epoch'}}),
    'said as text': (rename(columns={'epoch': 'at'}), {'columns': 'epoch=at, cell=trial'}),
    'unlike name': rename(columns={acc: 'score'}),
    'training alone': rename(columns={acc: 'accuracy'}),
    'falls': PLAIN.assign(val_accuracy=0.9 - PLAIN[acc]),
    'no rows': PLAIN[:0],
    'no loss': rename(columns={acc: 'val_loss'}).assign(val_loss=0.6 - PLAIN[acc]),
    'momentum 1': PLAIN.assign(momentum=1.0),
    'seconds below': PLAIN.assign(seconds=-1.0),
    'seconds fall': PLAIN.assign(seconds=10 - PLAIN['epoch']),
    'one size': PLAIN[PLAIN['batch_size'] == 8],
    'one epoch': PLAIN[PLAIN['epoch'] == 4],
    'column twice': PLAIN.set_axis(['batch_size', 'epoch', 'trial', 'epoch', acc], axis=1),
  }


def _rows() -> dict[str, Any]:
  """Rows that contradict each other, and runs that change their batch size."""
  size, epoch, acc = PLAIN['batch_size'], PLAIN['epoch'], PLAIN['val_accuracy']
  runs = PLAIN.assign(run=[f'{s}-{r}-{t}' for s, r, t, *_ in PLAIN.itertuples(index=False)])
  bare = PLAIN.drop(columns='trial')
  late = runs[(size == 64) & (PLAIN['learning_rate'] == 0.1)]
  late = late.assign(run='late ' + late['run'], val_accuracy=late['val_accuracy'] + 0.01)
  shrunk = late.assign(batch_size=late['batch_size'].where(late['epoch'] < 4, 16))
  grown = late.assign(batch_size=late['batch_size'].where(late['epoch'] < 3, 128), frozen='conv')
  grown = grown.assign(run='grown ' + grown['run'])
  anew = pd.concat([shrunk, shrunk.assign(epoch=shrunk['epoch'] - 0.5)])
  kind = runs['run'].str[:1].where(runs.index != 3)
  return {
    'twice unlike': pd.concat([PLAIN, _at('val_accuracy', 0.4)[5:6]]),
    'once more': pd.concat([PLAIN, PLAIN[5:7]]),
    'completing': pd.concat([PLAIN.assign(train_loss=np.nan), PLAIN.assign(train_loss=1 / epoch,
                             val_accuracy=np.nan)]),
    'restarts': bare,
    'restarts mixed': bare.sort_values('epoch', kind='stable'),
    'label of two runs': runs.assign(trial=0),
    'rate of a name': bare.drop(columns='learning_rate').assign(run=runs['run'] + ' lr0'),
    'run empty': runs.assign(run=runs['run'].where(runs.index != 3)),
    'cell empty': (runs.assign(kind=kind), {'columns': {'cell': 'kind'}}),
    'shrinking': pd.concat([runs, shrunk]),
    'shrinking and growing': pd.concat([runs.assign(frozen=''), shrunk.assign(frozen='no'), grown]),
    'growing': pd.concat([runs, grown.drop(columns='frozen')]),
    'all change': shrunk,
    'begins anew': pd.concat([runs, anew]),
    'shrinking updates': pd.concat([runs, shrunk]).assign(epoch=lambda f: f['epoch'] * 100)
    .rename(columns={'epoch': 'updates'}),
    'lost late': PLAIN.assign(val_accuracy=acc.where((size != 64) | (epoch < 3), math.inf)),
    'all lost': PLAIN.assign(val_accuracy=acc.where(epoch < 3, math.inf)),
    'sparse': PLAIN.assign(val_accuracy=acc.where(epoch % 2 == 0), train_loss=1 / epoch),
    'run without': PLAIN.assign(val_accuracy=acc.where((size != 8) | (PLAIN['trial'] != 1))),
    'run without others': PLAIN.assign(
      val_accuracy=acc.where(PLAIN.index != 2),
      train_accuracy=(1.02 * acc).where((size != 16) | (PLAIN['trial'] != 1)),
    ),
    'other setting': runs.assign(dropout=0.1 * (PLAIN['trial'] % 2)),
    'empty note': PLAIN.assign(note=np.nan, host='a', id=range(len(PLAIN))),
  }  # fmt: skip


def _clocks() -> dict[str, Any]:
  """Clocks that contradict each other, and ends that differ."""
  size, epoch, acc = PLAIN['batch_size'], PLAIN['epoch'], PLAIN['val_accuracy']
  updates, mixed = epoch * 6400 // size, epoch.where(size > 8)
  schedule = PLAIN[PLAIN['learning_rate'] == 0.1].assign(learning_rate=0.1 / epoch)
  fine = PLAIN.loc[PLAIN.index.repeat(60)].reset_index(drop=True)
  fine = fine.assign(epoch=fine['epoch'] - 1 + (np.arange(len(fine)) % 60 + 1) / 60)
  uneven = PLAIN.assign(examples=epoch * 6400 + 3 * (epoch == 4) * (size == 8)).drop(
    columns='epoch'
  )
  return {
    'steps': PLAIN.assign(step=updates).drop(columns='epoch'),
    'steps alike': PLAIN.rename(columns={'epoch': 'step'}),
    'steps beside': PLAIN.assign(step=updates),
    'other steps': PLAIN.assign(step=10 * epoch),
    'steps and updates': PLAIN.assign(step=epoch, updates=updates),
    'contradict': PLAIN.assign(updates=100 * epoch),
    'mixed': PLAIN.assign(epoch=mixed, updates=updates.where(size == 8)),
    'mixed known': (PLAIN.assign(epoch=mixed, updates=updates.where(size == 8)),
                    {'train_examples': 6400}),
    'size unlike': (PLAIN.assign(updates=updates), {'train_examples': 9000}),
    'dropped': PLAIN.assign(updates=epoch * (1000 // size)),
    'drops little': (PLAIN.assign(updates=epoch * (64100 // size)), {'train_examples': 64100}),
    'own ends': PLAIN[epoch <= 4 - PLAIN['trial']],
    'fresh': PLAIN.assign(reestimated_val_accuracy=acc + 0.004 * np.log2(size)),
    'norm said': (PLAIN, {'train_examples': 6400, 'batch_norm': 0.99}),
    'from 0': PLAIN.assign(epoch=epoch - 1),
    'from 0, updates': PLAIN.assign(epoch=epoch - 1, updates=updates),
    'start': PLAIN.assign(epoch=epoch - 1, updates=(epoch - 1) * 6400 // size),
    'beyond': (PLAIN.assign(epoch=epoch * 1e15), {'train_examples': 10**6}),
    'rates of the moment': schedule,
    'thinned': fine,
    'uneven ends': uneven,
  }  # fmt: skip


def _bytes() -> dict[str, Any]:
  """Files that are no table."""
  plain = PLAIN.to_csv(index=False)
  lines = plain.splitlines()
  contents = {
    'empty': '',
    'header alone': lines[0],
    'no header': '\n'.join(lines[1:]),
    'zero byte': plain.replace('0.1', '0\0', 1),
    'name twice': plain.replace('trial', 'epoch', 1),
    'no name': '\n'.join([lines[0] + ',', *(line + ',x' for line in lines[1:])]),
    'no name, empty': '\n'.join([lines[0] + ',', *(line + ',' for line in lines[1:])]),
    'long row': plain.replace('\n', ',1,2\n', 3),
    'open quote': plain.replace('0.1', '"0.1', 2),
    'quoted header': plain.replace('trial', '"trial', 1),
    'blank lines': plain.replace('\n', '\n\n'),
    'latin': plain.replace('trial', 'trial,Läufe').replace('\n', ',é\n'),
    'semicolons': plain.replace(',', ';').replace('.', ','),
    'semicolons, points': plain.replace(',', ';'),
    'json lines': PLAIN.to_json(orient='records', lines=True),
  }
  tables = {name: {'a.csv': content.encode('latin-1')} for name, content in contents.items()}
  packed = gzip.compress(plain.encode(), mtime=0)
  tables |= {'gzip': {'a.csv.gz': packed}, 'half a gzip': {'a.csv.gz': packed[:60]}}
  return tables | {
    'no gzip': {'a.csv': b'\x1f\x8b123'},
    'utf-16': {'a.csv': plain.encode('utf-16')},
  }


def _exports() -> dict[str, Any]:
  """What other programs write, in ways that cannot be read."""
  history = {'loss': [2.0, 1.0, 0.5], 'val_loss': [2.1, 1.5, 1.0], 'val_accuracy': [0.3, 0.5, 0.6]}
  lost = {'val_accuracy': [0.3, math.nan, math.nan]}
  one = {'history': history, 'params': {'batch_size': 8, 'epochs': 3}, 'lr': 0.1}
  contents = {
    'no json': '{', 'no run': [], 'a text': ['x'], 'history a text': {'history': 'x'},
    'unequal': {**history, 'loss': [1.0]}, 'no curve': {'params': 3}, 'lists in': {'loss': [[1]]},
    'not finite': [one, {'params': {'batch_size': 16}, 'history': history | lost}],
    'names': {'a_b8_s1': one, 'a_b8_s2': one, 'c_b32': one},
    'no size': history,
  }  # fmt: skip
  tables: dict[str, Any] = {
    name: {'h.json': (content if isinstance(content, str) else json.dumps(content)).encode()}
    for name, content in contents.items()
  }
  chart = (
    'Step,b8_s0 - val/acc,b8_s0 - val/acc__MIN,b64_s0 - val/acc\n10,0.5,0.5,0.4\n80,0.7,0.7,0.5\n'
  )
  loss = chart.replace('val/acc', 'val/loss')
  curves = 'run,epoch,val_acc\na,1,0.5\na,2,0.6\nb,1,0.4\nb,2,0.5\n'
  charts = {
    'chart': (chart,),
    'chart of time': (chart.replace('Step', 'Relative Time (Wall)'),),
    'two axes': (chart.replace('Step', 'Step,x').replace('\n1', '\n1,1').replace('\n8', '\n8,8'),),
    'two metrics': (chart.replace('b64_s0 - val/acc', 'b64_s0 - val/loss'),),
    'grouped': (chart.replace('0.7,0.7', '0.7,0.6'),),
    'two charts': (chart.replace('Step', 'epoch'), loss.replace('Step', 'epoch')),
    'two charts of one': (chart, chart),
    'unlike axes': (chart.replace('Step', 'epoch'), loss),
    'settings': (curves, 'run,bs,lr\na,8,0.1\nb,16,0.1\n'),
    'settings twice': (curves, 'run,bs\na,8\na,16\nb,16\n'),
    'settings lack': (curves, 'run,bs\na,8\n'),
    'settings of nobody': (curves, 'bs,lr\n8,0.1\n'),
    'no settings': (curves,),
    'names in part': (curves.replace('\na', '\nbs8_lr0.1').replace('\nb,', '\nbs16,'),),
  }
  files = {name: {f'{place}.csv': content.encode() for place, content in enumerate(contents_)}
           for name, contents_ in charts.items()}  # fmt: skip
  return tables | files
