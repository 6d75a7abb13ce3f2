"""Whole made-up studies that go on in rounds, through plan, records and analysis.

  python experiments/decide/whole.py --studies=60

writes whole.json: of each world how many decided, how many made a false statement at some look, the
rounds and runs that they took, and by when best learning rates were surrounded.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # the analysis measured is of this checkout

from helpers import decided_studies, rounds  # noqa: E402
from helpers.worlds import World  # noqa: E402

BASE = World(
  'border',
  batch_sizes=(16, 32, 64),
  learning_rates=(0.03, 0.1, 0.3),
  worse=(0.0, 0.0, 0.5),
  unaligned=0.0,
  curvature=0.5,
)
WORLDS = (
  BASE,
  replace(BASE, name='border, t2', heavy_tails=True),
  replace(BASE, name='one worse by 1.2', worse=(0.0, 0.0, 1.2)),
  replace(BASE, name='rates too low by a factor of 30', optimum=9.0, curvature=1.0),
  replace(BASE, name='rates too high by a factor of 30', optimum=0.001, curvature=1.0),
)
OUT = Path(__file__).with_name('whole.json')


def outcome(world, seed):
  found = rounds.study(world, seed)
  truth = decided_studies.World(world.name, world.worse)
  wrong = any(decided_studies.false(claim, truth) for look in found.looks for claim in look.claims)
  edges = [any(r.state == 'edge' for r in look.rates.values()) for look in found.looks]
  at_edge = any(edge and look.error for edge, look in zip(edges, found.looks, strict=True))
  surrounded = edges.index(False) + 1
  return found.last.why == 'decided', wrong, len(found.looks), len(found.plan), surrounded, at_edge


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--studies', type=int, default=60)
  parser.add_argument('--only', default='', help='worlds whose names hold this')
  flags = parser.parse_args()
  studies, table = flags.studies, json.loads(OUT.read_text()) if OUT.exists() else {}
  for world in (world for world in WORLDS if flags.only in world.name):
    columns = list(zip(*(outcome(world, seed) for seed in range(studies)), strict=True))
    table[world.name] = {
      'studies': studies,
      'decided': sum(columns[0]),
      'wrong': sum(columns[1]),
      'rounds': sum(columns[2]) / studies,
      'runs': sum(columns[3]) / studies,
      'surrounded_by_round_at_most': max(columns[4]),
      'looks_at_an_edge': sum(columns[5]),
    }
    OUT.write_text(json.dumps(table, indent=1) + '\n')
    print(world.name, table[world.name], flush=True)


if __name__ == '__main__':
  main()
