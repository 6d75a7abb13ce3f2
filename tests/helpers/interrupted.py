"""A run that is stopped by a signal in the middle."""

import contextlib
import os
import signal

from bsjax.engine import device_lanes


@contextlib.contextmanager
def terminated_in_call(monkeypatch, number):
  """Inside, a termination signal arrives in this call of those that train, counted from 1."""
  advance, calls = device_lanes.Lanes.advance, []

  def advance_and_signal(self, on_device, blocks):
    calls.append(blocks)
    if len(calls) == number:
      os.kill(os.getpid(), signal.SIGTERM)
    return advance(self, on_device, blocks)

  with monkeypatch.context() as patch:
    patch.setattr(device_lanes.Lanes, 'advance', advance_and_signal)
    yield
