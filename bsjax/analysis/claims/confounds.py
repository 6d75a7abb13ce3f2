"""What besides the batch size differs between the runs compared, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bsjax.analysis.runs.budgets import Reading
from bsjax.analysis.runs.histories import Setting
from bsjax.stats.estimate import Reason


def tuning(
  found: Mapping[int, Sequence[Setting]], chosen: Mapping[int, Setting], sizes: Sequence[int]
) -> list[str]:
  """Where a better learning rate may exist than the one chosen."""
  edge, single = [], []
  for size in sizes:
    rates = [setting.learning_rate for setting in found[size]]
    if len(rates) == 1:
      single.append(size)
    elif chosen[size].learning_rate in (min(rates), max(rates)):
      edge.append(size)
  texts = []
  if edge:
    texts.append(
      f'The learning rate is at the edge of the grid at {named(edge)}: a better may lie outside.'
    )
  if single:
    texts.append(f'Only one learning rate was tried at {named(single)}: nothing was tuned there.')
  return texts


def budget(
  chosen: Mapping[int, Setting], sizes: Sequence[int], read: Mapping[int, Reading] | None = None
) -> list[str]:
  """How many more updates the smallest batch size has made where it was read, else at the end."""
  small, large = min(sizes), max(sizes)
  few, many = (
    [lane.final['updates'] for lane in chosen[size].lanes]
    if read is None
    else read[size].values['updates']
    for size in (large, small)
  )
  if small == large or not min(few):
    return []
  return [
    f'Batch size {small} makes {max(many) / min(few):.3g} times as many updates as {large}: an '
    'effect of their number would look the same.'
  ]


def schedule(
  chosen: Mapping[int, Setting], read: Mapping[int, Reading], sizes: Sequence[int]
) -> list[str]:
  """Where in training and in its schedule each end of the range is read, when updates are equal."""
  places, shares = [], []
  for size in (min(sizes), max(sizes)):
    epoch, rate = (float(np.mean(read[size].values[key])) for key in ('epoch', 'learning_rate'))
    peaks = [lane.plan['learning_rate'] for lane in chosen[size].lanes]
    shares.append(100 * rate / (math.fsum(peaks) / len(peaks)))
    places.append(f'batch size {size} stands at epoch {epoch:.3g}')
  text = f'There {" and ".join(places)}'
  if abs(shares[0] - shares[1]) > 1:
    rates = ' and '.join(f'{share:.0f}%' for share in shares)
    text += f', their learning rates at {rates} of their peaks by the schedule'
  return [f'{text}.']


def left_out(read: Mapping[int, Reading], sizes: Sequence[int]) -> list[Reason]:
  """The batch sizes that take no part, and why."""
  return [
    Reason('takes_no_part', batch_size=size, why=reading.problem or Reason('not_finite'))
    for size, reading in read.items()
    if size not in sizes
  ]


def named(sizes: Sequence[int]) -> str:
  """'batch size 8', 'batch sizes 8, 16'."""
  return f'batch size{"s" * (len(sizes) > 1)} {", ".join(map(str, sizes))}'
