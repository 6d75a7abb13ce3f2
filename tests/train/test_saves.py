"""When a checkpoint is due, which of them can be used, and what is said of a disk that is full."""

import contextlib
import errno
import types

import pytest
from helpers.small import small_config

from bsjax.storage import checkpoint
from bsjax.storage.records import Damaged
from bsjax.train import saves as saves_module
from bsjax.train.kept_rows import Damage
from bsjax.train.saves import Saves


@pytest.fixture
def made(tmp_path, monkeypatch):
  """Saves of a training that has checkpoints 2, 5 and 9, of the evaluations at 64, 128 and 192."""
  monkeypatch.setattr(checkpoint, 'open_manager', lambda *_: contextlib.nullcontext())
  monkeypatch.setattr(checkpoint, 'newest_first', lambda _: [9, 5, 2])
  found = Saves(tmp_path, small_config().checkpoint)
  found.manager = types.SimpleNamespace(wait_until_finished=lambda: None)
  at = {2: 64, 5: 128, 9: 192}
  found.position = lambda step: types.SimpleNamespace(evaluated=at[step])
  return found


@pytest.mark.parametrize(
  ('before', 'step'), [(float('inf'), 9), (193.0, 9), (192.0, 5), (65.0, 2), (64.0, None)]
)
def test_rows_of_an_evaluation_that_are_damaged_are_not_gone_on_from(before, step, made):
  """A checkpoint serves if all evaluations up to its own are whole."""
  loaded, rows = [], Damage('', before, 'a row is missing')
  if step is None:
    with pytest.raises(Damaged, match='a row is missing, and checkpoints from 2 on are from after'):
      made.load_newest(loaded.append, rows)
  else:
    assert made.load_newest(loaded.append, rows)
  assert loaded == ([step] if step else [])


@pytest.mark.parametrize(
  ('error', 'said'),
  [
    (OSError(errno.EIO, 'Input/output error'), r'checkpoints \(.*Input/output error\); free space'),
    (ValueError("write failed [os_error_code='28']"), r'\(No space left on device\); free space'),
    (ValueError('states of no shape'), '^states of no shape$'),
  ],
)
def test_what_a_disk_refuses_is_said_in_its_words_and_other_errors_are_raised(error, said, made):
  def fails():
    raise error

  with pytest.raises(ValueError if 'shape' in str(error) else OSError, match=said):
    made._write(fails)


def test_a_save_is_due_after_its_seconds_and_at_once_where_the_bucket_is_lost(made, monkeypatch):
  monkeypatch.setattr(saves_module, 'now', lambda: clock[0])
  clock, made.saved_at, made.keys.seconds = [100.0], 40.0, 60.0
  assert not made.overdue
  made.mirror = types.SimpleNamespace(lost=False)
  assert not made.overdue
  made.mirror.lost = True  # so that the save says so
  assert made.overdue
  made.mirror, clock[0] = None, 100.5
  assert made.overdue
  made.seconds = 4.0  # of which twenty are to lie between two of them
  assert not made.overdue
