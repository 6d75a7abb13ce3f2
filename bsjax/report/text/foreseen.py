"""What a study would take on an accelerator that is not here, as a table for a person."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from bsjax.format import bytes_text, number

Row = Mapping[str, Any]
MILLI, GIGA = 1e3, 1e9


def table(model: str, target: str, rows: Sequence[Row]) -> Table:
  """One row per strategy and micro-batch."""
  result = Table(
    title=f'{model} on {target}, from its compiler; nothing was run',
    caption=(
      'on one device: memory with the data, arithmetic of products and convolutions, bytes moved, '
      'kernels (with the optimizer and the noise scale), and the least time that the peaks allow, '
      'for a tick of all lanes, or of a part where they are cut into parts'
    ),
    caption_justify='left',
  )
  names = ('strategy', 'micro-\nbatch', 'lanes', 'parts', 'memory', 'GFLOP', 'GB', 'kernels')
  for name in (*names, 'least ms\na tick', 'bound by', 'compiled\nin, s'):
    result.add_column(name, justify='right')
  for row in rows:
    result.add_row(*_cells(row))
  return result


def _cells(row: Row) -> list[str]:
  held = row['memory_bytes']
  head = [row['strategy'], str(row['micro_batch']), str(row['lanes']), str(row['parts'])]
  if held is None:
    return [*head, 'no room', '–', '–', '–', '–', '–', number(row['compile_seconds'])]
  least, most = row['kernels']
  seconds = row['seconds']
  return [
    *head,
    bytes_text(held['total']) + ('' if row['fits'] else ', no room'),
    number(row['flops'] / GIGA),
    number(row['bytes'] / GIGA),
    f'{number(least)} ({number(most)})',
    number(MILLI * row['roofline_seconds']),
    max(seconds, key=seconds.__getitem__),
    number(row['compile_seconds']),
  ]
