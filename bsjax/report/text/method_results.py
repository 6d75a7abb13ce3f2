"""What the runs of a study showed and took, in sentences for its paragraph on method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import joined, measured, number, sizes_text
from bsjax.report.text import method_rounds, words
from bsjax.report.text.results import noise_source


def selection(summary: Mapping[str, Any]) -> str:
  rows = [row for row in summary.get('batch_sizes', []) if row.get('learning_rate') is not None]
  if not rows or all('note' in row for row in rows):
    return ''
  text = f'Learning rates were chosen for each batch size by final {judged().val_title}. '
  text += ' '.join(words.selection(rows)).rstrip('.')
  edges = [row['batch_size'] for row in rows if row['at_grid_edge']]
  if edges:
    text += f'; at {sizes_text(edges)} the best rate is at the edge of the grid'
  near = [row['batch_size'] for row in rows if row.get('beside_dropped')]
  if near:
    text += f'; at {sizes_text(near)} it is next to one that was dropped'
  return f'{text}.'


def micro_batches(plan_rows: Sequence[Row], native_cost: Mapping[str, Any] | None) -> str:
  """How gradients were gathered, and whether memory asked for it."""
  gathered = sorted({row['micro_batch'] for row in plan_rows if row['accumulation'] > 1})
  text = (
    f'Gradients of an update were summed over micro-batches of {joined(gathered)} examples.'
    if gathered
    else ''
  )
  rows = (native_cost or {}).get('rows', [])
  large = [row for row in rows if row.get('fits') is False]
  if not large:
    return text
  sizes = [
    f'{row["batch_size"]}' + (f' ({_gib(row)})' if row.get('memory_bytes') else '') for row in large
  ]
  need = f'In one piece {sizes_text(sizes)} would not fit the memory of the device.'
  return f'{text} {need}'.strip()


def _gib(row: Row) -> str:
  return f'{row["memory_bytes"]["total"] / 2**30:.2g} GiB'


def intervals(plan_rows: Sequence[Row], summary: Mapping[str, Any]) -> str:
  if len({row['trial'] for row in plan_rows}) < 2:
    return 'One trial gives no intervals.' if plan_rows else ''
  text = "Intervals are 95% Student's intervals over trials."
  if len({row['batch_size'] for row in plan_rows}) > 1:
    text += ' What a trial shares cancels in differences between batch sizes, whose spread is that '
    text += 'of all lanes near their best learning rates; the intervals of all pairs and of the '
    text += 'trend hold together.'
    if level := method_rounds.level(summary.get('decision', {'rounds': ()})):
      text += f' They do so with {level}, as at the last look at the question, not with 95%.'
  if any(row['noise_scale']['b_simple'] is not None for row in summary.get('batch_sizes', [])):
    text += " The interval of a noise scale is Student's of its reciprocal."
  return text


def noise_scale(summary: Mapping[str, Any]) -> str:
  rows = summary.get('batch_sizes', [])
  known = [row for row in rows if row['noise_scale']['b_simple'] is not None]
  if not known:
    return ''
  values = [f'{_value(row["noise_scale"], "b_simple")} at {row["batch_size"]}' for row in known]
  source = noise_source(known)
  return f'Late in training the gradient noise scale was, in examples, {joined(values)}{source}.'


def critical(summary: Mapping[str, Any]) -> str:
  result = summary.get('critical_batch_size', {})
  if result.get('b_crit') is None:
    return ''
  return (
    f'The critical batch size, for {words.loss_text(result)}, was {_value(result, "b_crit")} '
    f'examples (n = {result["n"]}).'
  )


def _value(result: Mapping[str, Any], key: str) -> str:
  """A number with its interval; an open end as such."""
  low, high = result['ci95']
  value, least, most = (measured(x, low, high) for x in (result[key], low, high))
  if low is None:
    return f'{value} (no interval)'
  return f'{value} [{least}, {"unbounded" if high is None else most}]'


def hardware(summary: Mapping[str, Any], native_cost: Mapping[str, Any] | None) -> str:
  text = f'Hardware: {summary["hardware"]}.' if summary.get('hardware') else ''
  speeds = [
    f'{number(row["examples_per_second"]["median"])} at batch size {row["batch_size"]}'
    for row in (native_cost or {}).get('rows', [])
    if (row.get('examples_per_second') or {}).get('median') is not None
  ]
  if speeds:
    text += f' A run by itself trains, in examples per second (median), {joined(speeds)}.'
  return text.strip()
