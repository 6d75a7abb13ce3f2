"""Studies of numbers alone, decided by the product's own claims: no records, no training.

A batch size has a best accuracy, a parabola of learning rates, lanes that scatter around it and
effects of trials; its best rates are chosen from the means over trials, as in a real study. One
study of 30 trials takes about a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bsjax.analysis.claims import claim as claim_room
from bsjax.analysis.decide.claims import claims
from bsjax.analysis.decide.looks import Look, decided, shown
from bsjax.analysis.decide.rates import Rates
from bsjax.analysis.runs.histories import Setting
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.decide_keys import BEST, EQUIVALENT, Asked
from bsjax.stats import joint, valley
from bsjax.stats.looks import ladder, spending

MARGIN = 0.005  # half a point of accuracy
NEAR = 4 * MARGIN
QUARTILES = 0.6745 / 0.8165  # of a normal distribution over that of Student's t2
DRAWS = 3_000  # of a family, not the 10,000 of the product: levels scatter more, on no side


def quicken(put: Callable[..., None] = setattr) -> None:
  """Leaves out what no verdict rests on: how many trials would be enough, and large p-values.

  Of the draws of a family only those with some |t| above 2 are near the levels that are asked for.
  `put` sets an attribute of a module.
  """
  exact = joint.stdtr

  def tail(df: np.ndarray, t: np.ndarray) -> np.ndarray:
    p = np.full(t.shape, 0.5)
    far = t < -2
    p[far] = exact(np.broadcast_to(df, t.shape)[far], t[far])
    return p

  put(joint, 'stdtr', tail)
  put(joint, 'DRAWS', DRAWS)
  put(claim_room, 'trials_needed', lambda *_: None)


class World(NamedTuple):
  """What is true, in points; `worse` of each batch size, `noisier` is a factor of its lanes.

  `tails` is 'normal', 't2', 'outliers' (a tenth of the runs is 5 standard deviations lower) or
  'outliers in one', the first batch size.
  """

  name: str
  worse: tuple[float, ...]
  lane_sd: float = 0.3
  trial_sd: float = 0.3
  tails: str = 'normal'
  noisier: tuple[float, ...] = ()
  rates: int = 5
  spacing: float = 2.0  # from one learning rate to the next
  curvature: float = 0.5  # points per squared natural log of the rate

  @property
  def sizes(self) -> tuple[int, ...]:
    return tuple(16 * 2**i for i in range(len(self.worse)))


def lanes(world: World, trials: int, random: np.random.Generator) -> np.ndarray:
  """Final accuracies of all runs, [batch size, rate, trial]."""
  shape = len(world.worse), world.rates, trials
  own = random.standard_normal(shape)
  if world.tails == 't2':
    own = random.standard_t(2, shape) * QUARTILES
  elif world.tails.startswith('outliers'):
    share = np.full(shape[0], 0.1)
    share[1:] *= world.tails != 'outliers in one'
    # Less their mean, so that accuracies are what is planted.
    own -= 5.0 * ((random.random(shape) < share[:, None, None]) - share[:, None, None])
  own *= world.lane_sd * np.array(world.noisier or np.ones(shape[0]))[:, None, None]
  where = np.log(world.spacing) * (np.arange(world.rates) - (world.rates - 1) / 2)
  off = random.uniform(-0.5, 0.5, shape[0]) * np.log(world.spacing) * (world.rates > 1)
  lost = world.curvature * np.square(where - off[:, None])
  expected = 90.0 - np.array(world.worse)[:, None] - lost
  return (expected[:, :, None] + world.trial_sd * random.standard_normal(trials) + own) / 100


def read(world: World, runs: np.ndarray) -> tuple[dict, dict, dict]:
  """What the analysis makes of runs of some trials: tried, chosen, read."""
  rates = world.spacing ** (np.arange(world.rates) - 3.0)
  tried, chosen, readings = {}, {}, {}
  for size, of_size in zip(world.sizes, runs, strict=True):
    means = of_size.mean(axis=1)
    top = valley.top(np.log(rates), means, int(means.argmax()), NEAR)
    values, part = top.weights @ of_size[list(top.window)], of_size[list(top.window)]
    nearest = float(rates[min(top.window, key=lambda i: abs(np.log(rates[i]) - top.at))])
    tried[size] = [Setting(size, float(rate), ()) for rate in rates]
    chosen[size] = Tuned(size, nearest, (), best_rate=float(np.exp(top.at)))
    columns = {'val_accuracy': values, 'updates': np.full(len(values), 4096.0 / size)}
    given = {'val_accuracy': part, 'updates': np.full(part.shape, 4096.0 / size)}
    trials = tuple(range(len(values)))
    readings[size] = Reading(trials, columns, columns, columns, None, given, top.weights)
  return tried, chosen, readings


class Outcome(NamedTuple):
  """How a study ended: decided or not, with a false statement at some look or not, and its cost.

  `lanes` over those of one trial of all batch sizes are the trials that it took.
  """

  decided: bool
  wrong: bool
  trials: int
  cost: float


def errors_of(design: str, first: int, most: int) -> dict[int, float]:
  """What each look may spend: as the product, all of it each time, or all of it at a single one."""
  rungs = ladder(first, most)
  if design == 'product':
    return spending(rungs, 0.05)
  return dict.fromkeys(rungs if design == 'naive' else [most], 0.05)


def study(
  world: World, asked: Asked, errors: dict[int, float], random: np.random.Generator
) -> Outcome:
  """One study: looks at more and more trials, without batch sizes that are shown to be worse."""
  runs = lanes(world, max(errors), random)
  found: list[Look] = []
  going, cost, before = list(asked.sizes or world.sizes), 0.0, 0
  for trials, error in errors.items():
    cost += (trials - before) * len(going) / len(asked.sizes or world.sizes)
    before = trials
    tried, chosen, readings = (
      {size: part[size] for size in going} for part in read(world, runs[:, :, :trials])
    )
    said = claims(asked, tried, chosen, readings, error)
    states = dict.fromkeys(going, Rates('bracketed'))
    found.append(Look(trials, tuple(going), 0, 0, states, chosen, tried, error, tuple(said)))
    if decided(asked, world.sizes, found):
      break
    if asked.kind == BEST:
      dropped = {one.size for one in shown(asked, world.sizes, found) if one.state == 'worse'}
      going = [size for size in going if size not in dropped]
      if len(going) < 2:
        break
  wrong = any(false(claim, world) for look in found for claim in look.claims)
  return Outcome(decided(asked, world.sizes, found), wrong, before, cost)


def false(claim, world: World) -> bool:
  """Whether a claim about two batch sizes says what is not so."""
  truth = dict(zip(world.sizes, world.worse, strict=True))
  if claim.kind == 'trend':
    change = truth[world.sizes[-1]] - truth[world.sizes[0]]
    if claim.question.side == 'within':
      return claim.verdict == ('refuted' if abs(change) < 100 * MARGIN else 'supported')
    return (claim.verdict == 'supported' and change <= 0) or (
      claim.verdict == 'refuted' and change >= 0
    )
  lead = truth[claim.subject[1]] - truth[claim.subject[0]]
  if claim.question.side == 'within':
    alike = abs(lead) < 100 * MARGIN - 1e-9
    if abs(abs(lead) - 100 * MARGIN) < 1e-9:
      return claim.verdict != 'undetermined'
    return claim.verdict == ('refuted' if alike else 'supported')
  return (claim.verdict == 'supported' and lead <= 0) or (claim.verdict == 'refuted' and lead >= 0)


PAIR = Asked(EQUIVALENT, (16, 32))
ALL = Asked(BEST)
