"""Made-up tables with a planted cause, and whether an audit names it."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pandas as pd

from bsjax.plan import plan
from helpers import world_files
from helpers.world_catalogue import WORLDS
from helpers.world_runs import simulate
from helpers.worlds import CHANCE, TRAIN_EXAMPLES, World

COLUMNS = ['batch_size', 'learning_rate', 'trial', 'epoch', 'updates']
MEASURED = ['train_accuracy', 'val_accuracy', 'reestimated_val_accuracy']
MOMENTUM = 0.99
STALE = 20.0  # points of accuracy for statistics that are wholly the first ones
SLOWER = 64  # a batch of so many examples takes twice as many of them to get as far
SPEED = 12.0


class Planted(NamedTuple):
  """A world, the confounds any of which is its cause ('' for a real effect), and what is said."""

  world: World
  causes: tuple[str, ...]
  said: dict


PLANTED = {
  'real_effect': Planted(WORLDS['real_effect'], (), {'batch_norm': 'none'}),
  'only_updates': Planted(WORLDS['only_updates'], ('unequal_updates',), {'batch_norm': 'none'}),
  'only_stale': Planted(WORLDS['no_effect'], ('stale_batch_norm',), {'batch_norm': MOMENTUM}),
  'only_stale_reestimated': Planted(WORLDS['stale_batch_norm'], ('stale_batch_norm',), {}),
  'only_untuned': Planted(
    WORLDS['untuned'],
    ('learning_rate_not_tuned', 'optimum_at_grid_edge'),
    {'batch_norm': 'none'},
  ),
  'only_undertrained': Planted(WORLDS['no_effect'], ('undertrained',), {'batch_norm': 'none'}),
  'nothing': Planted(WORLDS['no_effect'], (), {'batch_norm': 'none'}),
}


@functools.cache
def _plan(world: str, trials: int):
  config = world_files.config_of(WORLDS[world], trials)
  planned = plan.make_plan(config, TRAIN_EXAMPLES)
  return plan.lane_rows(planned), np.array(planned.first.evaluations)


def of_world(world: World, trials: int, seed: tuple[int, ...]) -> pd.DataFrame:
  """The rows of a made-up study of any world, as a stranger's CSV has them."""
  return _as_written(_simulated(world, trials, seed)[0])


def _simulated(world: World, trials: int, seed: tuple[int, ...]) -> tuple[pd.DataFrame, np.ndarray]:
  lanes, examples = _plan(world.name, trials)
  runs = simulate(world, lanes, examples, seed)
  frame = pd.DataFrame(list(world_files.rows(runs, lanes, examples)))
  frame['trial'] = frame['lane'].map({lane['lane']: lane['trial'] for lane in lanes})
  return frame, examples


def _as_written(frame: pd.DataFrame) -> pd.DataFrame:
  return frame[[*COLUMNS, *(name for name in MEASURED if name in frame)]].clip(lower=0.0)


def table(name: str, trials: int, seed: tuple[int, ...]) -> pd.DataFrame:
  """The same of a planted one, with its cause added to what the world has."""
  frame, examples = _simulated(PLANTED[name].world, trials, seed)
  if name == 'only_stale':
    frame['val_accuracy'] -= STALE / 100 * MOMENTUM ** frame['updates'] * (frame['epoch'] > 0)
  if name == 'only_undertrained':
    done = frame['examples'] / examples[-1] / (1 + frame['batch_size'] / SLOWER)
    for column in ('val_accuracy', 'train_accuracy'):
      left = np.exp(-SPEED * done) * (frame['epoch'] > 0)
      frame[column] -= (frame[column] - CHANCE / 100) * left
  return _as_written(frame)


def judged(name: str, answer: dict) -> dict[str, bool]:
  """Whether the right cause is named, and whether an effect is claimed that is not there."""
  world, causes, _ = PLANTED[name]
  best = world.truth().best
  shown = [(answer['best'], other) for other in answer['beaten']]
  claimed = bool(shown) or bool(answer['better'])
  if name == 'real_effect':
    true = all(best[one] > best[other] for one, other in shown) and answer['better'] != 'larger'
    return {'named': answer['code'] == 'stands' and true, 'false': claimed and not true}
  named = bool(set(causes) & {*answer['causes'], *answer['open']})
  if name == 'nothing':
    return {'named': not claimed, 'false': claimed}
  return {'named': named, 'false': claimed and not named}
