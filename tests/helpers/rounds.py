"""A made-up study that trains the runs of rounds: the planning of the product, on real records."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.decide.looks import Look, Round, replay
from bsjax.analysis.decide.planning import Plan, next_round
from bsjax.plan import plan
from bsjax.plan.rounds import Box
from helpers.halved import halved
from helpers.world_files import Made, config_of, rows
from helpers.world_runs import simulate
from helpers.worlds import TRAIN_EXAMPLES, World

MOST_ROUNDS = 40


class Rounds(NamedTuple):
  """All that a study leaves when no further round is planned."""

  config: dict[str, Any]
  plan: list[dict[str, Any]]
  records: list[dict[str, Any]]
  looks: list[Look]
  last: Plan


def study(
  world: World,
  seed: int,
  trials: int = 3,
  begun: Mapping[int, int] = MappingProxyType({}),
  lost: Sequence[int] = (),
  rungs: tuple[float, ...] | None = None,
  **decide: Any,
) -> Rounds:
  """Trains round after round until none is planned; `decide` are keys of that section.

  `begun` are batch sizes with other numbers of trials at first; all runs of those `lost` diverge.
  With `rungs` the first round drops learning rates after these shares of training; all runs are
  then evaluated more often, also where there are no shares.
  """
  config = config_of(world, trials)
  config.evaluations = 2 if rungs is None else 8
  config.halving.rungs = rungs or ()
  config.decide.update({'question': 'best_batch_size'} | decide)
  planned = plan.make_plan(config, TRAIN_EXAMPLES)
  template = plan.lane_rows(planned)[0]
  examples = np.array(planned.first.evaluations)
  plain = json.loads(config.to_json())
  luck = np.random.default_rng((seed, 1)).normal(0, world.trial_sd / 100, 10_000)
  lanes: list[dict[str, Any]] = []
  records: list[dict[str, Any]] = []
  counts = dict.fromkeys(world.batch_sizes, trials) | dict(begun)
  boxes = [Box((size,), world.learning_rates, count) for size, count in counts.items()]
  whole = Box(world.batch_sizes, world.learning_rates, trials)
  rounds: list[Round] = [tuple(boxes) if begun else (whole,)]
  done = [(rounds[0], 'first', 10.0)]
  while True:
    new = missing(rounds[-1], lanes, template)
    # Effects of trials go through rounds, all else is drawn anew in each.
    runs = simulate(replace(world, trial_sd=0.0), new, examples, (seed, len(lanes)))
    by_lane = {lane['lane']: lane for lane in new}
    for row in rows(runs, new, examples):
      if row['examples']:
        row['val_accuracy'] += float(luck[by_lane[row['lane']]['trial']])
        row['diverged'] |= by_lane[row['lane']]['batch_size'] in lost
      records.append(row)
    if rungs and len(rounds) == 1:
      records = halved(Made(config, new, records, {}), rungs).rows
    lanes += new
    looks = replay(plain, rounds, lanes, records)
    last = next_round(plain, looks)
    if not last.boxes:
      plain['decide']['rounds'] = done
      return Rounds(plain | {'trials': looks[-1].trials}, lanes, records, looks, last)
    assert len(rounds) < MOST_ROUNDS, 'rounds without end'
    rounds.append(last.boxes)
    done.append((last.boxes, last.why, 10.0))


def missing(
  boxes: Sequence[Box], lanes: Sequence[dict[str, Any]], template: dict[str, Any]
) -> list[dict[str, Any]]:
  """Rows of plan.csv of the runs of these boxes that are not there."""
  there = {(row['batch_size'], row['learning_rate'], row['trial']) for row in lanes}
  new: list[dict[str, Any]] = []
  for box in boxes:
    for size, rate, trial in itertools.product(*box[:2], range(box.trials)):
      if (size, rate, trial) not in there:
        there.add((size, rate, trial))
        about = {'lane': len(lanes) + len(new), 'batch_size': size, 'learning_rate': rate}
        updates = template['examples'] // size
        new.append({**template, **about, 'trial': trial, 'updates': updates})
  return new
