"""Who is measured: bsjax, and every other way to train the same settings."""

import functools
from collections.abc import Callable
from typing import Any

from benchmark import jax_loop, lanes_side, processes


def makers(work: Any, options: Any, closing: list[Callable[[], None]]) -> dict[str, Callable]:
  """Returns how to make each side; the first is the one that others are divided by."""

  def pooled() -> Callable:
    run, close = processes.pool(work, options)
    closing.append(close)
    return run

  def in_torch(name: str) -> Callable:
    from benchmark import torch_loops

    return getattr(torch_loops, name)(work)

  in_jax = {
    'bsjax': lambda: lanes_side.lanes(work, lanes_side.chosen(work, lanes_side.LONGER)),
    'sequential': lambda: jax_loop.step_loop(work),
    'sequential scan': lambda: jax_loop.scan_loop(work),
    'processes': pooled,
  }
  if work.own.model:  # PyTorch has none of it
    return in_jax
  return in_jax | {
    'torch eager': functools.partial(in_torch, 'eager'),
    'torch compiled': functools.partial(in_torch, 'compiled'),
    'torch.func': functools.partial(in_torch, 'lanes_of_a_batch_size'),
  }
