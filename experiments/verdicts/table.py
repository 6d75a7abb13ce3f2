"""The tables of the README and of docs/analysis.md, from the files of `measure.py`.

  python experiments/verdicts/table.py

writes them anew in both, between the lines that say so. Shares are in percent with their 95% Wilson
interval and the number they are of, by number of trials.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
ANALYSIS = FOLDER.parents[1] / 'docs' / 'analysis.md'
# World, measure, and how the row reads.
ROWS = [
  ('no_effect', 'false_headline', 'no effect: false headline'),
  ('real_null', 'false_headline', 'real runs of one batch size: false headline'),
  ('unequal_variance', 'false_headline', 'one batch size five times noisier: false headline'),
  ('real_effect', 'shown_worse', 'truly worse batch sizes shown to be worse'),
  ('real_effect', 'false_headline', 'the same worlds: false headline'),
  ('only_updates', 'cause_named', 'only updates differ: named as the cause'),
  ('real_effect', 'updates_named', 'they are not the cause: named all the same'),
  ('diverged_lane', 'false_headline', 'one diverged lane per trial: false headline'),
  ('diverged_lane', 'lost_sizes', 'one diverged lane per trial: batch sizes lost'),
  ('b_crit', 'b_crit_covers', '`B_crit` of 200 covered'),
  ('b_crit_grid_too_narrow', 'b_crit_bounded', 'rate grid too narrow: `B_crit` given and bounded'),
  ('real_effect', 'recommended_set_covers', 'recommended set covers the best'),
]
SHARES = {
  'false_headline': 'false headline',
  'false_pair': 'false pair',
  'recommended_set_covers': 'set covers the best',
  'lost_sizes': 'batch sizes lost',
}
POINTS = {
  'regret': 'regret, mean (largest)',
  'regret_at_recommended_rate': 'at the rate recommended',
}
BETWEEN = '<!-- {name}: made by experiments/verdicts/table.py -->\n\n', '\n\n<!-- end of {name} -->'


def before_and_after() -> str:
  """Markdown, one row per measure, by number of trials; before where that was measured."""
  return _table({name: cells(name) for name in ('before', 'after')})


def now() -> str:
  """The same of the present analysis alone."""
  return _table({'': cells('after')})


def all_worlds() -> str:
  """Markdown, one row per world and number of trials: what is false, and what advice costs."""
  lines = [f'| world | n | studies | {" | ".join([*SHARES.values(), *POINTS.values()])} |']
  lines.append('|---' * (3 + len(SHARES) + len(POINTS)) + '|')
  for (world, trials), cell in sorted(cells('after').items()):
    shown = [_shown(cell, measure, of=False) for measure in SHARES]
    shown += [_points(cell.get(measure)) for measure in POINTS]
    lines.append(f'| `{world}` | {trials} | {cell["studies"]} | {" | ".join(shown)} |')
  return '\n'.join(lines)


# Where each table stands, under which name.
TABLES = {
  (FOLDER / 'README.md', 'before and after'): before_and_after,
  (FOLDER / 'README.md', 'all worlds'): all_worlds,
  (ANALYSIS, 'verdict rates'): now,
}


def replaced(text: str, name: str, table: str) -> str:
  """The text with the table between its marks, each of which stands in it once."""
  start, end = (mark.format(name=name) for mark in BETWEEN)
  (head, rest), (_, tail) = text.split(start), text.split(end)
  assert end in rest, f'{name} ends before it starts'
  return head + start + table + end + tail


def cells(name: str) -> dict[tuple[str, int], dict]:
  """By world and number of trials, of before.json or after.json."""
  content = json.loads((FOLDER / f'{name}.json').read_text())
  return {(cell['world'], cell['trials']): cell for cell in content['cells']}


def _table(files: dict[str, dict[tuple[str, int], dict]]) -> str:
  asked = {world for world, *_ in ROWS}
  columns = [
    (f'{name}, n = {n}'.removeprefix(', '), n, measured)
    for n in sorted({n for measured in files.values() for world, n in measured if world in asked})
    for name, measured in files.items()
    if any(trials == n for _, trials in measured)
  ]
  lines = [f'| | {" | ".join(head for head, *_ in columns)} |', '|---' * (len(columns) + 1) + '|']
  for world, measure, title in ROWS:
    shown = [_shown(measured.get((world, n)), measure) for _, n, measured in columns]
    lines.append(f'| {title} | {" | ".join(shown)} |')
  return '\n'.join(lines)


def _shown(cell: dict | None, measure: str, of: bool = True) -> str:
  if cell is None:
    return 'not run'
  share = cell.get(measure)
  if share is None or not share['of']:
    return 'none given'
  low, high = share['ci95']
  text = f'{100 * share["rate"]:.1f} [{100 * low:.1f}, {100 * high:.1f}]'
  return f'{text} of {share["of"]}' if of else text


def _points(numbers: dict | None) -> str:
  return f'{numbers["mean"]:.3f} ({numbers["largest"]:.2f})' if numbers else 'none'


def main():
  for (path, name), table in TABLES.items():
    path.write_text(replaced(path.read_text(), name, table()))


if __name__ == '__main__':
  main()
