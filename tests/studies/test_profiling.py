"""Which calls of a program are traced, and with how many blocks."""

import contextlib

import jax

from bsjax.train.profiling import Profiler


def calls(profiler, key, left, paced=(1, 2, 4, 8)):
  """How many blocks each call runs, until none is left."""
  ran = []
  for pace in paced:
    wanted = profiler.wanted(key, min(left, pace), left)
    with profiler.call(key):
      ran.append(wanted)
    left -= wanted
    if not left:
      break
  return ran


def test_the_second_call_of_each_program_is_traced(monkeypatch, tmp_path):
  traced = []

  @contextlib.contextmanager
  def trace(folder):
    traced.append(folder)
    yield

  monkeypatch.setattr(jax.profiler, 'trace', trace)
  profiler = Profiler(tmp_path, 3)
  assert calls(profiler, (0, 0), 10) == [1, 3, 4, 2]
  assert traced == [str(tmp_path / 'profile')]
  assert calls(profiler, (0, 1), 3) == [1, 2]  # as many as there are
  assert len(traced) == 2
  assert calls(Profiler(tmp_path, 0), 0, 10) == [1, 2, 4, 3] and len(traced) == 2
  profiler = Profiler(tmp_path, 3)
  for count in (2, 3, 3):  # the first call compiles
    with profiler.call((0, 0)):
      assert len(traced) == count
