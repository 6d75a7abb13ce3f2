"""Draws speed.png from the JSON files in this folder: the time of each way, by that of bsjax."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent


def main() -> None:
  machines = [measured(HERE.glob('*.json')), measured((HERE / 'xeon').glob('*.json'))]
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
