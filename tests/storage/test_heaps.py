"""Heaps of glibc: as many as there are cores, and emptied at every evaluation."""

import ctypes
import subprocess
import sys

import pytest

from bsjax.storage import heaps


class LibC:
  """Keeps what it is asked."""

  def __init__(self):
    self.calls = []

  def mallopt(self, *arguments):
    self.calls.append(('mallopt', *arguments))

  def malloc_trim(self, *arguments):
    self.calls.append(('malloc_trim', *arguments))


@pytest.fixture
def libc(monkeypatch):
  library = LibC()
  monkeypatch.setattr(ctypes, 'CDLL', lambda name: library)
  return library


@pytest.mark.parametrize('said, asked', [(None, [('mallopt', -8, 3)]), ('1', [])])
def test_threads_share_heaps_unless_the_environment_says_how_many(monkeypatch, libc, said, asked):
  monkeypatch.delenv('MALLOC_ARENA_MAX', raising=False)
  if said:
    monkeypatch.setenv('MALLOC_ARENA_MAX', said)
  heaps.share(3)
  assert libc.calls == asked


def test_a_library_without_heaps_is_left_alone(monkeypatch):
  monkeypatch.delenv('MALLOC_ARENA_MAX', raising=False)
  monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
  heaps.share(3)
  heaps.trim()


FREED = """
import resource
from bsjax.storage import heaps

def resident():
  return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()

pieces = [bytearray(100_000) for _ in range(1000)]  # too small to be mapped by themselves
last = bytearray(100_000)  # the heap cannot shrink below it
before = resident()
del pieces
kept = resident()
heaps.trim()
print(before - kept, kept - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='not of glibc')
def test_trimmed_heaps_hold_no_memory_of_what_is_gone():
  done = subprocess.run([sys.executable, '-c', FREED], capture_output=True, text=True, check=True)
  by_itself, by_trimming = map(int, done.stdout.split())
  assert by_itself < 50e6 < by_trimming
