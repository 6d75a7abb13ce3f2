"""Checkpoints that disks have damaged: none is used in silence, and the one before it serves."""

import dataclasses
import logging
import shutil
import sys

import absl.logging
import numpy as np
import orbax.checkpoint as ocp
import pytest

from bsjax.storage import checkpoint
from bsjax.storage.position import BatchSizes, BatchSizeState, Position, RateSum

POSITION = Position(
  stage=0,
  examples=96,
  ticks=(6,),
  rate_sums=(RateSum(0, (0.0, 0.0)),),
  batch_sizes=BatchSizes((BatchSizeState(8),) * 2, (BatchSizeState(8),) * 2),
  evaluated=96,
  data='abc',
)


@dataclasses.dataclass
class Saved:
  """A folder with one checkpoint, and what it holds."""

  workdir: object
  states: list

  def read(self, workdir=None):
    with checkpoint.open_manager(workdir or self.workdir) as manager:
      (step,) = checkpoint.newest_first(manager)
      position = checkpoint.position(manager, step)
      return position, checkpoint.restore(manager, step, self.states)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('saved')
  rng = np.random.default_rng(0)
  params = {
    'layer': {'kernel': rng.normal(size=(2, 30, 40)).astype(np.float32)},
    'bias': rng.normal(size=(2, 7)).astype(np.float32),
  }
  states = [{'params': params, 'count': np.arange(2, dtype=np.int32)}]
  with checkpoint.open_manager(workdir) as manager:
    checkpoint.save(manager, states, POSITION)
  return Saved(workdir, states)


def same(found, states):
  return all(
    np.array_equal(found[0]['params'][name], states[0]['params'][name]) for name in ('bias',)
  ) and np.array_equal(
    found[0]['params']['layer']['kernel'], states[0]['params']['layer']['kernel']
  )


def test_what_was_saved_is_read(saved):
  position, states = saved.read()
  assert position == POSITION
  assert same(states, saved.states) and np.array_equal(states[0]['count'], [0, 1])


def files(workdir):
  return sorted(path for path in (workdir / 'checkpoints').rglob('*') if path.is_file())


def test_no_flipped_bit_is_read_as_other_numbers(saved, tmp_path):
  """200 bits, drawn evenly over files and within them."""
  rng, refused = np.random.default_rng(1), 0
  copy = tmp_path / 'copy'
  for number in range(200):
    shutil.copytree(saved.workdir, copy)
    path = files(copy)[number % len(files(copy))]
    content = bytearray(path.read_bytes())
    if content:
      at = int(rng.integers(len(content)))
      content[at] ^= 1 << int(rng.integers(8))
      path.write_bytes(content)
    refused += not intact(saved, copy)
    shutil.rmtree(copy)
  assert refused > 50  # the others were in what says nothing of the states


def intact(saved, workdir):
  """Whether a copy is read, and then as it was; False where it is refused."""
  try:
    position, states = saved.read(workdir)
  except (checkpoint.Unreadable, ValueError):
    return False
  assert position == POSITION and same(states, saved.states)
  return True


def test_no_truncated_or_missing_file_is_read_as_other_numbers(saved, tmp_path):
  copy, refused = tmp_path / 'copy', 0
  for number in range(len(files(saved.workdir))):
    for keep in (None, 0.0, 0.5):
      shutil.copytree(saved.workdir, copy)
      path = files(copy)[number]
      if keep is None:
        path.unlink()
      else:
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
      refused += not intact(saved, copy)
      shutil.rmtree(copy)
  assert refused > len(files(saved.workdir))


def test_a_checkpoint_of_a_version_without_checksums_is_read(saved, tmp_path):
  """Its model, which has no BatchNorm, has no statistics either."""
  states = ocp.args.StandardSave({'0': saved.states[0]})
  items = ocp.args.Composite(states=states, position=ocp.args.JsonSave(POSITION.to_json()))
  with checkpoint.open_manager(tmp_path) as manager:
    manager.save(1, args=items)
  assert intact(saved, tmp_path)
  with checkpoint.open_to_read(tmp_path) as manager:
    (weights,), position = checkpoint.restore_weights(manager, 1)
  assert position == POSITION and weights['batch_stats'] == {}
  assert np.array_equal(weights['params']['bias'], saved.states[0]['params']['bias'])


def test_states_of_other_shapes_are_refused(saved):
  other = [{**saved.states[0], 'count': np.arange(3, dtype=np.int32)}]
  other_model = pytest.raises(checkpoint.Unreadable, match='checkpoint 1 is of other lanes')
  with checkpoint.open_manager(saved.workdir) as manager, other_model:
    checkpoint.restore(manager, 1, other)


def test_of_steps_at_one_position_the_first_counts_and_damaged_ones_do_not(saved, tmp_path, caplog):
  """The second was saved when one group had gone on."""
  with checkpoint.open_manager(tmp_path, keep_all=True) as manager:
    for ticks in ((6, 3), (10, 3), (12, 6)):
      where = dataclasses.replace(POSITION, ticks=ticks, examples=96 if 3 in ticks else 192)
      checkpoint.save(manager, saved.states, where)
      manager.wait_until_finished()
    assert checkpoint.steps(manager) == {96: 1, 192: 3}
  for path in (tmp_path / 'checkpoints' / '3' / 'position').iterdir():
    path.write_bytes(b'')
  with checkpoint.open_to_read(tmp_path) as manager:
    assert checkpoint.steps(manager) == {96: 1}
  assert 'checkpoint 3' in caplog.text


def test_a_checksum_tells_names_types_and_shapes_apart_and_not_containers():
  tree = {'a': np.zeros(4, np.float32), 'b': (np.ones(2, np.int32),)}
  known = checkpoint.checksum(tree)
  assert known == checkpoint.checksum({'b': [np.ones(2, np.int32)], 'a': np.zeros(4, np.float32)})
  for other in (
    {**tree, 'a': np.zeros((2, 2), np.float32)},
    {**tree, 'a': np.zeros(4, np.int32)},
    {**tree, 'a': -np.zeros(4, np.float32)},
    {'c': tree['a'], 'b': tree['b']},
  ):
    assert checkpoint.checksum(other) != known


def test_what_a_failed_save_raises_is_not_told_once_more(caplog, monkeypatch):
  tasks = logging.getLogger('asyncio')
  for logger in (tasks, absl.logging.get_absl_logger()):  # they stay where a process ends with it
    monkeypatch.setattr(logger, 'filters', [*logger.filters])
  monkeypatch.setattr(sys, 'unraisablehook', sys.unraisablehook)
  told = 'Task exception was never retrieved\nfuture: <Task finished, defined at {}/handlers.py>'
  with pytest.raises(OSError), checkpoint.without_traces():
    tasks.error(told.format('/lib/other'), exc_info=ValueError())
    tasks.error(told.format('/lib/orbax/checkpoint'), exc_info=ValueError())
    raise OSError
  assert [record.getMessage() for record in caplog.records] == [told.format('/lib/other')]
