"""What successive halving over learning rates does to the verdicts of made-up studies, and saves.

  python experiments/decide/halving.py --minutes=7

adds studies to halving.json until every cell has its number. A study is simulated once per seed,
and read as it is ('all') and as it would be had rates been dropped at rungs, so that only that
differs. Of each batch size it is noted whether the best rate of the grid was dropped, whether the
one that all runs together choose was, and what the rate that is chosen costs.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is of this checkout

import grown  # noqa: E402
import numpy as np  # noqa: E402
from helpers import decided_studies, verdicts, world_files  # noqa: E402
from helpers.halved import halved  # noqa: E402
from helpers.worlds import World  # noqa: E402

from bsjax.analysis import summary as analysis  # noqa: E402
from bsjax.report.text.rendered import rendered  # noqa: E402
from bsjax.stats.estimate import Reason  # noqa: E402

OUT = Path(__file__).with_name('halving.json')
SIZES, LARGE = (16, 32, 64, 256), (64, 256)
RATES = tuple(0.00625 * 2**i for i in range(9))
BASE = World('no_effect', batch_sizes=SIZES, learning_rates=RATES, curvature=0.5)
LATE = math.log(8.0)  # the best rate is lower by as much at first
WORLDS = (
  BASE,
  replace(BASE, name='real_effect', worse=(0.0, 0.0, 0.5, 1.0)),
  replace(BASE, name='best_rate_scales', optimum=0.025, optimum_power=1.0),
  replace(BASE, name='curves_cross', crossing=LATE),
  replace(BASE, name='curves_cross_if_large', crossing=dict.fromkeys(LARGE, LATE)),
)
DESIGNS = {
  'all': (),
  '1/8, 1/4, 1/2': (1 / 8, 1 / 4, 1 / 2),
  '1/4, 1/2': (1 / 4, 1 / 2),
  '1/4': (1 / 4,),
}
READ = 'batch_sizes', 'claims', 'confounds', 'dropped'  # of a summary
TRIALS, STUDIES = (3, 5), 100


def quicken():
  """Leaves out what no verdict counted here rests on; see also `decided_studies.quicken`."""
  nothing = {'undefined': Reason('no_target_given'), 'targets': []}
  analysis.critical_batch_size = lambda *_: dict(nothing)
  analysis.generalization_gap = lambda *_: {}
  analysis.noise.beside = lambda setting: {'batch_size': setting.batch_size, 'late': {}}
  world_files.EVALUATIONS = 16
  decided_studies.quicken()


def outcomes(world, trials, seed):
  """{design: what one study comes to}."""
  made = world_files.made(world, trials, (3, seed))
  chosen, found = {}, {}
  for design, rungs in DESIGNS.items():
    study = halved(made, rungs) if rungs else made
    said = analysis.summarize(json.loads(study.config.to_json()), study.lanes, study.rows)
    said = rendered({key: said[key] for key in READ if key in said})
    rates = {row['batch_size']: row['learning_rate'] for row in said['batch_sizes']}
    chosen = chosen or rates  # of all runs
    found[design] = _judged(world, said, rates, chosen)
  return found


def _judged(world, said, rates, chosen):
  truth = world.truth()
  ended = said.get('dropped', {'lane_examples': 1, 'of': 1, 'rates': ()})
  out = {(row['batch_size'], row['learning_rate']) for row in ended['rates']}
  best = {size: min(world.learning_rates, key=lambda r: -world.accuracy(size, r)) for size in rates}
  worse, of = verdicts.shown_worse(said, truth)
  return {
    'untrue_headline': verdicts.untrue_headline(said, truth),
    'false_pair': verdicts.false_pairs(said, truth) > 0,
    'false_alike': verdicts.false_alike(said, truth) > 0,
    'false_trend': verdicts.false_trend(said, truth, 'epochs'),
    'worse_shown': worse,
    'worse': of,
    'sizes': len(rates),
    'best_dropped': sum((size, best[size]) in out for size in rates),
    'chosen_dropped': sum((size, chosen[size]) in out for size in rates),
    'beside_dropped': sum('beside_dropped' in row for row in said['batch_sizes']),
    'regret': float(
      np.mean([world.accuracy(s, best[s]) - world.accuracy(s, r) for s, r in rates.items()])
    ),
    'cost': ended['lane_examples'] / ended['of'],
  }


def row(studies):
  """A row of the table."""
  total = {key: sum(one[key] for one in studies) for key in studies[0]}
  n = len(studies)
  counts = {key: int(total[key]) for key in studies[0] if key not in ('regret', 'cost')}
  intervals = {
    f'{key}_ci95': grown.interval(counts[key], n)
    for key in ('untrue_headline', 'false_pair', 'false_alike', 'false_trend')
  }
  if counts['worse']:
    intervals['worse_shown_ci95'] = grown.interval(counts['worse_shown'], counts['worse'])
  means = {key: total[key] / n for key in ('regret', 'cost')}
  spread = np.std([one['regret'] for one in studies], ddof=1) if n > 1 else math.nan
  means['regret_error'] = float(spread) / math.sqrt(n)
  return {'studies': n, **counts, **intervals, **means}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=7.0)
  parser.add_argument('--only', default='', help='worlds whose names hold this')
  parser.add_argument('--kept', default='halving_studies.json', help='what each study came to')
  flags = parser.parse_args()
  quicken()
  end = time.time() + 60 * flags.minutes
  kept = Path(flags.kept)
  stored = json.loads(kept.read_text()) if kept.exists() else {}
  cells = [(world, n) for world in WORLDS for n in TRIALS if flags.only in world.name]
  for seed in range(STUDIES):  # all cells grow together
    for world, trials in cells:
      name = f'{world.name}, n = {trials}'
      if len(stored.setdefault(name, [])) > seed:
        continue
      if time.time() > end:
        return write(stored, kept)
      stored[name].append(outcomes(world, trials, seed))
  write(stored, kept)


def write(stored, kept):
  kept.write_text(json.dumps(stored) + '\n')
  table = {
    f'{name}, {design}': row([study[design] for study in studies])
    for name, studies in stored.items()
    for design in DESIGNS
    if studies
  }
  OUT.write_text(json.dumps(table, indent=1) + '\n')
  for name, one in table.items():
    print(name, {key: one[key] for key in ('studies', 'untrue_headline', 'regret', 'cost')})


if __name__ == '__main__':
  main()
