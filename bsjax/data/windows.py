"""Examples of a set that stays on the host, taken in the order in which training reads them."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from bsjax.data.dataset import Split, leaves, of_each


def example_bytes(split: Split) -> int:
  """What inputs and targets of an example take."""
  arrays = (*leaves(split.images), *leaves(split.labels))
  return sum(array.nbytes // max(len(array), 1) for array in arrays)


def split_bytes(split: Split) -> int:
  """What inputs and targets of all examples take."""
  return sum(array.nbytes for array in (*leaves(split.images), *leaves(split.labels)))


def take(split: Split, examples: Int[np.ndarray, ' example'] | slice) -> Split:
  """Returns these examples, from wherever the arrays are mapped."""
  images, labels = (
    of_each(lambda x: np.ascontiguousarray(x[examples]), tree)
    for tree in (split.images, split.labels)
  )
  return Split(images, labels)


def epochs(length: int, reach: int) -> int:
  """Returns how many epochs of `length` positions `reach` of them lie in, wherever they begin."""
  return 1 + -(-reach // length)


def places(
  start: int, length: int, reach: int, trials: int
) -> tuple[Int32[np.ndarray, 'trial epoch place'], int]:
  """Returns orders that lead `stream.micro_batch` to a window's examples, and their first epoch.

  Their epochs are `length` positions long, whatever those of the set are, and have the examples of
  `reach` positions from `start` on; what lies around these is never read.
  """
  first, before = divmod(start, length)
  place = np.arange(epochs(length, reach) * length, dtype=np.int32).reshape(-1, length) - before
  of_trials = np.arange(trials, dtype=np.int32)[:, None, None] * reach
  return of_trials + np.clip(place, 0, reach - 1), first


class Prefetched:
  """Calls a function of a position, one position ahead of the one that is asked for.

  The one ahead is called in a thread of its own, while a device trains on what it has.
  """

  def __init__(self, function: Callable[[int], Any]):
    self._function = function
    self._thread = concurrent.futures.ThreadPoolExecutor(1, 'bsjax-feed')
    self._ahead: tuple[int, concurrent.futures.Future] | None = None

  def at(self, position: int, following: int | None) -> Any:
    """Returns what the function does, and calls it for the position that follows, if any does."""
    ahead, self._ahead = self._ahead, None
    if ahead and ahead[0] == position:
      result = ahead[1].result()
    else:
      if ahead and not ahead[1].cancel():
        concurrent.futures.wait([ahead[1]])  # what it holds is free before there is more
      del ahead
      result = self._function(position)
    if following is not None:
      self._ahead = following, self._thread.submit(self._function, following)
    return result
