"""Work of a report on all cores: in order, with its errors, and by this process beside JAX."""

import os
import subprocess
import sys

import jax  # noqa: F401
import pytest

from bsjax.report import side_by_side

FORKED = """
import multiprocessing, os, sys, time
from bsjax.report import side_by_side
from bsjax.storage import buckets
side_by_side.cores = lambda: 3
with side_by_side.begun(lambda item: (item * 2, os.getpid()), range(20)) as doubled:
  found = doubled()
assert [value for value, _ in found] == list(range(0, 40, 2))
assert os.getpid() not in {process for _, process in found}
try:
  with side_by_side.begun(lambda item: 1 / item, [1, 0]) as inverted:
    inverted()
except ZeroDivisionError:
  print('raised')
try:
  with side_by_side.begun(time.sleep, [0.1] * 3):
    raise KeyError
except KeyError:
  assert not multiprocessing.active_children()
buckets._mirrors['folder'] = None  # whose threads do not survive a fork
with side_by_side.begun(lambda _: os.getpid(), range(4)) as processes:
  assert {*processes()} == {os.getpid()}
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='processes are forked on Linux alone')
def test_forked_processes_return_in_order_and_raise():
  printed = subprocess.check_output([sys.executable, '-c', FORKED], text=True)
  assert printed.strip() == 'raised'


def test_beside_jax_this_process_does_it():
  with side_by_side.begun(lambda _: os.getpid(), range(4)) as processes:
    assert set(processes()) == {os.getpid()}
