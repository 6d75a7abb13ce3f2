"""What lanes that are out still cost: training and evaluations with 0, 50 and 90% of them out.

`given_up.py mlp map-canonical` and so on adds to given_up.json. Rounds go through the shares in
turn, there and back, so that what else the machine does falls on all alike; seconds are those of
the processor, in all threads of the process, and of the wall clock. The program as it was before
it asked which lanes are live is timed beside today's with all of them live, in pairs of both
orders.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from bsjax import data  # noqa: E402
from bsjax.config.keys import base_config  # noqa: E402
from bsjax.engine import device_lanes, fed_data, programs, stage_lanes  # noqa: E402
from bsjax.plan import plan  # noqa: E402

SHARES, ROUNDS, PAIRS, SECONDS = (0.0, 0.5, 0.9), 5, 30, 0.5
WORKS = {'mlp': {'name': 'mlp', 'width': 64, 'depth': 2}, 'cnn': {'name': 'cnn', 'width': 16}}


def config_of(work: str, strategy: str) -> Any:
  """A study of 20 lanes of digits that is much longer than what is timed."""
  config = base_config()
  config.model.update(WORKS[work])
  config.batch_sizes, config.trials, config.epochs = (16, 64), 2, 10_000.0
  config.learning_rates = tuple(0.01 * 1.5**i for i in range(5))
  config.execution.strategy, config.execution.devices = strategy, 1
  return config


def made(config: Any, like: device_lanes.Lanes | None = None) -> tuple[device_lanes.Lanes, Any]:
  """Lanes, which share the programs of others where these are given, and data."""
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  if like:
    group = device_lanes.Lanes(like.programs, like.group, study)
  else:
    (group,) = stage_lanes.create(config, dataset, study)
  return group, fed_data.create(config, dataset, study)


def timed(function: Any, *arguments: Any) -> tuple[float, float]:
  """Seconds of the processor and of the clock."""
  wall, processor = time.perf_counter(), time.process_time()
  function(*arguments)
  return time.process_time() - processor, time.perf_counter() - wall


def stretch(group: device_lanes.Lanes, on_device: Any, blocks: int) -> None:
  """Trains and settles, as a study does about once a second."""
  left = blocks
  while left:
    left -= group.advance(on_device, left)
  group.settle()
  group.wait()


def shares_out(config: Any) -> dict[str, Any]:
  """Seconds by share of lanes that are out; each has given its lanes up before it is timed."""
  first = made(config)
  groups = [first, *(made(config, first[0]) for _ in SHARES[1:])]
  for share, (group, on_device) in zip(SHARES, groups, strict=True):
    stretch(group, on_device, 1)
    lanes = [lane.lane for lane in group.group.lanes]
    group.give_up(lanes[len(lanes) - round(share * len(lanes)) :])
    stretch(group, on_device, 1)
    for _ in range(2):  # the last one of lanes that are out, and one that takes it from there
      group.evaluate(on_device)()
  blocks = max(1, round(SECONDS / timed(stretch, *groups[0], 4)[1] * 4))
  rows: dict[str, list] = {'stretch': [], 'evaluation': []}
  for number in range(ROUNDS):
    order = list(range(len(SHARES)))[:: 1 if number % 2 else -1]
    rows['stretch'].append(dict((i, timed(stretch, *groups[i], blocks)) for i in order))
    rows['evaluation'].append(dict((i, timed(evaluation, *groups[i])) for i in order))
  return {'blocks': blocks} | {name: summary(found) for name, found in rows.items()}


def evaluation(group: device_lanes.Lanes, on_device: Any) -> None:
  group.evaluate(on_device)()


def summary(rounds: list[dict[int, tuple[float, float]]]) -> dict[str, Any]:
  """Seconds of each share, and as parts of those with all lanes in the same round."""
  result = {}
  for place, clock in enumerate(('processor', 'wall')):
    seconds = {share: [row[i][place] for row in rounds] for i, share in enumerate(SHARES)}
    ratios = {
      share: [row[i][place] / row[0][place] for row in rounds] for i, share in enumerate(SHARES)
    }
    result[clock] = {
      str(share): {'seconds': spread(seconds[share]), 'of_all_live': spread(ratios[share])}
      for share in SHARES
    }
  return result


def spread(values: list[float]) -> dict[str, float]:
  return {
    'median': round(statistics.median(values), 4),
    'least': round(min(values), 4),
    'most': round(max(values), 4),
  }


def before_and_now(config: Any) -> dict[str, Any]:
  """Seconds of a tick of the program that asks which lanes are live, over those of one before."""
  asks, programs.jnp = programs.jnp, _unasked()
  before = made(config)
  stretch(*before, 1)  # which traces it
  programs.jnp = asks
  now = made(config)
  stretch(*now, 1)
  same = all(
    bool((a == b).all())
    for a, b in zip(*(jax.tree.leaves(g.to_host().params) for g, _ in (before, now)), strict=True)
  )
  blocks = max(1, round(0.2 * SECONDS / timed(stretch, *before, 4)[1] * 4))
  clocks: dict[str, list[tuple[float, float]]] = {'processor': [], 'wall': []}
  for number in range(PAIRS):
    first, second = (before, now) if number % 2 else (now, before)
    pair = {id(run): timed(stretch, *run, blocks) for run in (first, second)}
    for place, clock in enumerate(clocks):
      clocks[clock].append((pair[id(now)][place], pair[id(before)][place]))
  return {'pairs': PAIRS, 'bitwise_the_same': same} | {
    clock: spread([a / b for a, b in seconds])
    | {'least_over_least': round(min(a for a, _ in seconds) / min(b for _, b in seconds), 4)}
    for clock, seconds in clocks.items()
  }


def _unasked() -> Any:
  names = {name: getattr(jnp, name) for name in dir(jnp) if not name.startswith('_')}
  return SimpleNamespace(**names | {'where': lambda live, blocks, none: blocks})


def main(work: str, strategy: str) -> None:
  path = HERE / 'given_up.json'
  rows = json.loads(path.read_text()) if path.exists() else []
  config = config_of(work, strategy)
  row = {'work': work, 'strategy': strategy, 'lanes': 20, 'rounds': ROUNDS}
  row |= {'jax': jax.__version__, 'device': 'one CPU device of a machine of 2 busy cores'}
  row |= shares_out(config)
  if strategy.startswith('map'):
    row['now_over_before'] = before_and_now(config)
  rows = [other for other in rows if (other['work'], other['strategy']) != (work, strategy)]
  path.write_text(json.dumps([*rows, row], indent=2) + '\n')
  print(json.dumps(row, indent=1))


if __name__ == '__main__':
  main(*sys.argv[1:])
