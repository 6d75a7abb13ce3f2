"""Made-up studies that ask for the critical batch size, by rounds of the product on planted curves.

A run's loss depends on its examples over its slowness alone, so that B_crit is the same at every
target: the hyperbola, times what its learning rate costs, times luck of trial and lane, which is
drawn anew for every run by its own seed.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.decide.looks import Look, _look, spending
from bsjax.analysis.decide.planning import Plan, next_round
from bsjax.analysis.measures import critical_batch_size
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.config.decide_keys import CRITICAL, asked
from bsjax.plan.rounds import Box
from helpers import training_times
from helpers.training_times import ENDED_WELL

BUDGET, EVALUATIONS, MOST_ROUNDS = 131_072, 32, 60


class World(NamedTuple):
  """What is true, as in `training_times.settings`, and the grid of the first round."""

  name: str
  sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
  rates: tuple[float, ...] = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
  b_crit: float = 200.0
  valley: Callable = training_times.quadratic
  between_sd: float = 0.0
  knee: float = 1.0
  lane_sd: float = 0.1
  trial_sd: float = 0.1


class Rounds(NamedTuple):
  """All that a study leaves when no further round is planned."""

  looks: list[Look]
  last: Plan
  runs: int
  config: dict[str, Any]
  plan: list[dict[str, Any]]
  records: list[dict[str, Any]]


def study(
  world: World, seed: int, trials: int = 3, most: int = 30, margin: float = 0.0, error: float = 0.05
) -> Rounds:
  """Rounds until none is planned."""
  decide = {'question': CRITICAL, 'margin': margin, 'error': error, 'most_trials': most}
  config = {'decide': decide, 'trials': trials}
  question = asked(decide)
  boxes, found = (Box(world.sizes, world.rates, trials),), []
  done = [(boxes, 'first', None)]
  lanes: dict[tuple, dict[str, Any]] = {}
  histories: dict[tuple, LaneHistory] = {}
  records: list[dict[str, Any]] = []
  shift = np.random.default_rng((seed, 1)).uniform(-0.5, 0.5) * math.log(2)
  while True:
    new = []
    for size, rate, trial in (key for box in boxes for key in keys(box)):
      if (size, rate, trial) not in lanes:
        lane = _lane(len(lanes), size, rate, trial)
        rows = _rows(world, lane, shift, seed)
        lanes[size, rate, trial] = lane
        histories[size, rate, trial] = LaneHistory(lane, tuple(rows))
        new.append(lane)
        records += rows
    tried = _settings(histories)
    cost = sum(lane['examples'] for lane in new)
    found.append(_look(question, tried, new, cost, found, spending(config)))
    last = next_round(config, found)
    if not last.boxes:
      config['decide'] |= {'rounds': done, 'budget': 0.0}
      return Rounds(found, last, len(lanes), config, [*lanes.values()], records)
    assert len(found) < MOST_ROUNDS, 'rounds without end'
    boxes = last.boxes
    done.append((boxes, last.why, None))


def quicken(put: Callable[..., None] = setattr) -> None:
  """Leaves out the fit without the largest batch size, on which no decision rests.

  `put` sets an attribute of a module.
  """
  put(critical_batch_size, '_without_largest', lambda *_: {})


def _settings(histories: Mapping[tuple, LaneHistory]) -> dict[int, list[Setting]]:
  """As `histories.settings` makes them, of runs that are read once."""
  by_size: dict[int, list[Setting]] = {}
  in_order = sorted(histories)
  for (size, rate), members in itertools.groupby(in_order, key=operator.itemgetter(0, 1)):
    runs = tuple(histories[key] for key in members)
    by_size.setdefault(size, []).append(Setting(size, rate, runs))
  return by_size


def keys(box: Box) -> Sequence[tuple[int, float, int]]:
  """Batch size, learning rate and trial of each run of a box."""
  return list(itertools.product(*box[:2], range(box.trials)))


def _lane(number: int, size: int, rate: float, trial: int) -> dict[str, Any]:
  return {
    **{'lane': number, 'group': 0, 'batch_size': size, 'learning_rate': rate, 'trial': trial},
    **{'branch': '', 'micro_batch': 8, 'accumulation': size // 8, 'updates': BUDGET // size},
    **{'examples': BUDGET, 'epochs': 16.0},
  }


def _rows(world: World, lane: dict[str, Any], shift: float, seed: int) -> list[dict[str, Any]]:
  """The records of a run."""
  size, rate, trial = lane['batch_size'], lane['learning_rate'], lane['trial']
  of_trial = np.random.default_rng((seed, 2, trial)).normal(size=2)
  own = np.random.default_rng((seed, 3, size, round(1e6 * rate), trial)).normal()
  log_b_crit = math.log(world.b_crit) + world.between_sd * of_trial[0]
  optimum = math.log(0.6) + shift - math.log1p(training_times.B_RATE / size)
  slow = np.logaddexp(0, world.knee * (math.log(size) - log_b_crit)) / world.knee
  slow += float(world.valley(np.array(math.log(rate) - optimum)))
  slow += world.lane_sd * own + world.trial_sd * of_trial[1]
  examples = np.arange(EVALUATIONS + 1) * (BUDGET // EVALUATIONS)
  with np.errstate(over='ignore'):
    losses = 2 / (1 + 60 * examples / BUDGET / np.exp(slow))
  diverged = not math.isfinite(slow)
  return [
    {
      **{'lane': lane['lane'], 'examples': int(seen), 'epoch': seen / 8192, 'diverged': diverged},
      **ENDED_WELL,
      'train_loss': float(loss),
    }
    for seen, loss in zip(examples, losses, strict=True)
  ]
