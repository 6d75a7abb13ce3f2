"""The table of results that a finished study prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import number
from bsjax.noise import entries
from bsjax.report.text.formats import value_text
from bsjax.report.text.words import selection


def results(summary: Mapping[str, Any]) -> Table:
  """The table printed when a study ends: one row per batch size, at its best learning rate."""
  table = Table(
    box=box.SIMPLE_HEAD,
    pad_edge=False,
    title='Results of each batch size' + (f', {summary["branch"]}' if 'branch' in summary else ''),
    caption=f'{judged().metric.plural}{_unit()}: mean ± half of the 95% interval over n trials; '
    f'noise scale in examples{noise_source(summary["batch_sizes"])}; '
    'learning rate: the one run that is nearest to the best, * at the edge of the grid'
    + (', † next to one that was dropped. ' if 'dropped' in summary else '. ')
    + ' '.join(selection(summary['batch_sizes'])[:1]),
  )
  names = 'batch\nsize', 'learning\nrate', 'validation', 'training', 'gap', 'noise scale', 'n'
  for name in names:
    table.add_column(name, justify='right', no_wrap=True)
  for row in summary['batch_sizes']:
    table.add_row(
      str(row['batch_size']),
      learning_rate_text(row),
      value_text(row[judged().val]),
      value_text(row[judged().train]),
      value_text(row['generalization_gap']),
      noise_scale_text(row['noise_scale']),
      str(row[judged().val]['n']),
    )
  return table


def _unit() -> str:
  unit = 'percent' if judged().metric.percent else judged().metric.unit
  return f' in {unit}' if unit else ''


def learning_rate_text(row: Row) -> str:
  """The chosen learning rate, with a star at the edge of the grid."""
  if row['learning_rate'] is None:
    return 'none'
  near = '†' if row.get('beside_dropped') else ''
  return f'{row["learning_rate"]:.4g}' + ('*' if row['at_grid_edge'] else near)


def noise_kind(rows: Sequence[Row]) -> str:
  """'from single examples': the kind of the noise scales of batch sizes, which are of one kind."""
  kinds = [row['noise_scale']['kind'] for row in rows if 'kind' in row['noise_scale']]
  return entries.title(kinds[0]) if kinds else 'measured'


def noise_source(rows: Sequence[Row]) -> str:
  """', from single examples (...)': what the noise scales of batch sizes were measured from."""
  scales = [row['noise_scale'] for row in rows if 'kind' in row['noise_scale']]
  if not scales:
    return ''
  counts = sorted({scale['measurements'] for scale in scales})
  times = ' to '.join(f'{count:,}' for count in dict.fromkeys((counts[0], counts[-1])))
  if scales[0]['kind'] in {entry.name for entry in entries.EXACT.values()}:
    how = f'{scales[0]["examples"]:,} in each of {times} probes per batch size'
  else:
    early = not any('caveat' in scale for scale in scales)
    how = f'{times} updates per batch size' + (', of the first eighth of epochs' if early else '')
  return f', {noise_kind(rows)} ({how})'


def noise_scale_text(noise_scale: Row) -> str:
  """The noise scale in examples with its interval, or what keeps it from being known."""
  value, (low, high) = noise_scale['b_simple'], noise_scale['ci95']
  bounds = '' if low is None else f' [{number(low)}, {"∞" if high is None else number(high)}]'
  if value is None:
    return f'undefined{bounds}' if not noise_scale['unbounded'] else f'unbounded{bounds}'
  if noise_scale['unbounded'] and not bounds:
    bounds = ' (unbounded)'
  return f'{number(value)}{bounds}'
