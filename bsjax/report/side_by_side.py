"""Work of a report on all cores, where processes can be forked safely."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bsjax.storage import buckets
from bsjax.storage.provenance import cores

_work: tuple[Callable[[Any], Any], Sequence[Any]]  # which a worker got when it was forked


@contextlib.contextmanager
def begun(
  function: Callable[[Any], Any], items: Sequence[Any]
) -> Iterator[Callable[[], list[Any]]]:
  """Begins `[function(item) for item in items]`, which calling what it gives waits for.

  What the function returns must be picklable. The work waits for that call where it must be done in
  this process: where JAX is loaded, as after training, or a bucket used, whose threads do not
  survive a fork, and elsewhere than on Linux, as other systems' libraries do not either. Only one
  is begun at a time.
  """
  workers = min(len(items), cores())
  alone = sys.platform != 'linux' or 'jax' in sys.modules or buckets.opened()
  if workers < 2 or alone:
    yield lambda: [function(item) for item in items]
    return
  # Forked processes have function and items, which need not be picklable.
  context = multiprocessing.get_context('fork')
  pool = ProcessPoolExecutor(workers, context, _start, (function, items))
  try:
    gc.freeze()  # what is there by now is no work for the collectors of the processes
    try:
      futures = [pool.submit(_call, index) for index in range(len(items))]
    finally:
      gc.unfreeze()
    yield lambda: [future.result() for future in futures]
  finally:
    pool.shutdown(cancel_futures=True)  # of what an error has left


def _start(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
  global _work
  gc.disable()
  _work = function, items


def _call(index: int) -> Any:
  function, items = _work
  return function(items[index])
