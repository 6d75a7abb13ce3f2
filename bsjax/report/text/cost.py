"""The cost of batch sizes for a person: the words of a row, and the table of the command."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bsjax.format import bytes_text, number

Row = Mapping[str, Any]


def range_text(spread: Row | None) -> str:
  """A median with the lowest and highest: '1,200 [1,100, 1,250]', or a dash."""
  if spread is None:
    return '–'
  return f'{number(spread["median"])} [{number(spread["low"])}, {number(spread["high"])}]'


def remark(row: Row) -> str:
  """What keeps a batch from being run whole, and how it can be run; empty if nothing does."""
  if not row['problem']:
    return ''
  gathered = row['suggestion']
  if not gathered:
    return row['problem']
  return (
    f'{row["problem"]}; gathered from {gathered["accumulation"]} micro-batches of '
    f'{gathered["micro_batch"]} it takes {bytes_text(gathered["memory_bytes"]["total"])} and '
    f'{range_text(gathered["seconds_per_epoch"])} s an epoch'
  )


def table(cost: Row) -> Table:
  """One row per batch size; `cost` is native_cost.json."""
  memory = cost['device_memory_gib']
  result = Table(
    title=f'{cost["model"]}, {cost["parameters"]:,} parameters, run alone on '
    f'{cost["hardware"]}' + (f', {number(memory)} GiB' if memory is not None else ''),
    caption=r'one setting at a time and batches whole; median \[lowest, highest] of repetitions',
    caption_justify='left',
  )
  staged = any(row['stage'] for row in cost['rows'])
  names = ['stage'] * staged + ['batch\nsize', 'memory', 'of it\ntemporary', 'examples/s']
  for name in [*names, 'seconds\nan epoch', 'compiled\nin, s']:
    result.add_column(name, justify='right', no_wrap=True)
  result.add_column('remark')
  for row in cost['rows']:
    held = row['memory_bytes'] or {}
    cells = [row['stage']] * staged + [str(row['batch_size'])]
    cells += [bytes_text(held.get('total')), bytes_text(held.get('temporaries'))]
    cells += [range_text(row['examples_per_second']), range_text(row['seconds_per_epoch'])]
    result.add_row(*cells, number(row['compile_seconds']), remark(row))
  return result
