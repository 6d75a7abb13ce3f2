"""Work of a report on all cores, where processes can be forked safely."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

_do: Callable[[Any], Any]  # of this process, which a worker got when it was forked


def mapped(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
  """Returns `[function(item) for item in items]`; what it returns must be picklable.

  Not where JAX is loaded, as after training, whose threads do not survive a fork, and on Linux
  alone, as elsewhere the system's libraries do not either.
  """
  workers = min(len(items), _cores())
  if workers < 2 or sys.platform != 'linux' or 'jax' in sys.modules:
    return [function(item) for item in items]
  # A forked process has the function, which need not be picklable, with all that it refers to.
  context = multiprocessing.get_context('fork')
  with ProcessPoolExecutor(workers, context, _start, (function,)) as pool:
    return list(pool.map(_call, items))


def _cores() -> int:
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1


def _start(function: Callable[[Any], Any]) -> None:
  global _do
  _do = function


def _call(item: Any) -> Any:
  return _do(item)
