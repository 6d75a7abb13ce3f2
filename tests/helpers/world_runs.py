"""The runs of a made-up world: accuracies and losses of all lanes at all evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from helpers.worlds import APPROACH, CHANCE, VALIDATION_EXAMPLES, World, risen

T2_QUARTILE = 0.8165  # of Student's t with 2 degrees of freedom
NORMAL_QUARTILE = 0.6745
START_LOSS = 2.3
HALVED_AFTER = 10.0  # of the units in which `_loss_curves` counts updates
PERFECT = 200.0  # examples per such unit where B_crit is infinite
TRIAL_LOG_UPDATES, LANE_LOG_UPDATES = 0.1, 0.1  # standard deviations of log updates to a target
EVALUATION_LOG_LOSS = 0.01  # and of the log loss at an evaluation

LaneArray = Float[np.ndarray, ' lane']
Positions = Float[np.ndarray, ' evaluation']
Curves = Float[np.ndarray, 'lane evaluation']
Lanes = Sequence[Mapping[str, Any]]  # rows of plan.csv


class Runs(NamedTuple):
  """What is recorded of all lanes, accuracies as fractions; NaN losses where a lane diverged.

  `seen` is false where a lane has not come.
  """

  val: Curves
  train: Curves
  reestimated: tuple[Curves, Curves] | None  # of validation and training data
  loss: Curves
  diverged: Bool[np.ndarray, 'lane evaluation']
  seen: Bool[np.ndarray, 'lane evaluation']


def simulate(world: World, lanes: Lanes, examples: Positions, seed: int | tuple[int, ...]) -> Runs:
  """Draws what is recorded of the lanes of a plan at positions from 0 to the end."""
  random = np.random.default_rng(seed)
  world = world.placed(random)
  sizes = np.array([lane['batch_size'] for lane in lanes])
  progress = examples / examples[-1]
  noise = _lane_noise(world, lanes, random)
  val = _accuracy_curves(world, lanes, examples, noise)
  lag = world.stale * np.log2(sizes / sizes.min())[:, None] * (progress > 0)
  train = np.minimum(val + 2.0 * progress + 0.3 * noise[:, None] * progress, 100.0)
  measured = [_evaluated(world, curve, progress, random) for curve in (val - lag, val, train)]
  accuracy, again, training = measured
  stale_train = np.clip(training - lag / 100, 0.0, 1.0)
  loss = _loss_curves(world, lanes, examples, random)
  diverged = _diverged(world, lanes, progress, random)
  seen = np.ones_like(diverged)
  late = random.permutation(len(lanes))[: world.unfinished]
  seen[np.ix_(late, progress > 0.5)] = False
  accuracy, again, training, stale_train = (
    np.where(diverged, CHANCE / 100, curve) for curve in (accuracy, again, training, stale_train)
  )
  loss = np.where(diverged, np.nan, loss)
  fresh = (again, training) if world.stale else None
  return Runs(accuracy, stale_train if world.stale else training, fresh, loss, diverged, seen)


def _lane_noise(world: World, lanes: Lanes, random: Any) -> LaneArray:
  """What lanes end above their expected accuracy, in points."""
  trials = {row['trial'] for row in lanes}
  of_trial = dict(zip(sorted(trials), random.normal(0, world.trial_sd, len(trials)), strict=True))
  places = sorted({(row['trial'], row['batch_size']) for row in lanes})
  of_place = dict(zip(places, random.normal(0, 1, len(places)), strict=True))
  if world.heavy_tails:
    own = random.standard_t(2, len(lanes)) * NORMAL_QUARTILE / T2_QUARTILE
  else:
    own = random.normal(0, 1, len(lanes))
  shared = np.array([of_place[row['trial'], row['batch_size']] for row in lanes])
  own = math.sqrt(1 - world.within_size) * own + math.sqrt(world.within_size) * shared
  own -= 5.0 * (random.random(len(lanes)) < world.outliers)
  spread = world.lane_sd * np.array([world.noisier.get(row['batch_size'], 1.0) for row in lanes])
  return np.array([of_trial[row['trial']] for row in lanes]) + spread * own


def _accuracy_curves(world: World, lanes: Lanes, examples: Positions, noise: LaneArray) -> Curves:
  """In points, without the errors of evaluations."""
  known: dict[tuple[int, float], float] = {}
  for row in lanes:
    place = row['batch_size'], row['learning_rate']
    if place not in known:
      known[place] = max(world.accuracy(*place), CHANCE)
  final = np.array([known[row['batch_size'], row['learning_rate']] for row in lanes]) + noise
  sizes = np.array([row['batch_size'] for row in lanes])
  if not world.updates_cost:
    ends = final[:, None] + _not_yet(world, lanes, examples / examples[-1])
    return CHANCE + (ends - CHANCE) * risen(examples / examples[-1])
  updates = np.maximum(examples / sizes[:, None], 1e-9)
  fewest = examples[-1] / max(world.batch_sizes)
  lacks = world.updates_cost * (fewest / updates) ** APPROACH
  ends = np.array([world.lacking(examples[-1] / size, examples[-1]) for size in sizes])
  return np.where(examples > 0, np.maximum((final + ends)[:, None] - lacks, CHANCE), CHANCE)


def _not_yet(world: World, lanes: Lanes, progress: Positions) -> Curves | float:
  """What lanes are better, or worse, at first for their rate than they are in the end."""
  if not world.crossing:
    return 0.0
  places = [(row['batch_size'], row['learning_rate']) for row in lanes]
  known = {
    place: [max(world.accuracy(*place, at), CHANCE) for at in progress.tolist()]
    for place in {*places}
  }
  curves = np.array([known[place] for place in places])
  return curves - curves[:, -1:]


def _evaluated(world: World, points: Curves, progress: Positions, random: Any) -> Curves:
  """What whole splits say: with the errors of evaluations, in whole examples, as fractions."""
  errors = random.normal(0, world.evaluation_sd, points.shape) * (progress > 0)
  fractions = np.clip((points + errors) / 100, 0.0, 1.0)
  return np.round(fractions * VALIDATION_EXAMPLES) / VALIDATION_EXAMPLES


def _loss_curves(world: World, lanes: Lanes, examples: Positions, random: Any) -> Curves:
  """Training losses that fall as one over the updates, in units of those to a given target."""
  trials = sorted({row['trial'] for row in lanes})
  of_trial = dict(zip(trials, random.normal(0, TRIAL_LOG_UPDATES, len(trials)), strict=True))
  log_speed = random.normal(0, LANE_LOG_UPDATES, len(lanes))
  for i, row in enumerate(lanes):
    distance = math.log(row['learning_rate'] / world.best_rate(row['batch_size']))
    log_speed[i] += of_trial[row['trial']] - world.slowness * distance**2
  sizes = np.array([row['batch_size'] for row in lanes], dtype=np.float64)
  # Updates in units of S_min (1 + B_crit / B); without a B_crit they scale as 1 / B.
  per_target = 1 + world.b_crit / sizes if math.isfinite(world.b_crit) else PERFECT / sizes
  made = examples / (sizes * per_target)[:, None] * np.exp(log_speed)[:, None]
  errors = random.normal(0, EVALUATION_LOG_LOSS, made.shape) * (examples > 0)
  return START_LOSS / (1 + made / HALVED_AFTER) * np.exp(errors)


def _diverged(
  world: World, lanes: Lanes, progress: Positions, random: Any
) -> Bool[np.ndarray, 'lane evaluation']:
  """Lanes stay diverged from one third of training on."""
  lost = np.zeros(len(lanes), dtype=bool)
  for trial in {row['trial'] for row in lanes} if world.diverged_per_trial else ():
    of_trial = [i for i, row in enumerate(lanes) if row['trial'] == trial]
    lost[random.choice(of_trial, world.diverged_per_trial, replace=False)] = True
  rates = np.array([row['learning_rate'] for row in lanes])
  lost |= (rates > world.unstable_above) & (random.random(len(lanes)) < world.unstable_share)
  if world.valley == 'cliff':
    lost |= [world.beyond_cliff(row['batch_size'], row['learning_rate']) for row in lanes]
  return lost[:, None] & (progress > 1 / 3)
