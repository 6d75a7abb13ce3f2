"""Traces of JAX's profiler, on request: what the devices do in some blocks of training."""

import collections
import contextlib
from collections.abc import Hashable, Iterator
from pathlib import Path

import jax

FOLDER = 'profile'  # in a workdir


class Profiler:
  """Traces `blocks` blocks of each program, in its second call, as the first one compiles it.

  Programs are told apart by a key, such as stage and group. TensorBoard and Perfetto show traces.
  """

  def __init__(self, workdir: Path, blocks: int):
    self._folder, self._blocks = workdir / FOLDER, blocks
    self._calls: collections.Counter[Hashable] = collections.Counter()

  def wanted(self, key: Hashable, paced: int, left: int) -> int:
    """Returns how many blocks the next call runs: `paced`, or as many as are to be traced."""
    return min(left, self._blocks) if self._due(key) else paced

  @contextlib.contextmanager
  def call(self, key: Hashable) -> Iterator[None]:
    """Is around a call, and traces it if its turn has come."""
    trace = jax.profiler.trace(str(self._folder)) if self._due(key) else contextlib.nullcontext()
    self._calls[key] += 1
    with trace:
      yield

  def _due(self, key: Hashable) -> bool:
    return bool(self._blocks) and self._calls[key] == 1
