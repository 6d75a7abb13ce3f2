"""Made-up studies of every kind, each drawn from a seed; `kept_drawn.py` keeps what they say.

What is drawn is the world with its truth, the grid, keys of the config, columns of the records, and
what is missing in them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from bsjax.config.decide_keys import CRITICAL, EQUIVALENT, FACTORS
from bsjax.config.decide_keys import KINDS as QUESTIONS
from bsjax.config.errors import ConfigError
from bsjax.plan import plan as plans
from bsjax.plan import stages
from bsjax.plan.lanes import StudyPlan
from helpers import (
  drawn_columns,
  drawn_keys,
  drawn_spoils,
  planted_scaling,
  rounds,
  synthetic,
  world_files,
)
from helpers.draw import Draw
from helpers.halved import halved
from helpers.kept_records import Rows, Study
from helpers.world_runs import simulate
from helpers.worlds import TRAIN_EXAMPLES, World

FEW = ((8, 32), (4, 8, 16), (6, 24, 96), (5, 10, 40), (16, 64, 128), (8, 16, 64, 128))
MANY = ((4, 8, 16, 32), (3, 6, 12, 48, 96), (8, 16, 32, 64, 128, 256), (16, 32, 64, 128, 512))
RATES = ((0.1,), (0.03, 0.1), (0.05, 0.1, 0.2), (0.03, 0.1, 0.3), (0.01, 0.03, 0.1, 0.3))
RATES += ((0.01, 0.03, 0.1, 0.3, 1.0), (0.02, 0.04, 0.08, 0.16, 0.32))

LANES = 60  # of a grid at most, or two trials of it


def drawn(seed: int) -> Study:
  """The study of a seed, whose kind goes around with it."""
  for again in range(20):
    draw = Draw((seed, again))
    try:
      return KINDS[seed % len(KINDS)](draw)
    except ConfigError:  # of a plan that cannot be: draw another one
      continue
  raise ValueError(f'seed {seed} gives no study')


def world(draw: Draw, sizes: Sequence[int], rates: Sequence[float]) -> World:
  """What is true: a draw of nearly everything that a world has."""
  b_crit = draw.one(0.0, 30.0, 200.0, 200.0, 2000.0, math.inf)
  powers = (0.0, 0.0, 0.5, 1.0) + (() if math.isinf(b_crit) else (None,))
  worse = draw.random.uniform(0, draw.one(0.0, 0.5, 1.5, 4.0), len(sizes))
  return World(
    'drawn',
    batch_sizes=tuple(sizes),
    learning_rates=tuple(rates),
    worse=tuple(np.round(np.sort(worse) if draw.chance(0.6) else worse, 2).tolist()),
    top=draw.one(95.0, 95.0, 80.0, 99.9, 30.0),
    crossing=draw.one(0.0, 0.0, 0.0, 1.0),
    optimum=draw.one(*rates, math.sqrt(rates[0] * rates[-1]), rates[0] / 3, rates[-1] * 3),
    optimum_power=draw.one(*powers),
    valley=draw.one('parabola', 'parabola', 'parabola', 'kink', 'cliff'),
    curvature=draw.one(0.05, 0.2, 1.0, 3.0),
    updates_cost=draw.one(0.0, 0.0, 0.0, 2.0),
    stale=draw.one(0.0, 0.0, 0.3),
    b_crit=b_crit,
    slowness=draw.one(0.2, 1.0),
    trial_sd=draw.one(0.0, 0.1, 0.3, 1.0),
    lane_sd=draw.one(0.02, 0.1, 0.3, 1.0),
    evaluation_sd=draw.one(0.0, 0.07, 0.3),
    noisier={sizes[-1]: draw.one(1.0, 1.0, 4.0)},
    within_size=draw.one(0.0, 0.0, 0.5),
    heavy_tails=draw.chance(0.15),
    outliers=draw.one(0.0, 0.0, 0.1),
    diverged_per_trial=draw.one(0, 0, 0, 1),
    unstable_above=draw.one(math.inf, math.inf, math.inf, 0.9 * rates[-1]),
    unstable_share=0.5,
    unfinished=draw.one(0, 0, 0, 0, 0, 2),
  )


def grid(
  draw: Draw,
  sizes: Sequence[int],
  rates: Sequence[float],
  changed: Callable[[ConfigDict], None] = lambda config: None,
  **truth: Any,
) -> tuple[ConfigDict, StudyPlan, Rows, Rows]:
  """Config, plan and rows of a study of a world."""
  true = world(draw, sizes, rates)
  true = World(**{**vars(true), **truth})
  config = world_files.config_of(true, draw.one(2, 3, 3, 4, 4, 5, 8))
  config.trials = max(2, min(config.trials, LANES // (len(sizes) * len(rates))))
  config.trials = draw.one(1, *[config.trials] * 7)
  config.epochs, config.evaluations = draw.one(4.0, 10.0), draw.one(3, 5, 8, 12)
  config.update_from_flattened_dict(drawn_keys.keys(draw, sizes))
  changed(config)
  planned = plans.make_plan(config, TRAIN_EXAMPLES)
  lanes = plans.lane_rows(planned)
  marks = {mark for part in planned.stages for mark in part.evaluations}
  further = {mark for part in planned.stages for mark in part.further}
  examples = np.array(sorted(marks | further))
  runs = simulate(true, lanes, examples, int(draw.random.integers(10**6)))
  rows = list(world_files.rows(runs, lanes, examples))
  drawn_columns.clocks(config, planned, rows)
  _branches_apart(draw, lanes, rows)
  if subset := config.evaluation.subset:
    of_subset = [row | {'train_examples': subset, 'val_examples': subset} for row in rows]
    rows = [row for row in rows if row['examples'] in marks] + of_subset
  return config, planned, lanes, rows


def _branches_apart(draw: Draw, lanes: Rows, rows: Rows) -> None:
  names = list(dict.fromkeys(lane['branch'] for lane in lanes))
  step, wiggle = draw.one(0.0, 0.004, -0.02), draw.one(0.0, 0.002)
  for row in rows:
    lane = lanes[row['lane']]
    better = names.index(lane['branch']) * (step + wiggle * lane['trial'])
    for key in ('val_accuracy', 'reestimated_val_accuracy'):
      if key in row and row['examples'] and not row['diverged']:
        row[key] = min(1.0, max(0.0, row[key] + better))


def _study(draw: Draw, made: tuple[Any, ...], unequal: bool = False, **beside: Any) -> Study:
  """The files of a grid, with further columns, and something missing."""
  config, _, lanes, rows = made
  plain = json.loads(config.to_json())
  drawn_columns.noise(draw, lanes, rows)
  facts = drawn_columns.classes(draw, rows, unequal) if draw.chance(0.9) else None
  lanes, rows = drawn_spoils.spoiled(draw, lanes, rows)
  sizes = sorted({lane['batch_size'] for lane in lanes})
  if draw.chance(0.4):
    beside['cost'] = drawn_keys.cost(draw, sizes, plain['stages']['order'] or [''])
  if draw.chance(0.3) and len(sizes) > 1:
    total = lanes[0]['examples']
    beside['sharpness'] = synthetic.sharpness(sizes[:2], lanes[0]['learning_rate'], total)
  return Study(plain | drawn_keys.lent(draw), lanes, rows, facts, **beside)


def plain(draw: Draw) -> Study:
  sizes, rates = draw.one(*FEW, *MANY), draw.one(*RATES)
  return _study(draw, grid(draw, sizes, rates))


def critical(draw: Draw) -> Study:
  """Where losses tell the critical batch size."""
  truth = {'b_crit': draw.one(20.0, 100.0, 500.0), 'slowness': 1.0, 'optimum_power': None}
  truth |= {'optimum': 0.05, 'valley': 'parabola', 'unstable_above': draw.one(math.inf, 0.2)}
  return _study(draw, grid(draw, draw.one(*MANY), draw.one(*RATES[3:]), **truth))


def unequal(draw: Draw) -> Study:
  return _study(draw, grid(draw, draw.one(*FEW), draw.one(*RATES[:4])), unequal=True)


def branches(draw: Draw) -> Study:
  """Of several values of a hyperparameter, or several rules of it."""

  def changed(config: ConfigDict) -> None:
    axes, rules = drawn_keys.axes(draw, config.optimizer.name)
    config.axes.update(axes)
    config.scaling.hyperparameters = rules
    config.evaluations, config.trials = min(config.evaluations, 8), min(config.trials, 3)

  return _study(draw, grid(draw, draw.one(*FEW), draw.one(*RATES[:3]), changed))


def staged(draw: Draw) -> Study:
  """Two or three stages, the later of which may have branches."""

  def changed(config: ConfigDict) -> None:
    for index in range(draw.one(2, 2, 3)):
      stages.add(config, drawn_keys.STAGE_NAMES[index], **drawn_keys.stage(draw, index))
    config.report.epochs = draw.one((), (1.0,), (1.5, 3.0), (100.0,))
    config.evaluations, config.evaluation.subset, config.evaluation.at = draw.one(6, 9), 0, ()

  return _study(
    draw, grid(draw, draw.one((8, 32), (4, 8, 16), (8, 24)), draw.one(*RATES[:2]), changed)
  )


def dropping(draw: Draw) -> Study:
  """With learning rates that are dropped within training."""
  config, planned, lanes, rows = grid(draw, draw.one(*FEW), draw.one(*RATES[4:]), unfinished=0)
  config.scaling.rule, config.evaluation.subset = 'none', 0
  rows = [row for row in rows if 'val_examples' not in row]
  made = world_files.Made(config, lanes, rows, {})
  shares = draw.one((0.25,), (0.25, 0.5), (0.5,))
  made = halved(made, shares, draw.one(0.3, 0.5))
  return _study(draw, (made.config, planned, lanes, made.rows))


def judged(draw: Draw) -> Study:
  """By another metric than accuracy."""
  study = _study(draw, grid(draw, draw.one(*FEW), draw.one(*RATES), stale=0.0))
  return drawn_columns.of_metric(draw, study)


def rules(draw: Draw) -> Study:
  """Scaling rules that are compared, one of which may be the true one."""
  sizes = draw.one((32, 64, 128), (16, 32, 128), (32, 64, 96, 256), (8, 32))
  names = draw.one('none,sqrt,linear', 'none,linear', 'linear,sqrt')
  rates = draw.one((0.2,), (0.1, 0.2, 0.4), (0.05, 0.2, 0.8))
  base, trials = draw.one(32, 32, sizes[-1], 64), draw.one(1, 2, 3, 5)
  config = planted_scaling.config(rates, names, base, draw.one('group', 'batch'))
  lanes = planted_scaling.plan(config, sizes, trials)
  limit = draw.one(math.inf, math.inf, 0.7)
  rows = planted_scaling.records(
    lanes,
    draw.one(0.0, 0.5, 1.0, 0.8),
    seed=int(draw.random.integers(10**6)),
    seeds=draw.one(0.0, 0.05),
    own=draw.one(0.01, 0.05),
    cost=draw.one(0.0, 0.02),
    evaluations=draw.one(4, 6),
    diverges=lambda lane: lane['learning_rate'] > limit,
  )
  if config['model']['normalization'] == 'batch':
    drawn_columns.reestimated(draw, lanes, rows)
  lanes, rows = drawn_spoils.spoiled(draw, lanes, rows)
  return Study(config, lanes, rows)


def decided(draw: Draw, kind: str) -> Study:
  """Rounds until a question is decided, or no more can be asked."""
  sizes = draw.one((16, 32, 64), (8, 16, 64), (8, 16, 64, 128), (16, 32, 64, 128, 256))
  rates, factor = draw.one(*RATES[1:6]), kind in FACTORS
  question = f'{kind}:{sizes[0]},{sizes[draw.one(1, -1)]}' if kind == EQUIVALENT else kind
  asks: dict[str, Any] = {'question': question, 'error': draw.one(0.05, 0.05, 0.2)}
  asks |= {'margin': draw.one(0.0, 3.0, 8.0) if factor else draw.one(0.0, 0.002, 0.01)}
  asks |= {'most_trials': draw.one(4, 5, 8, 12)}
  asks |= draw.one({}, {}, {}, {'budget': 5e6}, {'budget': 0.4, 'budget_unit': 'minutes'})
  asks |= draw.one({}, {}, {}, {'lost': (sizes[0],)}, {'begun': {sizes[-1]: 2}})
  # Critical batch sizes are read off whole curves, for which there are more evaluations.
  asks |= {'rungs': draw.one((), (), (0.5,)) if kind == CRITICAL else draw.one(None, None, ())}
  true = world(draw, sizes, rates)
  calm = {'unfinished': 0, 'stale': 0.0, 'diverged_per_trial': 0, 'valley': 'parabola'}
  calm |= {'lane_sd': draw.one(0.05, 0.3), 'optimum': draw.one(*rates), 'outliers': 0.0}
  calm |= {'optimum_power': draw.one(0.0, 0.3), 'curvature': draw.one(0.2, 1.0)}
  if kind == CRITICAL:
    calm |= {'b_crit': draw.one(20.0, 60.0, 500.0), 'slowness': 1.0}
  true = World(**{**vars(true), **calm})
  found = rounds.study(true, int(draw.random.integers(1000)), draw.one(2, 3, 3), **asks)
  return Study(found.config, found.plan, found.records, world_files.facts(5000))


KINDS: tuple[Callable[[Draw], Study], ...]
KINDS = plain, critical, branches, staged, judged, rules, dropping, unequal
KINDS += tuple(functools.partial(decided, kind=kind) for kind in QUESTIONS)
