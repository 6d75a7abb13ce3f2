"""What shares of a study become when all have ended: one checkpoint, as the whole counts lanes."""

import contextlib
import io
import types

import numpy as np
import pytest
from helpers.small import small_config
from rich.console import Console

from bsjax.config.errors import ConfigError
from bsjax.engine import device_axis, processes
from bsjax.plan import plan
from bsjax.storage import checkpoint, extensions, lock
from bsjax.storage.position import BatchSizes, BatchSizeState, Divergence, GivenUp, Position
from bsjax.storage.shards import Shard
from bsjax.train import shard_run, spread

CONFIG = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), trials=3, micro_batch='batch')
WHOLE = plan.make_plan(CONFIG, 150)


def position_of(part, end, ticks, lost=(), given_up=()):
  sizes = tuple(BatchSizeState(lane.batch_size, 1.0 + lane.lane) for lane in part.lanes)
  position = Position(0, end, ticks, (), BatchSizes(sizes, sizes), end, 'data')
  diverged = tuple(Divergence(lane, 8, 'loss_not_finite', True) for lane in lost)
  left = tuple(GivenUp(lane, 16) for lane in given_up)
  return types.SimpleNamespace(position=position, diverged=diverged, given_up=left)


def test_lanes_of_an_extension_are_together_under_their_new_numbers():
  """Lanes 0, 1, 2 and 3 of what was there are 0, 1, 3 and 4; what they lost bears old numbers."""
  held, missing = extensions.shards_of({0: 0, 1: 1, 2: 3, 3: 4}, 6)
  parts = {shard: plan.share(WHOLE, shard) for shard in (held, missing)}
  read = {}
  for shard, lost, given_up in ((held, (2,), (3,)), (missing, (2,), (5,))):
    weights = [
      {'params': np.array([10.0 * lane.lane for lane in group.lanes])}
      for group in parts[shard].first.groups
    ]
    made = position_of(parts[shard], 304, (38, 19), lost, given_up)
    fields = {'diverged': made.diverged, 'given_up': made.given_up}
    read[shard] = weights, Position(**vars(made.position) | fields)
  states, position = shard_run._together(CONFIG, WHOLE, parts, read)
  assert [list(group['params']) for group in states] == [[0, 10, 20], [30, 40, 50]]
  assert [one.lane for one in position.diverged] == [2, 3]
  assert [one.lane for one in position.given_up] == [4, 5]
  assert position.ticks == (38, 19) and position.examples == 304
  sizes = [BatchSizeState(lane.batch_size, 1.0 + lane.lane) for lane in WHOLE.lanes]
  assert list(position.batch_sizes.now) == list(position.batch_sizes.begun) == sizes


class Manager(contextlib.nullcontext):
  """Stands for the checkpoints of a workdir."""

  def __init__(self, path):
    super().__init__(self)
    self.path = path

  def wait_until_finished(self):
    """Nothing is under way."""


@pytest.mark.parametrize(
  ('keep_all', 'there', 'ends', 'made'),
  [
    (True, (), ((96, 304), (96, 200, 304)), [96, 304]),  # those that all have
    (True, (96,), ((96, 304), (96, 304)), [304]),
    (False, (), ((96, 304), (96, 304)), [304]),
    (False, (96,), ((96, 304), (96, 304)), [304]),
    (False, (304,), ((304,), (304,)), []),
    (False, (), ((96, 304), (96,)), []),  # not all came to the end
  ],
)
def test_a_checkpoint_is_made_of_those_that_all_shards_have(
  keep_all, there, ends, made, tmp_path, monkeypatch
):
  config = small_config(checkpoint__keep_all=keep_all)
  steps = {tmp_path: there}
  steps |= {Shard(i, 2).folder(tmp_path): end for i, end in enumerate(ends, start=1)}
  saved = []
  monkeypatch.setattr(shard_run.shards, 'all_of', lambda _: [Shard(1, 2), Shard(2, 2)])
  monkeypatch.setattr(plan, 'share', lambda *_: None)
  monkeypatch.setattr(checkpoint, 'open_manager', lambda path, _: Manager(path))
  monkeypatch.setattr(checkpoint, 'open_to_read', Manager)
  monkeypatch.setattr(checkpoint, 'steps', lambda one: {at: at + 1 for at in steps[one.path]})
  monkeypatch.setattr(checkpoint, 'restore_weights', lambda manager, step: step)
  monkeypatch.setattr(shard_run, '_together', lambda *given: [*given[-1].values()])
  monkeypatch.setattr(checkpoint, 'save', lambda _, *steps: saved.append(steps))
  assert WHOLE.total_examples == 304
  shard_run.merge_checkpoints(config, tmp_path, WHOLE)
  assert saved == [(at + 1, at + 1) for at in made]


def test_who_waits_for_its_turn_says_so_once_and_asks_whether_it_is_in_vain(tmp_path, monkeypatch):
  asked, file = [], io.StringIO()

  @contextlib.contextmanager
  def held(workdir, waiting):
    for _ in range(3):
      waiting('the study is in use by process 7')
    yield

  monkeypatch.setattr(lock, 'held', held)
  with shard_run.turn(tmp_path, Console(file=file, width=160), lambda: asked.append(1)):
    assert len(asked) == 3
  assert file.getvalue() == 'Waiting: the study is in use by process 7.\n'

  def in_vain():
    raise ConfigError('it is another study')

  with pytest.raises(ConfigError), shard_run.turn(tmp_path, Console(file=file), in_vain):
    pass


@pytest.mark.parametrize(
  ('keys', 'said'),
  [
    ({}, ['2 processes, 4 devices; each process has all of the data.']),  # twelve lanes
    (
      {'trials': 3, 'learning_rates': (0.1,), 'micro_batch': 'batch'},
      ['2 processes, 4 devices; each process has all of the data; 2 seats for lanes stay idle.'],
    ),
    (
      {'trials': 1, 'learning_rates': (0.1,), 'batch_sizes': (8,)},
      [
        '2 processes, 2 devices; each process has all of the data; 1 seats for lanes stay idle.',
        '1 of 2 devices have no lane and stay idle.',
      ],
    ),
  ],
)
def test_devices_and_seats_of_several_processes_are_counted_together(keys, said, monkeypatch):
  config = small_config(**{'batch_sizes': (8, 16)} | keys)
  first = plan.make_plan(config, 150).first
  here = device_axis.devices(0)
  monkeypatch.setattr(processes, 'count', lambda: 2)
  monkeypatch.setattr(device_axis, 'devices', lambda _: here)
  assert spread.sentences(config, first) == said
