"""How often verdicts of whole made-up studies are false, and how often they find what is there.

  python experiments/verdicts/measure.py --out=after.json --worlds=no_effect,b_crit --trials=3,5

simulates studies (`tests/helpers/worlds.py`) and deals them from real runs
(`tests/helpers/null_studies.py`), runs the analysis of this checkout on what their workdirs hold
and holds what it says against the truth (`tests/helpers/verdicts.py`). Without --worlds it takes
all. Every rate comes with its count and 95% Wilson interval. A cell is written as it ends, in place
of the one that stands in the file. With --kept=DIR each study is stored as it ends, and a run that
was cut off goes on behind it.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is that of this checkout

from helpers import null_studies, verdicts, world_files  # noqa: E402
from helpers.world_catalogue import WORLDS  # noqa: E402

import bsjax  # noqa: E402

REAL = {world.name: world for world in (null_studies.REAL_NULL, null_studies.REAL_EFFECT)}


def one_study(name, trials, seed):
  """{measure: bool, number, (count, of) or None where it does not apply} of one study."""
  world, made = (REAL[name], null_studies.made) if name in REAL else (WORLDS[name], None)
  study = (made or world_files.made)(world, trials, (*seed, zlib.crc32(name.encode())))
  start = time.process_time()
  summary = study.summary()
  seconds = time.process_time() - start
  return judged(summary, world) | {'cpu_seconds': seconds}


def judged(summary, world):
  truth = world.truth()
  headline, critical = verdicts.named(summary), verdicts.critical(summary, truth)
  recommended = verdicts.recommended(summary, world, truth)
  return {
    'headline_names_a_difference': bool(headline.pairs or headline.trend),
    'untrue_headline': verdicts.untrue_headline(summary, truth),
    'false_headline': verdicts.false_headline(summary, truth),
    'false_pair': verdicts.false_pairs(summary, truth) > 0,
    'false_alike': verdicts.false_alike(summary, truth) > 0,
    'false_trend': verdicts.false_trend(summary, truth, 'epochs'),
    'false_trend_at_equal_updates': verdicts.false_trend(summary, truth, 'updates'),
    'shown_worse': verdicts.shown_worse(summary, truth),
    'lost_sizes': (verdicts.lost(summary, truth), len(truth.best)),
    'cause_named': verdicts.cause_named(summary, truth.confound) if truth.confound else None,
    'updates_named': verdicts.cause_named(summary, 'updates'),
    'b_crit_given': critical['given'],
    'b_crit_covers': critical['covers'],
    'b_crit_bounded': critical['bounded'],
    'b_crit_log_width': critical['log_width'],
    'recommendation_given': recommended.regret is not None,
    'recommended_set_covers': recommended.covers,
    'regret': recommended.regret,
    'regret_at_recommended_rate': recommended.at_rate,
  }


def summed(studies):
  """Rates of what is true or counted; mean, median and largest of numbers."""
  cell = {'studies': len(studies)}
  for key in studies[0]:
    values = [study[key] for study in studies if study[key] is not None]
    if not values:
      continue
    if isinstance(values[0], bool):
      cell[key] = rate(sum(values), len(values))
    elif isinstance(values[0], (tuple, list)):
      cell[key] = rate(sum(count for count, _ in values), sum(of for _, of in values))
    else:
      mean, middle = statistics.fmean(values), statistics.median(values)
      cell[key] = {'mean': mean, 'median': middle, 'largest': max(values), 'n': len(values)}
  return cell


def rate(count, of):
  """With Wilson's 95% interval; none where there was nothing to count."""
  if not of:
    return {'count': 0, 'of': 0, 'rate': None, 'ci95': [None, None]}
  interval = binomtest(count, of).proportion_ci(method='wilson')
  return {'count': count, 'of': of, 'rate': count / of, 'ci95': [float(end) for end in interval]}


def measure(worlds, trials, studies, seed, workers, out=None, kept=None):
  """{'seed', 'cells': [...]}, each with its commit; `out` is written anew after each cell."""
  assert Path(bsjax.__file__).is_relative_to(ROOT), bsjax.__file__
  known = json.loads(out.read_text()) if out and out.exists() else {'cells': []}
  result, commit = {'seed': seed, 'cells': known['cells']}, _commit()
  assert known.get('seed', seed) == seed, f'{out} is of seed {known["seed"]}'
  with ProcessPoolExecutor(workers) as pool:
    for name in worlds:
      for n in trials:
        done = _studies(pool, name, n, studies, seed, kept)
        cell = {'world': name, 'trials': n, 'commit': commit} | summed(done)
        _put(result['cells'], cell)
        print(_line(cell), flush=True)
        if out:
          out.write_text(json.dumps(result, indent=1) + '\n')
  return result


def _studies(pool, name, n, studies, seed, kept):
  """What each study says: those that are kept, then the others."""
  path = kept / f'{name}-{n}-{seed}.jsonl' if kept else Path(os.devnull)
  done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
  one = functools.partial(one_study, name, n)
  with path.open('a') as file:
    for study in pool.map(one, [(seed, n, i) for i in range(len(done), studies)], chunksize=2):
      file.write(json.dumps(study) + '\n')
      file.flush()
      done.append(study)
  return done[:studies]


def _put(cells, cell):
  """The cell in place of the one of its world and trials, or behind all."""
  which = [(old['world'], old['trials']) for old in cells]
  if (key := (cell['world'], cell['trials'])) in which:
    cells[which.index(key)] = cell
  else:
    cells.append(cell)


def _line(cell):
  keys = 'false_headline', 'false_pair', 'false_trend', 'shown_worse', 'lost_sizes', 'b_crit_covers'
  shown = [f'{key} {_percent(cell[key]["rate"])}' for key in keys if key in cell]
  seconds = f'{cell["cpu_seconds"]["mean"]:.2f} s'
  return f'{cell["world"]} n={cell["trials"]} {cell["studies"]}: {", ".join(shown)}, {seconds}'


def _percent(share):
  return '-' if share is None else f'{100 * share:.1f}%'


def _commit():
  command = ['git', '-C', str(ROOT), 'rev-parse', '--short', 'HEAD']
  return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  names = ','.join([*WORLDS, *REAL])
  parser.add_argument('--worlds', default=names, help='all by default: %(default)s')
  parser.add_argument('--trials', default='3,5,8')
  parser.add_argument('--studies', type=int, default=200)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--workers', type=int, default=1)
  parser.add_argument('--out', type=Path, required=True)
  parser.add_argument('--kept', type=Path, help='where studies are stored that a cell is made of')
  flags = parser.parse_args()
  worlds, trials = flags.worlds.split(','), [int(n) for n in flags.trials.split(',')]
  if unknown := set(worlds) - set(names.split(',')):
    parser.error(f'no such worlds: {", ".join(sorted(unknown))}; there are {names}')
  measure(worlds, trials, flags.studies, flags.seed, flags.workers, flags.out, flags.kept)


if __name__ == '__main__':
  main()
