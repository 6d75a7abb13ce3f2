"""What following the recommendation costs, with and without the best rates of other batch sizes.

  python experiments/verdicts/recommended.py --out=experiments/verdicts/recommended.json

takes the ends of made-up runs alone, which is all that the recommendation for the best validation
accuracy rests on, so that a study takes a twentieth of a second. Cells that are there already are
kept. Points of accuracy, means with their standard errors; `own` is at the rate that the batch
size's own runs choose. Writes the table of README.md, too.
"""

import argparse
import json
import sys
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [
  str(ROOT),
  str(ROOT / 'tests'),
  str(FOLDER),
]  # the analysis measured is that of this checkout

from helpers import verdicts, world_files  # noqa: E402
from helpers.world_catalogue import WORLDS  # noqa: E402
from helpers.world_runs import simulate  # noqa: E402
from helpers.worlds import TOTAL, TRAIN_EXAMPLES, World  # noqa: E402
from table import replaced  # noqa: E402

from bsjax.analysis.claims.pairs import rank  # noqa: E402
from bsjax.analysis.recommend import recommendation  # noqa: E402
from bsjax.analysis.runs.budgets import at_end  # noqa: E402
from bsjax.analysis.runs.histories import settings  # noqa: E402
from bsjax.analysis.runs.selection import select  # noqa: E402
from bsjax.plan import plan  # noqa: E402
from bsjax.report.text.rendered import rendered  # noqa: E402

ASKED = [
  'unequal_variance', 'no_effect', 'real_effect', 'only_updates', 'untuned', 'best_rate_scales',
  'diverged_lane', 'ceiling', 'heavy_tails', 'outliers', 'grid_too_narrow', 'b_crit',
  'stale_batch_norm',
]  # fmt: skip


@dataclass(frozen=True)
class Uneven(World):
  """Best rates that are no power of the batch size: `factors` multiply them, by batch size."""

  factors: tuple[float, ...] = (1.0,) * 6

  def best_rate(self, size: int) -> float:
    return super().best_rate(size) * self.factors[self.batch_sizes.index(size)]


# What other batch sizes say of the noisy one is wrong, or the noisy one is the best.
HARD = (
  World('noisy_is_best', noisier={32: 5.0}, worse=(1.0, 1.0, 0.0, 1.0, 1.0, 1.0)),
  World('noisy_kink', noisier={32: 5.0}, valley='kink', curvature=0.4),
  World('noisy_rate_scales', noisier={32: 5.0}, optimum=0.01, optimum_power=1.0),
  Uneven('no_power', factors=(1.0, 3.0, 0.33, 3.0, 1.0, 0.33)),
  Uneven('no_power_noisy', noisier={32: 5.0}, factors=(1.0, 3.0, 0.33, 3.0, 1.0, 0.33)),
  Uneven('bend_noisy', noisier={32: 5.0}, optimum=0.03, factors=(1.0, 2.0, 4.0, 8.0, 8.0, 8.0)),
  Uneven('noisy_alone_differs', noisier={32: 5.0}, factors=(1.0, 1.0, 3.0, 1.0, 1.0, 1.0)),
)


def ends(world, lanes, seed):
  """The records of a made-up study at its start and its end."""
  positions = np.array([0, int(TOTAL)])
  runs = simulate(world, lanes, positions, seed)
  return list(world_files.rows(runs, lanes, positions))


def regrets(world, lanes, seed):
  """(size, at its own rate, at the rate recommended, set covers) of one study; None without one."""
  tried = settings(lanes, ends(world, lanes, seed))
  chosen = select(tried).chosen
  ranking = rank({size: at_end(one) for size, one in chosen.items()})
  row = rendered(recommendation(chosen, ranking, {'undefined': 'not asked'}, tried)[0])
  size = row['batch_size']
  if size is None:
    return None
  placed = replace(world.placed(np.random.default_rng(seed)), name=world.name)
  best = max(placed.best_accuracy(one) for one in placed.batch_sizes)
  own, taken = (
    best - placed.accuracy(size, rate)
    for rate in (chosen[size].learning_rate, row['learning_rate'])
  )
  summary = {'recommendation': [row]}
  covers = verdicts.recommended(summary, world, world.truth()).covers
  return best - placed.best_accuracy(size), own, taken, covers


def measure(world, trials, studies, seed):
  config, known = world_files.config_of(world, trials), zlib.crc32(world.name.encode())
  lanes = plan.lane_rows(plan.make_plan(config, TRAIN_EXAMPLES))
  found = [regrets(world, lanes, (seed, trials, i, known)) for i in range(studies)]
  size, own, taken, covers = np.array([one for one in found if one]).T
  changed = taken - own
  return {
    'world': world.name,
    'trials': trials,
    'studies': len(size),
    'covers': int(covers.sum()),
    'largest': float(taken.max()),
  } | {
    name: [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]
    for name, values in (('size', size), ('own', own), ('taken', taken), ('changed', changed))
  }


def table(cells):
  lines = ['| world | n | studies | batch size alone | own rate | recommended (largest) | change |']
  lines.append('|---' * 7 + '|')
  for cell in cells:
    shown = [f'{mean:.3f} ± {error:.3f}' for mean, error in map(cell.get, ('size', 'own', 'taken'))]
    shown[-1] += f' ({cell["largest"]:.2f})'
    shown.append('{:+.3f} ± {:.3f}'.format(*cell['changed']))
    place = f'`{cell["world"]}` | {cell["trials"]} | {cell["studies"]}'
    lines.append(f'| {place} | {" | ".join(shown)} |')
  return '\n'.join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  worlds = {world.name: world for world in (*(WORLDS[name] for name in ASKED), *HARD)}
  parser.add_argument('--worlds', default=','.join(worlds), help='all by default: %(default)s')
  parser.add_argument('--studies', type=int, default=300)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--out', type=Path, required=True)
  flags = parser.parse_args()
  cells = json.loads(flags.out.read_text())['cells'] if flags.out.exists() else []
  known = {(cell['world'], cell['trials']) for cell in cells}
  for name in flags.worlds.split(','):
    for trials in (3, 5, 8):
      if (name, trials) in known:
        continue
      cells.append(measure(worlds[name], trials, flags.studies, flags.seed))
      print(cells[-1], flush=True)
      flags.out.write_text(json.dumps({'seed': flags.seed, 'cells': cells}, indent=1) + '\n')
  readme = FOLDER / 'README.md'
  readme.write_text(replaced(readme.read_text(), 'recommended rates', table(cells)))


if __name__ == '__main__':
  main()
