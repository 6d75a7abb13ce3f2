"""What to keep in mind beside the headline: of branches, rare classes, learning rates and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.format import by_reason, joined, sizes_text
from bsjax.report.text.claim_blocks import verdict_text
from bsjax.report.text.results import noise_scale_text, noise_source

LONG_TAIL = 10.0  # from this ratio of the largest class to the smallest, rare ones are a headline


def limits(summary: Mapping[str, Any]) -> list[str]:
  """What a study of branches or stages says of its batch sizes, and what it does not."""
  remarks = []
  if 'branch' in summary:
    others = [name for name in summary['conditions']['names'] if name != summary['branch']]
    remarks.append(
      f'The study has branches. All but what is headed "Stages" and "Branches" is of the first, '
      f'{summary["branch"]}; the other{"s are" if len(others) > 1 else " is"} {joined(others)}.'
    )
  rules = [
    f'{row["name"]} ({joined(row["settings"]["batch_size"])})'
    for row in summary.get('stages', {}).get('stages', ())
    if set(row['settings'].get('batch_size', ())) - {'keep'}
  ]
  if rules:
    remarks.append(
      f'Batch sizes are those that runs begin with; later they change: {joined(rules)}.'
    )
  return remarks


def rare_classes(summary: Mapping[str, Any]) -> list[str]:
  """Whether small batches hurt rare classes, where a study has some."""
  by_class = summary.get('by_class', {})
  if not by_class or by_class['imbalance'] < LONG_TAIL:
    return []
  return [
    verdict_text(claim, 'of batch size')
    for claim in by_class.get('claims', ())
    if claim['quantity'] in ('rare', 'rare_less_frequent') and claim['effect'] is not None
  ]


def of_results(rows: Sequence[Row], brief: bool) -> list[str]:
  """On learning rates, batch sizes without a result and, if not `brief`, the noise scale."""
  remarks = []
  untuned = [row['batch_size'] for row in rows if 'note' in row]
  at_edge = [row['batch_size'] for row in rows if row['at_grid_edge'] and 'note' not in row]
  if at_edge:
    remarks.append(
      f'At {sizes_text(at_edge)} the best learning rate is at the edge of the grid: a better one '
      'may lie outside.'
    )
  if untuned:
    remarks.append(
      f'At {sizes_text(untuned)} only one learning rate was tried: a difference may be one of '
      'tuning, not of batch size.'
    )
  remarks += [
    f'Batch size {row["batch_size"]} has no result ({row["reason"]}).'
    for row in rows
    if 'reason' in row
  ]
  return remarks if brief else remarks + noise_remark(rows)


def noise_remark(rows: Sequence[Row]) -> list[str]:
  """Which batch sizes lie, with the whole interval, below or above the noise scale found there."""
  measured = [row for row in rows if row['noise_scale']['b_simple'] is not None]
  if not measured:
    return []
  ends = [measured[0], measured[-1]] if len(measured) > 1 else measured
  values = [f'{noise_scale_text(row["noise_scale"])} at {row["batch_size"]}' for row in ends]
  text = f'Gradient noise scale, by batch size, late in training: {joined(values)}'
  text += f'{noise_source(measured)}.'
  bounds = [(row['batch_size'], *row['noise_scale']['ci95']) for row in measured]
  noisy = [size for size, low, _ in bounds if low is not None and size < low]
  calm = [size for size, _, high in bounds if high is not None and size > high]
  if noisy:
    text += f' At {sizes_text(noisy)}, below it, noise outweighs the gradient in each update.'
  if calm:
    text += f' At {sizes_text(calm)}, above it, larger batches bring diminishing returns.'
  doubted = {row['batch_size']: row['noise_scale'] for row in measured}
  caveats = {size: scale['caveat'] for size, scale in doubted.items() if 'caveat' in scale}
  return [' '.join([text, *(f'{why[0].upper()}{why[1:]}.' for why in by_reason(caveats))])]
