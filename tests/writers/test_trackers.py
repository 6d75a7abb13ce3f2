"""Weights & Biases and trackio: one run per lane, each row told once, whatever was interrupted."""

import contextvars
import importlib.util
import json
import sqlite3
import struct
import sys
import time
import types

import pytest
from helpers import synthetic

from bsjax.config.keys import base_config
from bsjax.storage import records, sound
from bsjax.writers import Trackio, WeightsAndBiases, lanes

PLAN = synthetic.plan((8, 16), (0.1,), 2)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def rows_at(share):
  return [synthetic.record(lane, share, val_loss=share) for lane in PLAN]


def tell(writer, folder, shares):
  """Tells a writer rows as a training does, once they are on record."""
  for share in shares:
    records.append(folder / 'records.jsonl', rows_at(share))
    writer.rows(rows_at(share))


def interrupted(make, folder, lose=None):
  """A study that stops after three of five evaluations, goes back to the second, and then ends.

  `lose` is called in place of its first end.
  """
  folder.mkdir(parents=True, exist_ok=True)
  stopped = make()
  stopped.begin(base_config(), PLAN)
  tell(stopped, folder, SHARES[:3])
  (lose or stopped.close)()
  path = folder / 'records.jsonl'
  sound.cut(path, records.read(path), rows_at(SHARES[1])[0]['examples'])
  again = make()
  again.begin(base_config(), PLAN)
  tell(again, folder, SHARES[2:])
  again.summary({'answer': 1})
  again.close()


def expected(lane):
  """step -> scalars of a lane."""
  rows = [row for share in SHARES for row in rows_at(share) if row['lane'] == lane]
  return {row['examples']: lanes.scalars(row) for row in rows}


class Service:
  """Stands in for both libraries: keeps what runs are told, by their identity."""

  Settings = dict

  def __init__(self):
    self.kept, self.opened, self.current = {}, [], contextvars.ContextVar('run', default=None)

  def init(self, **given):
    identity = given.get('id') or (given['project'], given['name'])
    resumed, told = identity in self.kept, self.kept.setdefault(identity, [])
    assert given['resume'] == 'allow'
    run = types.SimpleNamespace(given=given, told=told, finished=False, offline=False)
    run.resumed, run.step = resumed, told[-1][0] + 1 if told else 0
    run._next_step = run.step
    run.log = lambda values, step: told.append((step, values))
    run.finish = lambda: setattr(run, 'finished', True)
    self.opened.append(run)
    if self.current.get() and given.get('reinit') != 'create_new':
      self.current.get().finish()  # as both do
    self.current.set(run)
    print('* Created new run')
    return run

  def lose(self):
    """A kill costs what had not been sent yet: of a run nothing, the last, two, or all three."""
    for lane, told in enumerate(self.kept.values()):
      del told[len(told) - (0, 1, 2, 3)[lane] :]


@pytest.fixture
def service(monkeypatch):
  service = Service()
  for name in ('wandb', 'trackio'):
    monkeypatch.setitem(sys.modules, name, service)
  return service


@pytest.mark.parametrize('killed', [True, False])
@pytest.mark.parametrize('writer', [WeightsAndBiases, Trackio])
def test_runs_go_on_with_every_row_once(service, tmp_path, writer, killed, capsys):
  folder = tmp_path / 'arms' / 'wide'
  interrupted(
    lambda: writer(tmp_path, 'digits', 'arms/wide'), folder, service.lose if killed else None
  )
  assert len(service.kept) == len(PLAN) and len(service.opened) == 2 * len(PLAN)
  groups = {
    run.given['group' if writer is WeightsAndBiases else 'project'] for run in service.opened
  }
  assert len(groups) == 1 and groups.pop().startswith('digits-')
  for lane, run in enumerate(service.opened[len(PLAN) :]):
    assert run.finished and service.opened[lane].finished != killed
    assert run.given['name'] == f'arms/wide/{lanes.names(PLAN)[lane]}'
    assert run.given['config']['batch_size'] == PLAN[lane]['batch_size']
    assert [step for step, _ in run.told] == list(expected(lane))
    assert dict(run.told) == expected(lane)
  assert ('*' in capsys.readouterr().out) == (writer is WeightsAndBiases)


def test_rows_that_come_again_within_a_start_are_told_once(service, tmp_path):
  writer = WeightsAndBiases(tmp_path)
  writer.begin(base_config(), PLAN)
  for share in (0.0, 0.25, 0.0, 0.25, 0.5):
    writer.rows(rows_at(share))
  assert [step for step, _ in service.opened[0].told] == list(expected(0))[:3]


def test_another_study_has_runs_of_its_own(service, tmp_path):
  for name in 'ab':
    writer = WeightsAndBiases(tmp_path / name, 'digits')
    writer.begin(base_config(), PLAN)
    writer.close()
  assert len(service.kept) == 8
  assert len({run.given['group'] for run in service.opened}) == 2


def logged(content):
  """The records of a file of Weights & Biases, which is a log of LevelDB with a head of 7 bytes."""
  at, parts = 7, []
  while at + 7 <= len(content):
    if 32768 - at % 32768 < 7:  # no head of a record fits into what is left of the block
      at += 32768 - at % 32768
      continue
    _, size, kind = struct.unpack_from('<IHB', content, at)
    parts.append(content[at + 7 : at + 7 + size])
    at += 7 + size
    if kind in (1, 4):  # a whole record, or the last part of one
      yield b''.join(parts)
      parts = []


def ended(path, parse):
  """The records of a run that is finished; the service may still be writing."""
  until = time.monotonic() + 60
  while time.monotonic() < until:
    found = [parse(data) for data in logged(path.read_bytes())]
    if found and found[-1].WhichOneof('record_type') == 'exit':
      return found
    time.sleep(0.05)
  raise AssertionError(f'{path} has no end')


def test_weights_and_biases_offline_holds_the_records(tmp_path, monkeypatch):
  pytest.importorskip('wandb', reason='wandb takes ten seconds to install, and is no dependency')
  from wandb.proto import wandb_internal_pb2

  monkeypatch.setenv('WANDB_MODE', 'offline')
  interrupted(lambda: WeightsAndBiases(tmp_path, 'digits'), tmp_path)
  told, groups, configs = {}, set(), {}
  paths = sorted(tmp_path.glob('wandb/offline-run-*/run-*.wandb'))
  assert len(paths) == 4  # whole, of the last start
  for path in paths:
    lane = int(path.stem.rpartition('-')[2])
    for record in ended(path, wandb_internal_pb2.Record.FromString):
      if record.WhichOneof('record_type') == 'run':
        groups.add(record.run.run_group)
        configs[lane] = {x.key: json.loads(x.value_json) for x in record.run.config.update}
      if record.WhichOneof('record_type') == 'history':
        items = {'/'.join(x.nested_key) or x.key: x.value_json for x in record.history.item}
        values = {key: json.loads(value) for key, value in items.items() if key[0] != '_'}
        told.setdefault(lane, []).append((json.loads(items['_step']), values))
  assert len(groups) == 1 and configs[3]['batch_size'] == 16
  for lane in range(4):
    assert [step for step, _ in told[lane]] == list(expected(lane))
    assert dict(told[lane]) == expected(lane)


def test_trackio_holds_the_records(tmp_path, monkeypatch):
  if importlib.util.find_spec('trackio') is None:
    pytest.skip('trackio takes seven seconds to install, and is no dependency')
  monkeypatch.setenv('TRACKIO_DIR', str(tmp_path / 'trackio'))
  interrupted(lambda: Trackio(tmp_path, 'digits'), tmp_path)
  (path,) = tmp_path.glob('trackio/*.db')
  with sqlite3.connect(path) as database:
    told = database.execute('SELECT run_name, step, metrics FROM metrics ORDER BY step').fetchall()
  for lane, name in lanes.names(PLAN).items():
    mine = [(step, json.loads(metrics)) for run, step, metrics in told if run == name]
    assert [step for step, _ in mine] == list(expected(lane))
    assert dict(mine) == expected(lane)
