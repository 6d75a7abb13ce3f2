"""Windows of examples: found by the stream where those of the whole set would be, called ahead."""

import threading

import jax
import numpy as np
import pytest

from bsjax.data import Split, stream, windows

TRIALS, REACH, LENGTH = 3, 23, 16


@pytest.mark.parametrize('start', [0, 5, 16, 39])
def test_the_stream_finds_what_a_window_holds(start):
  held = 1000 * np.arange(TRIALS)[:, None] + np.arange(start, start + REACH)  # trial and position
  place, first = windows.places(start, LENGTH, REACH, TRIALS)
  read = jax.jit(stream.micro_batch, static_argnums=5)
  for trial in range(TRIALS):
    for at in range(start, start + REACH - 3):
      got = read(held.ravel(), held.ravel(), place[trial], np.int32(first), np.int32(at), 4)
      np.testing.assert_array_equal(got[0], 1000 * trial + np.arange(at, at + 4))


def test_examples_are_taken_from_every_array(tmp_path):
  images = np.arange(24, dtype=np.float32).reshape(6, 4)
  np.save(tmp_path / 'images.npy', images)
  split = Split({'a': np.load(tmp_path / 'images.npy', mmap_mode='r')}, np.arange(6))
  taken = windows.take(split, np.array([5, 0, 5]))
  np.testing.assert_array_equal(taken.images['a'], images[[5, 0, 5]])
  np.testing.assert_array_equal(taken.labels, [5, 0, 5])
  assert windows.example_bytes(split) == 16 + 8 and windows.split_bytes(split) == 6 * 24


def test_the_next_is_called_ahead_by_another_thread():
  calls = []

  def double(position):
    calls.append((position, threading.current_thread() is threading.main_thread()))
    return 2 * position

  ahead = windows.Prefetched(double)
  assert [ahead.at(0, 4), ahead.at(4, 8), ahead.at(20, None)] == [0, 8, 40]  # 8 was in vain
  assert set(calls) == {(0, True), (4, False), (8, False), (20, True)} or (
    set(calls) == {(0, True), (4, False), (20, True)}  # it had not begun
  )


def test_an_error_ahead_is_raised_where_it_is_asked_for():
  def fails(position):
    if position:
      raise OSError('disk')
    return position

  ahead = windows.Prefetched(fails)
  assert ahead.at(0, 1) == 0
  with pytest.raises(OSError, match='disk'):
    ahead.at(1, None)


@pytest.mark.parametrize(
  'length, reach, count', [(16, 23, 3), (16, 16, 2), (16, 17, 3), (16, 1, 2), (5, 11, 4)]
)
def test_epochs_are_enough_wherever_a_window_begins(length, reach, count):
  """The most that a window of so many positions touches, and one where it fits without."""
  touched = {(start + reach - 1) // length - start // length + 1 for start in range(length)}
  assert windows.epochs(length, reach) == count >= max(touched)


def test_an_empty_split_takes_nothing():
  empty = Split(np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
  assert windows.example_bytes(empty) == windows.split_bytes(empty) == 0


def test_a_window_over_two_ends_of_epochs_is_found():
  start, reach = 15, 23  # the last of an epoch, a whole one, and six of the next
  place, first = windows.places(start, LENGTH, reach, 1)
  orders = [place[0, at // LENGTH - first, at % LENGTH] for at in range(start, start + reach)]
  np.testing.assert_array_equal(orders, range(reach))
