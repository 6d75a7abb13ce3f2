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


def begun(function: Callable[[Any], Any], items: Sequence[Any]) -> Callable[[], list[Any]]:
  """Begins `[function(item) for item in items]`, which calling what it returns waits for.

  What the function returns must be picklable. The work waits for that call where it must be done in
  this process: where JAX is loaded, as after training, whose threads do not survive a fork, and
  elsewhere than on Linux, as other systems' libraries do not either. Only one is begun at a time.
  """
  workers = min(len(items), cores())
  if workers < 2 or sys.platform != 'linux' or 'jax' in sys.modules:
    return lambda: [function(item) for item in items]
  # Forked processes have function and items, which need not be picklable.
  context = multiprocessing.get_context('fork')
  pool = ProcessPoolExecutor(workers, context, _start, (function, items))
  gc.freeze()  # what is there by now is no work for the collectors of the processes
  futures = [pool.submit(_call, index) for index in range(len(items))]
  gc.unfreeze()

  def results() -> list[Any]:
    with pool:
      return [future.result() for future in futures]

  return results


def _start(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
  global _work
  gc.disable()
  _work = function, items


def _call(index: int) -> Any:
  function, items = _work
  return function(items[index])
