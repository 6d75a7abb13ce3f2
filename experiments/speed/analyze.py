"""Draws the figures from the JSON files in this folder.

speed.png: the time of each way, by that of bsjax; scale.png: where the time of a study goes.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent
# Parts of a study (scale.py) in the order of the figure, with their colors.
PARTS = {
  'training': '#d1701a',
  'evaluation': '#e8b07c',
  'records': '#8094a8',
  'checkpoints': '#5f7388',
  'host': '#a9b8c6',
  'analysis': '#3d6e4e',
  'page': '#86ad92',
  'start': '#cccccc',
}


def main() -> None:
  draw_sides()
  draw_scale()


def draw_scale() -> None:
  """Shares of the processor's time by number of lanes, and that time per lane."""
  rows = json.loads((HERE / 'scale' / 'digits.json').read_text())
  figure = Figure(figsize=(9, 3.6), layout='constrained')
  shares, cost = figure.subplots(1, 2)
  totals = [sum(row['cpu_seconds'].values()) for row in rows]
  names, below = [f'{row["lanes"]:,}' for row in rows], [0.0] * len(rows)
  for part, color in PARTS.items():
    heights = [
      100 * row['cpu_seconds'].get(part, 0.0) / total
      for row, total in zip(rows, totals, strict=True)
    ]
    shares.bar(names, heights, bottom=below, color=color, label=part)
    below = [low + height for low, height in zip(below, heights, strict=True)]
  shares.set_ylabel("% of the processor's time")
  shares.set_ylim(0, 100)
  handles, labels = shares.get_legend_handles_labels()
  shares.legend(handles[::-1], labels[::-1], loc='center left', bbox_to_anchor=(1, 0.5), fontsize=8)
  lanes = [row['lanes'] for row in rows]
  trained = [row['cpu_seconds']['training'] for row in rows]
  for label, seconds, color in (('all', totals, '#333333'), ('training', trained, '#d1701a')):
    each = [1000 * value / count for value, count in zip(seconds, lanes, strict=True)]
    cost.loglog(lanes, each, 'o-', color=color, label=label)
  cost.set_ylabel("processor's ms per lane")
  cost.legend(fontsize=8)
  for axes in (shares, cost):
    axes.set_xlabel('lanes')
    axes.spines[['top', 'right']].set_visible(False)
  figure.savefig(HERE / 'scale.png', dpi=110)


def draw_sides() -> None:
  # What was measured later on the second machine lies in one file.
  machines = [measured(HERE.glob('*.json')), measured([HERE / 'xeon' / 'all.json'])]
  columns = max(map(len, machines))
  figure = Figure(figsize=(4 * columns, 3 * len(machines)), layout='constrained')
  label = 'time, times that of bsjax (median, range of rounds)'
  panels = [(i, *panel) for i, works in enumerate(machines) for panel in enumerate(works.items())]
  for i, j, (title, sides) in panels:
    axes = figure.add_subplot(len(machines), columns, columns * i + j + 1)
    rows = [(n, s['times_first']) for n, s in sides.items() if s.get('times_first')][::-1]
    medians = [row['median'] for _, row in rows]
    spread = [[abs(row['median'] - row[end]) for _, row in rows] for end in ('min', 'max')]
    colors = ['#d1701a' if name == 'bsjax' else '#8094a8' for name, _ in rows]
    axes.barh([name for name, _ in rows], medians, xerr=spread, color=colors, ecolor='#333333')
    axes.axvline(1, color='#333333', linewidth=0.8)
    for y, median in enumerate(medians):
      axes.text(0.02, y, f'{median:.2f}', va='center', transform=axes.get_yaxis_transform())
    axes.set_title(f'{title}, n = {min(row["n"] for _, row in rows)}', fontsize=10)
    axes.set_xlabel(label, fontsize=8)
    axes.spines[['top', 'right']].set_visible(False)
  figure.savefig(HERE / 'speed.png', dpi=110)


def measured(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
  """The sides of each work of these files, by its name and processor; the newer of two."""
  works = {}
  for path in sorted(paths, key=lambda path: 'again' not in path.stem):
    result = json.loads(path.read_text())
    if 'works' not in result:  # that of given_up.py
      continue
    for name, work in result['works'].items():
      if work['sides']:
        processor = result['hardware']['processor'].replace('(R)', '').removesuffix(' Processor')
        works[f'{name}, 2 cores of {processor}'] = work['sides']
  return works


if __name__ == '__main__':
  main()
