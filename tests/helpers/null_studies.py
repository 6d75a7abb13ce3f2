"""Studies dealt from real runs of one batch size, between whose labels every difference is luck.

Each trial of each label is another real trial, drawn without replacement: unlike in a real study
the lanes of trial 1 of two batch sizes share neither initialization nor example order, so pairing
within trials gains nothing. Labels are batch sizes 8 to 256; updates are counted as they would be
at the label, so at equal updates larger ones have seen more examples and are better.
"""

from __future__ import annotations

import csv
import functools
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bsjax.config import base_config
from bsjax.plan import plan
from helpers.world_files import Made, facts, row
from helpers.worlds import BATCH_SIZES, EVALUATIONS, World

TABLE = Path(__file__).parents[2] / 'experiments/verdicts/null_digits.csv.gz'
MEASURED = ('train_loss', 'train_accuracy', 'val_loss', 'val_accuracy')
TRAIN_EXAMPLES, VALIDATION_EXAMPLES = 1438, 359
WORSE = (0.0, 0.0, 0.0, 0.5, 1.0, 1.5)
# What verdicts are held against: six equal labels, and six of which three are made worse.
REAL_NULL = World('real_null', curvature=0.0, b_crit=math.nan)
REAL_EFFECT = World('real_runs_effect', curvature=0.0, worse=WORSE, b_crit=math.nan)


class RealRuns(NamedTuple):
  """`values` are those of MEASURED, NaN where not finite."""

  learning_rates: tuple[float, ...]
  examples: Int[np.ndarray, ' evaluation']
  values: Float[np.ndarray, 'trial rate evaluation 4']
  diverged: np.ndarray  # [trial, rate, evaluation] bool


@functools.cache
def real_runs() -> RealRuns:
  """All of null_digits.csv.gz; `experiments/verdicts/null_digits.py` made it."""
  with gzip.open(TABLE, 'rt', newline='') as file:
    table = list(csv.DictReader(file))
  trials = sorted({int(line['trial']) for line in table})
  rates = sorted({float(line['learning_rate']) for line in table})
  examples = sorted({int(line['examples']) for line in table})
  values = np.full((len(trials), len(rates), len(examples), len(MEASURED)), np.nan)
  diverged = np.zeros(values.shape[:3], dtype=bool)
  for line in table:
    at = (
      trials.index(int(line['trial'])),
      rates.index(float(line['learning_rate'])),
      examples.index(int(line['examples'])),
    )
    values[at] = [float(line[key] or 'nan') for key in MEASURED]
    diverged[at] = bool(int(line['diverged']))
  return RealRuns(tuple(rates), np.array(examples), values, diverged)


def made(world: World, trials: int, seed: int | tuple[int, ...]) -> Made:
  """A study of so many trials per label.

  `world` is REAL_NULL, or REAL_EFFECT, where validation accuracies of labels are lowered.
  """
  runs = real_runs()
  config = base_config()
  config.batch_sizes, config.learning_rates = BATCH_SIZES, runs.learning_rates
  config.trials, config.evaluations = trials, EVALUATIONS
  config.epochs = float(runs.examples[-1]) / TRAIN_EXAMPLES
  config.model.normalization = 'none'
  config.noise_scale.online = False
  lanes = plan.lane_rows(plan.make_plan(config, TRAIN_EXAMPLES))
  drawn = np.random.default_rng(seed).permutation(len(runs.values))[: len(BATCH_SIZES) * trials]
  dealt = dict(zip(BATCH_SIZES, drawn.reshape(len(BATCH_SIZES), trials).tolist(), strict=True))
  return Made(config, lanes, list(_rows(world, lanes, dealt)), facts(VALIDATION_EXAMPLES))


def _rows(
  world: World, lanes: Sequence[Mapping[str, Any]], dealt: Mapping[int, Sequence[int]]
) -> Iterator[dict[str, Any]]:
  runs, best = real_runs(), max(map(world.best_accuracy, BATCH_SIZES))
  for at, examples in enumerate(runs.examples.tolist()):
    for lane in lanes:
      trial = dealt[lane['batch_size']][lane['trial']]
      rate = runs.learning_rates.index(lane['learning_rate'])
      train_loss, train, val_loss, val = runs.values[trial, rate, at].tolist()
      lowered = (best - world.best_accuracy(lane['batch_size'])) / 100 if at else 0.0
      measured = {'train': (train_loss, train), 'val': (val_loss, max(val - lowered, 0.0))}
      measured = {
        name: tuple(None if value != value else value for value in pair)
        for name, pair in measured.items()
      }
      failed = bool(runs.diverged[trial, rate, at])
      yield row(lane, examples, examples / TRAIN_EXAMPLES, measured, failed)
