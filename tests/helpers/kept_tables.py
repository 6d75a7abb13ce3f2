"""What is said of tables, arms and several studies; `tests/report/test_kept.py` keeps it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bsjax import format
from bsjax.analysis.decide.decision import decision
from bsjax.audit import audit
from bsjax.audit.problem import Problem
from bsjax.report import arms_page, compare, methods
from bsjax.report.text import decision as decision_text
from bsjax.storage import records
from helpers import audit_worlds, critical_studies, kept_figures, planted_scaling, synthetic
from helpers.kept import Kept, text, visible
from helpers.pages import save


def audited(table: pd.DataFrame, columns: Mapping[str, str] = {}, **said: Any) -> Kept:
  """audit.json, what is printed, and the page."""
  found = audit(table, columns=columns, **said)
  result = {key: value for key, value in found.result.items() if key != 'versions'}
  with kept_figures.noted() as figures, tempfile.TemporaryDirectory() as folder:
    page = found.write(folder).read_text()
    claims = (Path(folder) / 'claims.csv').read_text().partition('\n')[0]
  numbers = {'audit': result, 'views': figures}
  return Kept(
    numbers, {'printed': text(found.table()), 'page': visible(page), 'claims.csv': claims}
  )


def planted(name: str) -> Kept:
  said = audit_worlds.PLANTED[name].said
  frame = audit_worlds.table(name, 3, (11, 0))
  frame = frame[frame['epoch'].isin(sorted(set(frame['epoch']))[::4])]
  frame = frame[frame['batch_size'].isin((8, 64, 256))]
  return audited(frame, train_examples=8192, momentum=0.9, weight_decay=0.0, **said)


def strangers(seed: int = 4, **columns: Any) -> pd.DataFrame:
  """A small sweep of which smaller batches are ahead."""
  random = np.random.default_rng(seed)
  rows = [
    {'batch_size': size, 'learning_rate': rate, 'trial': trial, 'epoch': epoch}
    | {'val_accuracy': 0.5 + 0.08 * epoch - 0.01 * math.log2(size) + random.normal(0, 0.004)}
    | {
      'train_loss': 2.0 / (1 + epoch * rate) + 0.001 * size,
      'seconds': 3.0 * epoch * (1 + 8 / size),
    }
    for size in (16, 64, 256)
    for rate in (0.1, 0.3)
    for trial in range(3)
    for epoch in range(1, 6)
  ]
  return pd.DataFrame(rows).assign(**columns)


def losses() -> Kept:
  """A table of losses alone, with tokens for a clock and nothing said of the rates."""
  frame = strangers()
  frame = frame[frame['learning_rate'] == 0.1].drop(columns=['learning_rate', 'val_accuracy'])
  frame = frame.assign(val_loss=1.1 * frame['train_loss'] + 0.01 * frame['trial'])
  return audited(frame)


def cells() -> Kept:
  """Two cells, of which the second says the opposite."""
  one, other = strangers(model='m0'), strangers(5, model='m1')
  other['val_accuracy'] = 0.9 - other['val_accuracy'] + 0.15 * other['epoch']
  both = pd.concat([one, other], ignore_index=True)
  return audited(both, {'cell': 'model'}, price_per_hour=2.0, train_examples=4096)


def files() -> Kept:
  """Tables as others write them: what was guessed, and what cannot be read."""
  frame = strangers()[['batch_size', 'learning_rate', 'trial', 'epoch', 'val_accuracy']]
  plain = frame[(frame['learning_rate'] == 0.1) & (frame['epoch'] > 2)]
  steps = plain.assign(step=plain['epoch'] * 4096 // plain['batch_size'])
  percent = 100 * (1 - plain['val_accuracy'])
  tables = {
    'steps': steps.drop(columns=['learning_rate', 'trial']),
    'error': plain.assign(val_error=percent, note='x').drop(columns='val_accuracy'),
    'updates': steps.rename(columns={'step': 'updates', 'val_accuracy': 'test_acc'}),
    'names': plain.rename(columns={'batch_size': 'bs', 'trial': 'seed', 'val_accuracy': 'acc'}),
    'nothing': plain.assign(val_accuracy='n/a'),
    'no clock': plain.drop(columns='epoch'),
    'half': plain.assign(batch_size=plain['batch_size'] + 0.5),
    'twice': pd.concat([plain, plain.assign(val_accuracy=0.5)]),
    'metric': plain.drop(columns='val_accuracy'),
  }
  numbers, words = {}, {}
  with tempfile.TemporaryDirectory() as folder:
    for name, table in tables.items():
      path = Path(folder) / f'{name}.csv'
      table.to_csv(path, index=False)
      try:
        numbers[name] = (found := audit([path])).result['batch_sizes']
        words[name] = '\n'.join(
          [found.result['answer']['headline'], *found.result['read']['notes']]
        )
      except Problem as problem:
        words[name] = str(problem)
  return Kept(numbers, words)


def _arms(folder: Path, scaled: bool) -> None:
  """Two arms that have ended, and of plain ones a third that has not."""
  for number in range(3):
    path = folder / 'arms' / f'arm{number}'
    if scaled:
      config = planted_scaling.config((0.2,))
      plan = planted_scaling.plan(config, (32, 64), trials=3)
      rows = planted_scaling.records(plan, 1.0, number, evaluations=4)
    else:
      config = synthetic.config()
      config['model']['name'] = ('mlp', 'cnn', 'cnn')[number]
      plan = synthetic.plan((8, 32), (0.1, 0.2), 3)
      rows = synthetic.realistic(plan, evaluations=6, seed=5)
      for row in rows:
        row['val_accuracy'] += 0.01 * number * (1 + 0.2 * plan[row['lane']]['trial'])
    unfinished = number == 2 and not scaled
    rows = [row for row in rows if not unfinished or row['examples'] < 20_000]
    save(path, config, plan, rows, not unfinished)


def arms(scaled: bool = False) -> Kept:
  """summary.json, the page and methodology.txt of a study of arms."""
  # With pages of the arms, whose figures are those of studies and not drawn.
  own = 'forest', 'condition_sizes', 'condition_curves', 'rules_figure'
  with kept_figures.noted(own) as figures, tempfile.TemporaryDirectory() as folder:
    path = Path(folder)
    _arms(path, scaled)
    page = arms_page.write(path).read_text()
    method = methods.write(path).read_text()
    summary = records.read_json(path / 'summary.json')
  words = {'page': visible(page), 'methodology.txt': method}
  return Kept(summary | {'views': figures}, words)


def compared() -> Kept:
  """Two studies and an audit on one page."""
  with kept_figures.noted() as figures, tempfile.TemporaryDirectory() as folder:
    path = Path(folder)
    for number in range(2):
      config = synthetic.config() | {'seed': number}
      plan = synthetic.plan((8, 16, 32), (0.1, 0.2), 3)
      rows = synthetic.realistic(plan, evaluations=6, seed=number)
      for row in rows:
        row['val_accuracy'] -= 0.01 * math.log2(plan[row['lane']]['batch_size'])
      save(path / f'study{number}', config, plan, rows)
    audit(strangers()).write(path / 'audited')
    names = 'study0', 'study1', 'audited'
    page = compare.write([path / name for name in names], path / 'out').read_text()
    result = records.read_json(path / 'out' / 'compare.json')
  return Kept({'compared': result, 'views': figures}, {'page': visible(page)})


def critical_question() -> Kept:
  """The critical batch size as a question, decided in rounds."""
  world = critical_studies.World('ends at 64', sizes=(8, 16, 32, 64))
  found = critical_studies.study(world, 1)
  entry = decision(found.config, found.plan, found.records)
  numbers = {key: value for key, value in entry.items() if key not in ('claims', 'rounds')}
  told = [*decision_text.rounds(entry)]
  lines = [decision_text.headline(entry), decision_text.detail(entry), *map(str, told)]
  plain = {'critical': numbers['critical'], 'sizes': numbers['sizes'], 'why': found.last.why}
  boxes = [look.trials for look in found.looks]
  return Kept(plain | {'trials': boxes, 'runs': found.runs}, {'said': '\n'.join(lines)})


NUMBERS = (0, 0.00012345, 0.5, 9.995, 99.95, 999.4, 999.6, 1000, 123456.7, -0.25, -1500.4, None)
INTERVALS = (
  (None, None, None),
  (0.973, None, None),
  (0.973, 0.9691, 0.9772),
  (12345.6, 12e3, 13e3),
)
INTERVALS += ((-0.0123, -0.0127, -0.0119), (2e7, 1e7, 3e7), (0.0, -0.1, 0.1), (210.0, 200.0, 215.0))


def formats() -> Kept:
  """Numbers and lists as people read them."""
  words = {'number': '\n'.join(map(format.number, NUMBERS))}
  for name in ('percent', 'plus_minus'):
    function = getattr(format, name)
    said = [function({'mean': mean, 'ci95': [low, high]}) for mean, low, high in INTERVALS]
    words[name] = '\n'.join(said)
  words['measured'] = '\n'.join(format.measured(*three) for three in INTERVALS)
  words['bytes'] = '\n'.join(map(format.bytes_text, (None, 0, 2**20, 2**30 - 1, 2**30, 5 * 2**40)))
  lists = [], [8], [8, 16], [8, 16, 32]
  words['lists'] = '\n'.join([*map(format.joined, lists), *map(format.sizes_text, lists[1:])])
  words['from_to'] = '\n'.join(map(format.from_to, ([3], [3, 3], [8, 3, 5])))
  words['by_reason'] = '\n'.join(format.by_reason({8: 'a', 16: 'b', 32: 'a'}))
  return Kept({}, words)


TABLES: dict[str, Callable[[], Kept]] = {
  'audit_only_updates': lambda: planted('only_updates'),
  'audit_only_stale': lambda: planted('only_stale'),
  'audit_only_untuned': lambda: planted('only_untuned'),
  'audit_losses': losses,
  'audit_cells': cells,
  'audit_files': files,
  'arms': arms,
  'arms_of_rules': lambda: arms(scaled=True),
  'compared': compared,
  'critical_question': critical_question,
  'formats': formats,
}
