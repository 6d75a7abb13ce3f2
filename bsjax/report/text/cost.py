"""The cost of batch sizes for a person: the words of a row, and the table of the command."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bsjax.format import bytes_text as memory_text
from bsjax.format import number

Row = Mapping[str, Any]


def range_text(found: Row | None) -> str:
  """A median with the lowest and highest: '1,200 [1,100, 1,250]', or a dash."""
  if found is None:
    return '–'
  return f'{number(found["median"])} [{number(found["low"])}, {number(found["high"])}]'


def remark(row: Row) -> str:
  """What keeps a batch from being run whole, and how it can be run; empty if nothing does."""
  if not row['problem']:
    return ''
  found = row['suggestion']
  if not found:
    return row['problem']
  return (
    f'{row["problem"]}; gathered from {found["accumulation"]} micro-batches of '
    f'{found["micro_batch"]} it takes {memory_text(found["memory_bytes"]["total"])} and '
    f'{range_text(found["seconds_per_epoch"])} s an epoch'
  )


def table(found: Row) -> Table:
  """A row for each batch size."""
  memory = found['device_memory_gib']
  result = Table(
    title=f'{found["model"]}, {found["parameters"]:,} parameters, run alone on '
    f'{found["hardware"]}' + (f', {number(memory)} GiB' if memory is not None else ''),
    caption=r'one setting at a time and batches whole; median \[lowest, highest] of repetitions',
    caption_justify='left',
  )
  staged = any(row['stage'] for row in found['rows'])
  names = ['stage'] * staged + ['batch\nsize', 'memory', 'of it\ntemporary', 'examples/s']
  for name in [*names, 'seconds\nan epoch', 'compiled\nin, s']:
    result.add_column(name, justify='right', no_wrap=True)
  result.add_column('remark')
  for row in found['rows']:
    held = row['memory_bytes'] or {}
    cells = [row['stage']] * staged + [str(row['batch_size'])]
    cells += [memory_text(held.get('total')), memory_text(held.get('temporaries'))]
    cells += [range_text(row['examples_per_second']), range_text(row['seconds_per_epoch'])]
    result.add_row(*cells, number(row['compile_seconds']), remark(row))
  return result
