"""What besides the batch size differs between the runs compared, as reasons to keep in mind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs.budgets import Reading
from bsjax.analysis.runs.histories import Setting
from bsjax.stats.estimate import Reason


def tuning(
  tried: Mapping[int, Sequence[Setting]],
  chosen: Mapping[int, Setting],
  sizes: Sequence[int],
  **whose: str,
) -> list[Reason]:
  """Where a better learning rate may exist than the one chosen; `whose` names the condition."""
  edge = [size for size in sizes if at_edge(tried[size], chosen[size].learning_rate)]
  single = [size for size in sizes if len(tried[size]) == 1]
  reasons = [Reason('chosen_at_grid_edge', sizes=edge, **whose)] if edge else []
  return reasons + ([Reason('one_rate', sizes=single, **whose)] if single else [])


def at_edge(tried: Sequence[Setting], learning_rate: float) -> bool:
  """Whether a learning rate is the smallest or the largest of several that were tried."""
  rates = [setting.learning_rate for setting in tried]
  return len(rates) > 1 and learning_rate in (min(rates), max(rates))


def updates(
  chosen: Mapping[int, Setting], sizes: Sequence[int], read: Mapping[int, Reading] | None = None
) -> list[Reason]:
  """How many more updates the smallest batch size has made where it was read, else at the end."""
  small, large = min(sizes), max(sizes)
  many, few = (_updates(chosen, size, read or {}) for size in (small, large))
  if small == large or not min(few):
    return []
  return [Reason('more_updates', small=small, large=large, times=float(max(many) / min(few)))]


def schedule(
  chosen: Mapping[int, Setting], read: Mapping[int, Reading], sizes: Sequence[int]
) -> list[Reason]:
  """Where in training and in its schedule each end of the range is read, when updates are equal."""
  ends, epochs, shares = (min(sizes), max(sizes)), [], []
  for size in ends:
    epoch, rate = (float(np.mean(read[size].values[key])) for key in ('epoch', 'learning_rate'))
    peaks = [lane.plan['learning_rate'] for lane in chosen[size].lanes]
    epochs.append(epoch)
    shares.append(rate / (math.fsum(peaks) / len(peaks)))
  return [Reason('stand_at', sizes=ends, epochs=epochs, shares=shares)]


def left_out(problems: Mapping[int, Any]) -> list[Reason]:
  """The batch sizes that take no part, and why."""
  return [Reason('left_out', size=size, why=why) for size, why in problems.items()]


def unread(read: Mapping[int, Reading], sizes: Sequence[int]) -> list[Reason]:
  """The batch sizes that were read and take no part."""
  missing = Reason('not_finite')
  return left_out(
    {size: reading.problem or missing for size, reading in read.items() if size not in sizes}
  )


def _updates(
  chosen: Mapping[int, Setting], size: int, read: Mapping[int, Reading]
) -> Float[np.ndarray, ' trial']:
  if size in read and 'updates' in read[size].values:
    return read[size].values['updates']
  return np.array([lane.final['updates'] for lane in chosen[size].lanes], dtype=np.float64)
