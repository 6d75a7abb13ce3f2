"""Work of a report on all cores, where processes can be forked safely."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bsjax.storage.provenance import cores

_work: tuple[Callable[[Any], Any], Sequence[Any]]  # which a worker got when it was forked


def mapped(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
  """Returns `[function(item) for item in items]`; what it returns must be picklable.

  Not where JAX is loaded, as after training, whose threads do not survive a fork, and on Linux
  alone, as elsewhere the system's libraries do not either.
  """
  workers = min(len(items), cores())
  if workers < 2 or sys.platform != 'linux' or 'jax' in sys.modules:
    return [function(item) for item in items]
  # Forked processes have function and items, which need not be picklable.
  context = multiprocessing.get_context('fork')
  gc.freeze()  # what is there by now is no work for the collectors of the processes
  try:
    with ProcessPoolExecutor(workers, context, _start, (function, items)) as pool:
      return list(pool.map(_call, range(len(items))))
  finally:
    gc.unfreeze()


def _start(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
  global _work
  _work = function, items


def _call(index: int) -> Any:
  function, items = _work
  return function(items[index])
