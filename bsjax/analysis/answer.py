"""What the results say, in sentences that claim no more than the intervals show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.tables import Row, noise_scale_text, percent


class Answer(NamedTuple):
  """A headline, the sentence that backs it, and what to keep in mind."""

  headline: str
  detail: str
  remarks: list[str]


def answer(summary: Mapping[str, Any]) -> Answer:
  """The answer to 'which batch size?' by validation accuracy.

  Batch sizes count as different only where their 95% intervals do not overlap. That is stricter
  than a test at 5%, which leaves some room for the number of comparisons.
  """
  remarks = _remarks(summary['batch_sizes'])
  rows = [row for row in summary['batch_sizes'] if row['learning_rate'] is not None]
  if not rows:
    detail = 'None has a learning rate at which every trial reached the end.'
    return Answer('No batch size has a result.', detail, remarks)
  best = max(rows, key=lambda row: row['val_accuracy']['mean'])
  size, accuracy = best['batch_size'], best['val_accuracy']
  reached = f'{percent(accuracy)} % validation accuracy'
  if len(rows) == 1:
    detail = f'At learning rate {best["learning_rate"]:.4g}, n = {accuracy["n"]}.'
    remarks.insert(0, 'Only one batch size has a result, so there is nothing to compare it with.')
    return Answer(f'Batch size {size} reaches {reached}.', detail, remarks)
  highest = f'The highest mean is that of batch size {size}: {reached}'
  if accuracy['n'] < 2:
    detail = f'{highest}. One trial has no spread, so no difference can be shown.'
    return Answer('One trial cannot tell the batch sizes apart.', detail, remarks)
  return Answer(*_compare(rows, best, highest), remarks)


def _compare(rows: Sequence[Row], best: Row, highest: str) -> tuple[str, str]:
  """Headline and detail where there are batch sizes to compare, and intervals to do it by."""
  n = best['val_accuracy']['n']
  beaten = [row['batch_size'] for row in rows if _beats(best, row)]
  level = [row['batch_size'] for row in rows if row is not best and row['batch_size'] not in beaten]
  if not beaten:
    return (
      'No batch size is shown to be better.',
      f'{highest}. All other intervals overlap with its own: no difference shown at n = {n}.',
    )
  below = f'The {"interval" if len(beaten) == 1 else "intervals"} of {_join(beaten)}'
  below += f' {"lies" if len(beaten) == 1 else "lie"} wholly below its own'
  if not level:
    return f'Batch size {best["batch_size"]} does best.', f'{highest}. {below} (n = {n}).'
  return (
    f'Batch size {best["batch_size"]} beats {_join(beaten)}, not {_join(level, "or")}.',
    f'{highest}. {below}. With {_join(level)} it overlaps: no difference shown at n = {n}.',
  )


def _beats(best: Row, other: Row) -> bool:
  """Whether the interval of `other` lies wholly below, by every kind of accuracy there is.

  With BatchNorm there are two, and a difference in running statistics alone is one of updates. An
  interval of no width says that the split is too coarse to see a spread, and proves nothing.
  """
  for name in ('val_accuracy', 'reestimated_val_accuracy'):
    if name in best:
      (low, high), (bottom, top) = best[name]['ci95'], other[name]['ci95']
      if not (low > top and low < high and bottom < top):
        return False
  return True


def _remarks(rows: Sequence[Row]) -> list[str]:
  remarks = []
  untuned = [row['batch_size'] for row in rows if 'note' in row]
  at_edge = [row['batch_size'] for row in rows if row['at_grid_edge'] and 'note' not in row]
  if at_edge:
    remarks.append(
      f'At {_sizes(at_edge)} the best learning rate is at the edge of the grid: a better one may '
      'lie outside, so widen the grid before comparing.'
    )
  if untuned:
    remarks.append(
      f'At {_sizes(untuned)} only one learning rate was tried: a difference may be one of tuning, '
      'not of batch size.'
    )
  remarks += [
    f'Batch size {row["batch_size"]} has no result ({row["reason"]}).'
    for row in rows
    if 'reason' in row
  ]
  return remarks + _noise_remark(rows)


def _noise_remark(rows: Sequence[Row]) -> list[str]:
  """Which batch sizes lie, with the whole interval, below or above the noise scale found there."""
  measured = [row for row in rows if row['noise_scale']['b_simple'] is not None]
  if not measured:
    return []
  ends = [measured[0], measured[-1]] if len(measured) > 1 else measured
  values = [f'{noise_scale_text(row["noise_scale"])} at {row["batch_size"]}' for row in ends]
  text = f'Gradient noise scale, by batch size, late in training: {_join(values)}.'
  bounds = [(row['batch_size'], *row['noise_scale']['ci95']) for row in measured]
  noisy = [size for size, low, _ in bounds if low is not None and size < low]
  calm = [size for size, _, high in bounds if high is not None and size > high]
  if noisy:
    text += f' At {_sizes(noisy)}, below it, noise outweighs the gradient in each update.'
  if calm:
    text += f' At {_sizes(calm)}, above it, larger batches bring diminishing returns.'
  return [text]


def _sizes(sizes: Sequence[int]) -> str:
  return f'batch size{"s" * (len(sizes) > 1)} {_join(sizes)}'


def _join(items: Sequence[Any], last: str = 'and') -> str:
  """'8', '8 and 16', '8, 16 and 32'."""
  words = [str(item) for item in items]
  return f' {last} '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)
