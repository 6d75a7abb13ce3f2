"""The benchmark's result for people."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NOT_MEASURED = 'not measured'


def show(result: dict[str, Any], console: Console) -> None:
  """Prints every table there is something for."""
  hardware = result['hardware']
  console.print(f'{hardware["devices"]}, {hardware["processor"]}; {result["versions"]}')
  for name, work in result['works'].items():
    console.print(_sides(name, work))
    for line in _more(work):
      console.print(f'  {line}')
  start = result.get('start')
  if start:
    for line in _start(start):
      console.print(line)


def _sides(name: str, work: dict[str, Any]) -> Table:
  table = Table(title=f'{name}: {work["description"]}', title_justify='left')
  for column in (
    'side',
    'us/lane-example',
    'ms/lane-step',
    'warm-up s',
    "times bsjax's time",
    'cores busy',
    'n',
  ):
    table.add_column(column, justify='left' if column == 'side' else 'right')
  for side, row in work['sides'].items():
    reason = row.get('wrong') or row.get('not_measured')
    if reason:
      word = 'WRONG' if 'wrong' in row else NOT_MEASURED
      table.add_row(side, f'{word}: {reason[:60]}')
      continue
    ratio = row['times_first']
    table.add_row(
      side,
      f'{row["us_per_lane_example"]:.1f}',
      f'{row["ms_per_lane_step"]:.2f}',
      f'{row["warm_up_seconds"]:.1f}',
      _range(ratio) if ratio else NOT_MEASURED,
      f'{statistics.median(row["cores_busy"]):.2f}' if 'cores_busy' in row else '',
      str(row['seconds']['n']),
    )
  return table


def _more(work: dict[str, Any]) -> list[str]:
  """A line for each further measurement of a work."""
  lines = [f'bsjax ran: {"; ".join(work["execution"])}']
  if pair := work.get('whole'):
    ratio = pair['first_by_second']
    lines.append(
      f'whole study, start and compilation counted: processes {pair["first"]["median"]:.1f} s, '
      f'bsjax {pair["second"]["median"]:.1f} s, {_range(ratio)} times (n = {ratio["n"]})'
    )
  if pair := work.get('noise'):
    ratio = pair['first_by_second']
    lines.append(f'noise scale on by off: {_range(ratio, 3)} (n = {ratio["n"]})')
  if counts := work.get('lanes'):
    text = ', '.join(
      f'{count}: {1e3 * row["seconds"]["median"]:.3g} ({_range(row["loop_by_lanes"])})'
      for count, row in counts.items()
    )
    lines.append(
      f'ms per lane and step by number of lanes (the better plain loop divided by it): {text}'
    )
  if ways := work.get('strategies'):
    text = ', '.join(f'{name}: {_range(row["loop_by_lanes"])}' for name, row in ways.items())
    lines.append(f'the better plain loop by lanes, by strategy: {text}')
  if shares := work.get('ceilings'):
    lines.append(
      f'{shares["achieved_flops"] / 1e9:.1f} GFLOP/s: {shares["share_of_plain_step"]:.2f} of the '
      f'best plain step, {shares["share_of_matmul_peak"]:.2f} of the best matrix product'
    )
  return lines


def _range(row: dict[str, Any], digits: int = 2) -> str:
  return f'{row["median"]:.{digits}f} [{row["min"]:.{digits}f}, {row["max"]:.{digits}f}]'


def _start(start: dict[str, Any]) -> list[str]:
  return [
    f'start of configs/digits.py to its first tick, {name} cache: {_range(row["seconds"])} s, '
    f'compiling {_range(row["compiling"])} s '
    f'(n = {row["seconds"]["n"]})'
    for name, row in start.items()
  ]


def main(arguments: list[str]) -> None:
  """Prints the tables of JSON files written before."""
  for path in arguments:
    show(json.loads(Path(path).read_text()), Console(width=140))


if __name__ == '__main__':
  main(sys.argv[1:])
