"""The table of the README, from the files of `measure.py`: python experiments/verdicts/table.py

Shares in percent with their 95% Wilson interval and the number they are of, by number of trials.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
# World, measure, and how the row reads.
ROWS = [
  ('no_effect', 'false_headline', 'no effect: false headline'),
  ('real_null', 'false_headline', 'real runs of one batch size: false headline'),
  ('unequal_variance', 'false_headline', 'one batch size five times noisier: false headline'),
  ('real_effect', 'shown_worse', 'truly worse batch sizes shown to be worse'),
  ('real_effect', 'false_headline', 'the same worlds: false headline'),
  ('only_updates', 'cause_named', 'only updates differ: named as the cause'),
  ('real_effect', 'updates_named', 'they are not the cause: named all the same'),
  ('diverged_lane', 'lost_sizes', 'one diverged lane per trial: batch sizes lost'),
  ('b_crit', 'b_crit_covers', '`B_crit` of 200 covered'),
  ('b_crit_grid_too_narrow', 'b_crit_bounded', 'rate grid too narrow: `B_crit` given and bounded'),
  ('real_effect', 'recommended_set_covers', 'recommended set covers the best'),
]


def table() -> str:
  """Markdown, one row for each measure, before and after by number of trials."""
  files = {name: _cells(FOLDER / f'{name}.json') for name in ('before', 'after')}
  trials = sorted({n for cells in files.values() for _, n in cells})
  heads = [f'{name}, n = {n}' for n in trials for name in files]
  lines = [f'| | {" | ".join(heads)} |', '|---' * (len(heads) + 1) + '|']
  for world, measure, title in ROWS:
    shown = [_shown(cells.get((world, n)), measure) for n in trials for cells in files.values()]
    lines.append(f'| {title} | {" | ".join(shown)} |')
  return '\n'.join(lines)


def _cells(path: Path) -> dict[tuple[str, int], dict]:
  return {(cell['world'], cell['trials']): cell for cell in json.loads(path.read_text())['cells']}


def _shown(cell: dict | None, measure: str) -> str:
  if cell is None:
    return 'not run'
  share = cell.get(measure)
  if share is None or not share['of']:
    return 'none given'
  low, high = share['ci95']
  return f'{100 * share["rate"]:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {share["of"]}'


if __name__ == '__main__':
  print(table())
