"""Small tables as strangers have them, whose every number is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd


def sweep(
  value: Callable[[int, float, int], float],
  sizes: Sequence[int] = (16, 64),
  rates: Sequence[float] = (0.1,),
  trials: int = 3,
  epochs: int = 4,
  luck: float = 0.001,
  column: str = 'val_accuracy',
) -> pd.DataFrame:
  """A row per run and epoch: `value(size, rate, epoch)`, and luck that differs among sizes."""
  rows = [
    (
      size,
      rate,
      trial,
      epoch,
      value(size, rate, epoch) + luck * (trial - 1) * (-1) ** place * (1 + place),
    )
    for place, size in enumerate(sizes)
    for rate in rates
    for trial in range(trials)
    for epoch in range(1, epochs + 1)
  ]
  return pd.DataFrame(rows, columns=['batch_size', 'learning_rate', 'trial', 'epoch', column])


def rising(size: int, rate: float, epoch: int) -> float:
  """Smaller batches are ahead by a point per factor of four."""
  return 0.5 + 0.05 * epoch - 0.01 * (size > 16) - 0.01 * (size > 64)


def lanes(found, size: int, setting: int = 0):
  """The runs of a batch size as the audit reads them."""
  return found.judged.cells[0].given.tried[size][setting].lanes


def finals(found, size: int, setting: int = 0) -> list[float]:
  """The last values of a batch size."""
  return [lane.final['val_accuracy'] for lane in lanes(found, size, setting)]


def notes(found) -> dict:
  """What was noticed of a table, by code."""
  return {note.code: note.details for note in found.judged.notes}


def confounds(found) -> dict:
  """The confounds by code."""
  return {row['confound']: row for row in found.result['confounds']}


def claims(found, code: str) -> list[dict]:
  """The claims about others' curves alone, by the code of what they ask."""
  return [row for row in found.result['claims'] if row['subject'][:1] == [code]]
