"""How often each interval of B_crit holds it: python experiments/verdicts/b_crit_parts.py

Over trials alone, over residuals alone, their hull, and the one that is reported (variances of both
kinds added), in made-up studies from curves of runs to the entry of summary.json
(`tests/helpers/training_times.py`). Writes b_crit_parts.json, of which cells that are there already
are kept, and the table of docs/analysis.md:
shares in percent with their 95% Wilson intervals, and median widths in log B_crit.
"""

import argparse
import dataclasses
import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests'), str(FOLDER)]

from helpers import training_times  # noqa: E402
from measure import rate  # noqa: E402
from table import ANALYSIS, replaced  # noqa: E402

from bsjax.analysis.measures.critical_batch_size import at_target  # noqa: E402
from bsjax.analysis.runs.targets import choose_targets  # noqa: E402

KINDS = {
  'ci95_over_trials': 'over trials',
  'ci95_over_residuals': 'over residuals',
  'hull': 'hull of both',
  'ci95': 'reported',
}
NARROW = {'b_crit': math.inf, 'b_rate': 1e9, 'best': 0.6e9 / 79, 'highest': 0.8}
WORLDS = {
  'rates a factor of 2 apart': {},
  'a factor of 3.2': {'factor': 3.2},
  'a factor of 3.2, batch sizes 16 to 512, best rates grow throughout': {
    'factor': 3.2,
    'sizes': training_times.SIZES[1:],
    'b_rate': 200,
  },
  'a factor of 3.2, a parabola of 0.4': {'factor': 3.2, 'valley': training_times.parabola},
  'a factor of 2, divergence beyond the best, lane sd 0.15': {
    'valley': training_times.cliff,
    'lane_sd': 0.15,
  },
  'a factor of 2, one diverged lane per trial': {'diverged': True},
  '1000, twice the largest batch size': {'b_crit': 1000.0},
  'no hyperbola: a knee of 1.5': {'knee': 1.5},
  'infinite, rate grid too narrow': NARROW,
}


def study(random, diverged=False, **world):
  """The entry of summary.json at the target on top, with the hull."""
  by_size = training_times.settings(random, **world)
  if diverged:
    by_size = _one_lost(random, by_size)
  targets = sorted(choose_targets(by_size, 'train_loss'), reverse=True)
  entry = at_target(by_size, 'train_loss', targets[len(targets) // 2])
  parts = [_ends(entry.get(f'ci95_over_{kind}')) for kind in ('trials', 'residuals')]
  known = [part for part in parts if part]
  hull = [min(low for low, _ in known), max(high for _, high in known)] if known else None
  return {**{kind: _ends(entry.get(kind)) for kind in KINDS if kind != 'hull'}, 'hull': hull}


def _ends(ci95):
  """An interval with its ends as numbers, None where there is none."""
  if ci95 is None or ci95 == [None, None]:
    return None
  return [ci95[0] or 0.0, math.inf if ci95[1] is None else ci95[1]]


def _one_lost(random, by_size):
  """The same with one lane of each trial diverged, at any batch size and rate."""
  settings = [setting for tried in by_size.values() for setting in tried]
  lost = {
    (int(random.integers(len(settings))), trial): True for trial in range(len(settings[0].lanes))
  }
  spoilt = [
    dataclasses.replace(
      setting,
      lanes=tuple(
        _diverged(lane) if (at, trial) in lost else lane for trial, lane in enumerate(setting.lanes)
      ),
    )
    for at, setting in enumerate(settings)
  ]
  return {size: [one for one in spoilt if one.batch_size == size] for size in by_size}


def _diverged(lane):
  rows = tuple(
    {**row, 'diverged': at > len(lane.rows) / 3} | ({'train_loss': None} if at > 10 else {})
    for at, row in enumerate(lane.rows)
  )
  return dataclasses.replace(lane, rows=rows)


def cell(name, trials, studies, seed):
  random, world = np.random.default_rng(seed), WORLDS[name]
  truth = world.get('b_crit', 200.0)
  entries = [study(random, trials=trials, **world) for _ in range(studies)]
  return {'world': name, 'trials': trials} | {
    kind: _covered([entry[kind] for entry in entries if entry[kind]], truth) for kind in KINDS
  }


def _covered(intervals, truth):
  widths = [math.log(high / low) if low > 0 else math.inf for low, high in intervals]
  middle = statistics.median(widths) if widths else math.nan
  held = rate(sum(low <= truth <= high for low, high in intervals), len(intervals))
  return held | {'log_width': middle if math.isfinite(middle) else None}


def table(cells):
  lines = [f'| world | n | {" | ".join(KINDS.values())} |', '|---' * (2 + len(KINDS)) + '|']
  for one in cells:
    shown = ' | '.join(_shown(one[kind]) for kind in KINDS)
    lines.append(f'| {one["world"]} | {one["trials"]} | {shown} |')
  return '\n'.join(lines)


def _shown(held):
  if not held['of']:
    return 'none given'
  low, high = (100 * end for end in held['ci95'])
  width = 'unbounded' if held['log_width'] is None else f'{held["log_width"]:.2f}'
  return f'{100 * held["rate"]:.1f} [{low:.0f}, {high:.0f}] of {held["of"]} ({width})'


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--studies', type=int, default=200)
  parser.add_argument('--seed', type=int, default=7)
  flags = parser.parse_args()
  path = FOLDER / 'b_crit_parts.json'
  cells = json.loads(path.read_text())['cells'] if path.exists() else []
  known = {(one['world'], one['trials']) for one in cells}
  for name in WORLDS:
    for trials in (3, 5, 8):
      if (name, trials) in known:
        continue
      cells.append(cell(name, trials, flags.studies, flags.seed))
      print(table(cells[-1:]).splitlines()[-1], flush=True)
      path.write_text(json.dumps({'seed': flags.seed, 'cells': cells}, indent=1) + '\n')
  ANALYSIS.write_text(replaced(ANALYSIS.read_text(), 'intervals of B_crit', table(cells)))


if __name__ == '__main__':
  main()
