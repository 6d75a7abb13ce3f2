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
from bsjax.writers import Trackio, WeightsAndBiases, lanes

PLAN = synthetic.plan((8, 16), (0.1,), 2)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def rows_at(share):
  return [synthetic.record(lane, share, val_loss=share) for lane in PLAN]


def interrupted(make, killed=True):
  """Tells a study that is stopped after half of it, goes back to a quarter, and then ends."""
  stopped = make()
  stopped.begin(base_config(), PLAN)
  for share in SHARES[:3]:
    stopped.rows(rows_at(share))
  if not killed:
    stopped.close()
  again = make()
  again.begin(base_config(), PLAN)
  for share in SHARES[1:]:
    again.rows(rows_at(share))
  again.summary({'answer': 1})
  again.close()
  return stopped


def expected(lane):
  """step -> scalars of a lane."""
  rows = [row for share in SHARES for row in rows_at(share) if row['lane'] == lane]
  return {row['examples']: lanes.scalars(row) for row in rows}


@pytest.fixture
def stand_in(monkeypatch):
  """A module in the place of both libraries; notes what its runs are told."""
  opened, current = [], contextvars.ContextVar('current', default=None)

  def init(**arguments):
    run = types.SimpleNamespace(arguments=arguments, told=[], finished=False)
    run.log = lambda values, step: run.told.append((step, values))
    run.finish = lambda: setattr(run, 'finished', True)
    opened.append(run)
    if current.get() and arguments.get('reinit') != 'create_new':
      current.get().finish()  # as both do
    current.set(run)
    print('* Created new run')
    return run

  module = types.SimpleNamespace(init=init, Settings=dict)
  for name in ('wandb', 'trackio'):
    monkeypatch.setitem(sys.modules, name, module)
  return opened


@pytest.mark.parametrize('writer', [WeightsAndBiases, Trackio])
def test_runs_go_on_and_no_row_is_told_twice(stand_in, tmp_path, writer, capsys):
  interrupted(lambda: writer(tmp_path, 'digits', 'arms/wide'))
  before, after = stand_in[:4], stand_in[4:]
  key = 'id' if writer is WeightsAndBiases else 'name'
  assert len({run.arguments[key] for run in before}) == 4
  assert len({run.arguments['group' if key == 'id' else 'project'] for run in stand_in}) == 1
  for lane, (first, second) in enumerate(zip(before, after, strict=True)):
    assert {**first.arguments, 'settings': 0} == {**second.arguments, 'settings': 0}
    assert first.arguments['name'] == f'arms/wide/{lanes.names(PLAN)[lane]}'
    assert first.arguments['config']['batch_size'] == PLAN[lane]['batch_size']
    assert first.arguments['resume'] == 'allow'
    told = first.told + second.told
    assert [step for step, _ in told] == list(expected(lane)) and dict(told) == expected(lane)
    assert second.finished and not first.finished
  assert '*' not in capsys.readouterr().out or writer is WeightsAndBiases


def test_another_study_has_runs_of_its_own(stand_in, tmp_path):
  for name in 'ab':
    writer = WeightsAndBiases(tmp_path / name, 'digits')
    writer.begin(base_config(), PLAN)
    writer.close()
  arguments = [run.arguments for run in stand_in]
  assert len({given['id'] for given in arguments}) == 8
  assert len({given['group'] for given in arguments}) == 2


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
  interrupted(lambda: WeightsAndBiases(tmp_path, 'digits'), killed=False)
  told, groups, configs = {}, set(), {}
  paths = sorted(tmp_path.glob('wandb/offline-run-*/run-*.wandb'))
  assert len(paths) == 8  # of each lane one per start
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
  interrupted(lambda: Trackio(tmp_path, 'digits')).close()
  (path,) = tmp_path.glob('trackio/*.db')
  with sqlite3.connect(path) as database:
    told = database.execute('SELECT run_name, step, metrics FROM metrics ORDER BY step').fetchall()
  for lane, name in lanes.names(PLAN).items():
    mine = [(step, json.loads(metrics)) for run, step, metrics in told if run == name]
    assert [step for step, _ in mine] == list(expected(lane))
    assert dict(mine) == expected(lane)
