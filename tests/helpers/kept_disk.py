"""Files of workdirs: formats, names, refusals, repairs; `tests/studies/test_kept_runs.py`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bsjax.storage import (
  checkpoint,
  extensions,
  frames,
  lock,
  position,
  provenance,
  records,
  shards,
  sound,
  urls,
  workdirs,
)
from bsjax.storage.position import BatchSizes, BatchSizeState, Divergence, GivenUp, RateSum
from bsjax.storage.shards import Shard
from helpers import synthetic
from helpers.kept import Kept
from helpers.kept_arrays import drawn, plain, said
from helpers.kept_trainings import small

PLAN = synthetic.plan((8, 16), (0.1,), 2, examples=64, epochs=1.0)


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
  with tempfile.TemporaryDirectory() as name:
    yield Path(name)


def rows(share: float, **values: Any) -> list[dict[str, Any]]:
  own = {'b_simple_ci95': [1.5, None], 'by_class': [0.5, 0.25], 'note': None, 'text': 'x'}
  return [
    synthetic.record(lane, share, val_loss=share + lane['lane'], **own | values) for lane in PLAN
  ]


SHARES = 0.0, 0.5, 1.0


def written(folder: Path, plan: Any = PLAN, shares: Any = SHARES, config: Any = None) -> Path:
  """A workdir with plan, rows and a config."""
  folder.mkdir(parents=True, exist_ok=True)
  workdirs.write_config(folder, config or small())
  records.write_plan(folder / 'plan.csv', plan)
  numbers = {row['lane'] for row in plan}
  for share in shares:
    records.append(folder / 'records.jsonl', [row for row in rows(share) if row['lane'] in numbers])
  return folder


def rows_on_disk() -> Kept:
  """Rows and plans written, added to and read, whole and damaged, and as tables."""
  numbers: dict[str, Any] = {}
  with temporary() as folder:
    path = folder / 'records.jsonl'
    odd = {'f': np.float32(0.1), 'i': np.int64(3), 'n': float('nan'), 'l': np.arange(2), 'b': True}
    records.append(path, [odd | {'lane': 0}])
    path.write_bytes(path.read_bytes() + b'{"lane": 1, "cut')
    records.append(path, [{'lane': 1, 'examples': 8, 'dropped': True}, {'lane': 2}])
    numbers['appended'] = [path.read_text(), records.read(path)]
    numbers['dropped'] = {str(k): v for k, v in records.dropped(records.read(path)).items()}
    for name, text in {
      'half': '{"a": 1}\n{"a"',
      'list': '{"a": 1}\n[1]\n{"a": 2}\n',
      'no': '{a}\n',
    }.items():
      path.write_text(text)
      numbers[f'read {name}'] = said(lambda: records.read(path), folder)
      numbers[f'readable {name}'] = said(lambda: len(records.readable(path)[0]), folder)
    records.write_json(folder / 'a.json', {1: (np.float32(0.5), float('inf')), 'x': np.ones(2)})
    numbers['json'] = [(folder / 'a.json').read_text(), records.read_json(folder / 'a.json')]
    for name, text in {'list': '[1]', 'cut': '{"a"'}.items():
      (folder / 'a.json').write_text(text)
      numbers[f'json {name}'] = said(lambda: records.read_json(folder / 'a.json'), folder)
    numbers |= _plans(folder)
    written(folder / 'w')
    records.write(folder / 'w' / records.SUBSET, rows(0.5, val_examples=9))
    every = records.read_all(folder / 'w')
    numbers['all'] = [len(every), sorted(every[-1])]
    with contextlib.suppress(ImportError):
      table = frames.table(PLAN, [row for share in SHARES for row in rows(share)])
      numbers['table'] = {str(name): plain(table[name].tolist()) for name in table.columns}
      numbers['empty table'] = list(frames.table([], []).columns)
  return Kept(numbers, {})


def _plans(folder: Path) -> dict[str, Any]:
  numbers: dict[str, Any] = {}
  path = folder / 'plan.csv'
  more = [row | {'optimizer.momentum': 0.1 * i, 'branch': f'b{i}'} for i, row in enumerate(PLAN)]
  for name, plan in {'plain': PLAN, 'more': more}.items():
    records.write_plan(path, plan)
    numbers[f'plan {name}'] = [path.read_text(), records.read_plan(path)]
  numbers['plan odd'] = said(lambda: records.write_plan(path, [{'lane': 1}]), folder)
  text = path.read_text()
  for name, changed in {
    'old': '\n'.join(
      ','.join(line.split(',')[:5] + line.split(',')[6:]) for line in text.splitlines()
    ),
    'empty': text.splitlines()[0] + '\n',
    'cut': text.replace('0.1', 'x', 1),
    'lacks': text.replace('lane,', 'line,'),
  }.items():
    path.write_text(changed)
    numbers[f'plan {name}'] = said(lambda: records.read_plan(path), folder)
  return numbers


def sound_rows() -> Kept:
  """What can be kept of files of rows that lack some, or have them twice."""
  numbers: dict[str, Any] = {}
  whole = [row for share in SHARES for row in rows(share)]
  ended = [row | {'dropped': row['lane'] == 1 and row['examples'] == 32} for row in whole]
  files: dict[str, list[dict[str, Any]]] = {
    'whole': whole,
    'twice': [*whole[:6], whole[4], *whole[6:]],
    'unlike': [*whole[:6], whole[4] | {'epoch': 9.0}, *whole[6:]],
    'lacks': [row for row in whole if (row['lane'], row['examples']) != (2, 32)],
    'unplanned': [*whole[:5], whole[5] | {'lane': 9}, *whole[6:]],
    'typed': [*whole[:5], whole[5] | {'examples': 32.0}],
    'early': [row for row in whole if row['lane'] != 3 or row['examples'] < 64],
    'ended': [row for row in ended if row['lane'] != 1 or row['examples'] <= 32],
    'after its end': ended,
    'none': [],
  }
  with temporary() as folder:
    path = folder / 'records.jsonl'
    for name, some in files.items():
      records.write(path, some)
      found = said(lambda: sound.sound(path, range(4), [0, 32, 64]), folder)
      if isinstance(found, dict):
        found['rows'] = len(found['rows'])
      numbers[name] = [found]
      for marks in (None, [0, 32, 64], [0, 16]):
        numbers[name].append(
          said(lambda m=marks, some=some: sound.check(some, PLAN, path, m), folder)
        )
      checked = said(lambda some=some: sound.check(some, PLAN, path, None, {1: 32, 3: 0}), folder)
      numbers[name].append(checked)
    records.write(path, whole)
    numbers['cut'] = [len(sound.cut(path, whole, 32)), len(records.read(path))]
    numbers['cut all'] = [len(sound.cut(path, whole, -1)), len(records.read(path))]
    numbers['no file'] = said(lambda: sound.cut(folder / 'x', whole, 9))
    numbers['missing'] = said(lambda: sound.sound(folder / 'x', range(7), [8, 0]), folder)
  return Kept(numbers, {})


def positions_and_checkpoints() -> Kept:
  """A position as it is stored, by versions before too, and states with their checksums."""
  sizes = BatchSizes((BatchSizeState(8), BatchSizeState(32, 0.5)), (BatchSizeState(8, 2.0),))
  whole = position.Position(
    **{'stage': 1, 'examples': 64, 'ticks': (8, 4), 'rate_sums': (RateSum(8, (0.5, 1.5)),)},
    **{'batch_sizes': sizes, 'evaluated': 32, 'data': 'abc', 'given_up': (GivenUp(2, 16),)},
    diverged=(Divergence(1, 24, 'loss_not_finite', True),),
  )
  numbers: dict[str, Any] = {'stored': whole.to_json()}
  old = {'evaluated': 16, 'ticks': [2], 'data': ''}
  numbers['old'] = position.Position.from_json(old).to_json()
  numbers['same'] = position.Position.from_json(whole.to_json()) == whole
  states = [
    {'params': {'a': drawn(i, 2, 3)}, 'batch_stats': {}, 'updates': np.int32([i, 4])}
    for i in (1, 2)
  ]
  numbers['checksum'] = [checkpoint.checksum(states), checkpoint.checksum(states[:1])]
  with temporary() as folder:
    with checkpoint.open_manager(folder) as manager:
      for examples in (8, 8, 16):
        where = position.Position.from_json(whole.to_json() | {'examples': examples})
        checkpoint.save(manager, states, where)
    with checkpoint.open_to_read(folder) as manager:
      numbers['steps'] = plain(checkpoint.steps(manager))
      numbers['newest'] = checkpoint.newest_first(manager)
      step = checkpoint.newest_first(manager)[0]
      numbers['read'] = checkpoint.position(manager, step).to_json()
      numbers['states'] = plain(checkpoint.restore(manager, step, states))
      numbers['weights'] = plain(checkpoint.restore_weights(manager, step)[0])
      other = [states[0] | {'params': {'a': drawn(0, 2, 4)}}, states[1]]
      wrong = said(lambda: checkpoint.restore(manager, step, other), folder)
      numbers['other'] = wrong.partition(':')[0]
    numbers['nothing'] = said(lambda: checkpoint.open_to_read(folder / 'x'), folder)
  return Kept(numbers, {})


def shares_and_extensions() -> Kept:
  """Shards, what becomes of them, extensions, and whose workdir it is."""
  numbers: dict[str, Any] = {}
  for name in ('1/1', '2/3', '3/2', '0/3', 'x', '1/0', '01/2'):
    numbers[f'shard {name}'] = said(lambda name=name: Shard.parse(name))
  numbers['dealt'] = [[lane for lane in range(7) if Shard(i, 3).has(lane)] for i in (1, 2, 3)]
  numbers['own'] = [lane for lane in range(7) if Shard(1, 2, frozenset({1, 5})).has(lane)]
  with temporary() as folder:
    work = written(folder / 'w', shares=())
    for shard in (Shard(1, 2), Shard(2, 2)):
      for name, call in {
        'begun': lambda: shards.begun(work),
        'missing': lambda: shards.missing(work),
        'without': lambda: shards.without_records(work),
        'rows': lambda: [[row['lane'], row['examples']] for row in shards.rows(work)],
        'merge': lambda: shards.merge(work),
        'undivided': lambda: shards.refuse_otherwise(work, None),
        'another': lambda: shards.refuse_otherwise(work, Shard(2, 4)),
        'same': lambda: shards.refuse_otherwise(work, Shard(2, 2)),
      }.items():
        numbers[f'{name} before {shard}'] = said(call, folder)
      plan = [row for row in PLAN if shard.has(row['lane'])]
      written(shard.folder(work), plan)
      shards.write_done(shard.folder(work), f'machine {shard.index}')
      date = f'2020-0{shard.index}'
      starts = {'starts': [{'date': date, 'versions': {}}]}
      records.write_json(shard.folder(work) / provenance.FILE, starts)
    numbers['hardware'] = shards.hardware(work)
    shards.merge_if_ended(work)
    merged = records.read(work / 'records.jsonl')
    numbers['merged'] = [[row['lane'], row['examples']] for row in merged]
    numbers['starts'] = provenance.read(work)
    numbers |= _extended(folder)
    numbers |= _refused(folder)
  return Kept(numbers, {})


def _extended(folder: Path) -> dict[str, Any]:
  work = written(folder / 'e')
  records.write_json(work / 'summary.json', {'hardware': 'a machine'})
  numbers: dict[str, Any] = {'first folder': extensions.folder(work).name}
  made = extensions.folder(work)
  extensions.take_over(work, made, {0: 0, 1: 1, 2: 4, 3: 5}, 6)
  numbers['taken over'] = _tree(made)
  taken = records.read_plan(made / 'shards' / '1-of-2' / 'plan.csv')
  numbers['new numbers'] = [row['lane'] for row in taken]
  numbers['shares'] = plain(shards.all_of(made))
  written(made)
  numbers['halfway'] = said(lambda: extensions.refuse_halfway(work), folder)
  extensions.take_place(work)
  numbers['in place'] = [_tree(work), extensions.folder(work).name]
  (made / extensions.PART).mkdir()
  numbers['taking'] = [extensions.taking_its_place(work), extensions.folder(work).name]
  (work / 'checkpoints').mkdir(exist_ok=True)
  extensions.go_on(work, folder / 'longer', {'epochs': 2.0}, PLAN)
  numbers['longer'] = _tree(folder / 'longer')
  return numbers


def _tree(folder: Path) -> list[str]:
  return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


def _refused(folder: Path) -> dict[str, Any]:
  """Whose study a workdir holds, and which paths cannot be one."""
  numbers: dict[str, Any] = {}
  work, base = written(folder / 'r'), small()
  changes: dict[str, dict[str, Any]] = {
    'same': {},
    'more': {'trials': 5},
    'another': {'trials': 5, 'optimizer__momentum': 0.5},
    'how': {'execution__devices': 2, 'checkpoint__seconds': 9.0},
    'path': {'data__path': '/x', 'evaluation__subset': 8},
  }
  for name, keys in changes.items():
    config = small(**keys)
    numbers[f'refuse {name}'] = said(lambda c=config: workdirs.refuse_another(work, c), folder)
    numbers[f'differ {name}'] = said(lambda c=config: workdirs.differences(work, c), folder)
  records.write_json(work / 'data.json', {'fingerprint': 'a'})
  config = small(data__path='/x')
  numbers['moved'] = said(lambda: workdirs.differences(work, config))
  numbers['results'] = [workdirs.has_results(work), workdirs.has_results(folder)]
  (work / 'config.json').unlink()
  numbers['no config'] = said(lambda: workdirs.refuse_another(work, base), folder)
  numbers['data'] = said(lambda: workdirs.refuse_other_data(work, 'a', 'b'), folder)
  for path in ('s3://b/x', 's3:/b/x', 'file:///x', 'C:/x', 'run', 'gs://b//x/'):
    numbers[f'url {path}'] = [urls.is_url(path), urls.normal(path)]
  for path in ('http://b/x', 's3://a:b@c/x', 's3://b/x?y', 'nowhere://b/x'):
    numbers[f'check {path}'] = said(lambda p=path: urls.check(p, '--workdir'))
  numbers['on disk'] = said(lambda: workdirs.on_disk('s3://b/x', 'data.cache_dir'))
  before = {'versions': {'jax': '1', 'python': '3'}, 'commit': 'a', 'host': 'h', 'device': 'd'}
  now = {'versions': {'jax': '2', 'python': '3', 'numpy': '4'}, 'commit': None, 'host': 'k'}
  numbers['changes'] = provenance._changes(before, now | {'device': 'e'})
  numbers['no changes'] = provenance._changes(before, before)
  holder = {'process': 3, 'host': 'h', 'since': 'now'}
  with lock.held(folder / 'locked'), mock.patch.object(provenance, 'holder', lambda: holder):
    numbers['named'] = provenance.named(holder)
    numbers['files'] = _tree(folder / 'locked') if (folder / 'locked').exists() else []
  return numbers


DISK: dict[str, Callable[[], Kept]] = {
  'rows_on_disk': rows_on_disk,
  'sound_rows': sound_rows,
  'positions_and_checkpoints': positions_and_checkpoints,
  'shares_and_extensions': shares_and_extensions,
}
