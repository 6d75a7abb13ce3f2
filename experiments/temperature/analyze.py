"""The exponent with which the best batch size grows with the learning rate, at several budgets.

  python experiments/temperature/analyze.py WORKDIR

reads a finished run of configs/temperature.py and writes result.json beside itself.
"""

import math
import sys
from pathlib import Path

import numpy as np

from bsjax.analysis.runs.histories import settings
from bsjax.config.metrics import judged
from bsjax.stats import valley
from bsjax.stats.intervals import mean_interval
from bsjax.storage import records

METRIC, VAL = judged().metric, judged().val

HERE = Path(__file__).parent
NEAR = 0.02  # of validation error: batch sizes that are no worse than the best by more, the valley
FAILED = 0.2  # validation error, about twice the lowest: with more a run has not trained
CHANCE = 0.9  # what a diverged run counts as
FEWEST = 3  # learning rates: any two lie on a power law
NORMAL = 1.96  # standard deviations on either side that hold 95%


def grid(tried, place):
  """Validation error at one record, `[batch size, learning rate, trial]`, and the epoch there."""
  errors = [[[error(lane.rows[place]) for lane in s.lanes] for s in row] for row in tried.values()]
  return np.array(errors), next(iter(tried.values()))[0].lanes[0].rows[place]['epoch']


def error(row):
  """1 - validation accuracy; that of chance once the lane has diverged."""
  return CHANCE if row['diverged'] or row[VAL] is None else METRIC.cost(row[VAL])


def best(sizes, errors):
  """The top of each trial's parabola through the valley, in log batch size, and what bounds it.

  errors: `[batch size, trial]`. The valley is that of the means: as in the analysis of studies, the
  batch sizes nearly as good as the best, and at most five. A parabola whose top lies outside of it
  is read at its end. The bounds are the neighbours of the best batch size tried, which hold the
  bottom of any curve that has one.
  """
  x, means = np.log(sizes), errors.mean(axis=1)
  place = int(means.argmin())
  if means[place] > FAILED:
    return 'no batch size trains'
  if place in (0, len(sizes) - 1):
    return f'the best batch size tried is the {"largest" if place else "smallest"}'
  window = list(valley.top(x, -means, place, NEAR).window)
  if len(window) < valley.FEWEST:
    return 'fewer than three batch sizes are nearly as good as the best'
  tops = [top(x[window], column) for column in errors[window].T]
  return np.array(tops), np.array([x[place - 1], x[place + 1]])


def top(x, errors):
  """Where a least-squares parabola is lowest, within its points."""
  center = x.mean()
  curvature, slope, _ = np.polyfit(x - center, errors, 2)
  if curvature <= 0:
    return x[errors.argmin()]
  return np.clip(center - slope / (2 * curvature), x[0], x[-1])


def smallest(sizes, errors):
  """The smallest batch size that trains, in logs: each trial's crossing of FAILED, and its bounds.

  The bounds are the batch sizes on either side of it, as means over trials.
  """
  x, crossings, ends = np.log(sizes), [], []
  place = int(errors.mean(axis=1).argmin())
  if (errors[place] > FAILED).any():
    return 'in some trial no batch size trains'
  for column in errors.T:
    failed = np.flatnonzero(column[:place] > FAILED)
    if not failed.size:
      return 'in some trial the smallest batch size tried trains'
    i = int(failed[-1])
    share = (column[i] - FAILED) / (column[i] - column[i + 1])
    crossings.append(x[i] + share * (x[i + 1] - x[i]))
    ends.append([x[i], x[i + 1]])
  return np.array(crossings), np.mean(ends, axis=0)


def law(rates, located):
  """The exponent over learning rates: least squares in each trial, Student's over trials.

  `ci95` also holds what the grid leaves open, as if each point lay anywhere between its bounds,
  whatever the others do; `worst` if all did so in the worst way together.
  """
  known = [(rate, *at) for rate, at in zip(rates, located, strict=True) if not isinstance(at, str)]
  result = {'learning_rates': [rate for rate, *_ in known]}
  if len(known) < FEWEST:
    nothing = {'ci95': [None, None]}
    return result | nothing | {'exponent': None, 'over_trials': nothing, 'worst': nothing}
  x = np.log(result['learning_rates'])
  weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
  slope = mean_interval(weights @ np.array([at for _, at, _ in known]))
  bounds = np.array([ends for *_, ends in known])
  # The standard deviation of a uniform distribution is its width over the square root of 12.
  by_grid = NORMAL * math.sqrt(np.sum((weights * np.ptp(bounds, axis=1)) ** 2) / 12)
  half = math.hypot(slope.high - slope.value, by_grid)
  means = np.array([at.mean() for _, at, _ in known])
  ends = np.sort(weights[:, None] * (bounds - means[:, None]), axis=1).sum(axis=0)
  return result | {
    'exponent': slope.value,
    'ci95': [slope.value - half, slope.value + half],
    'n': slope.n,
    'over_trials': {'ci95': [slope.low, slope.high]},
    'worst': {'ci95': [slope.low + ends[0], slope.high + ends[1]]},
  }


def location(at):
  """A batch size on the log scale as JSON: geometric mean over trials, interval, bounds, or why."""
  if isinstance(at, str):
    return {'batch_size': None, 'reason': at}
  logs, bounds = at
  found = mean_interval(logs).map(math.exp).to_json('batch_size')
  return found | {'bounds': np.exp(bounds).tolist()}


def apart(rates, first, second):
  """How many times the one batch size is the other, and whether that changes with the rate."""
  both = [
    (rate, a[0] - b[0])
    for rate, a, b in zip(rates, first, second, strict=True)
    if not isinstance(a, str) and not isinstance(b, str)
  ]
  if not both:
    return None
  ratio = mean_interval(np.mean([logs for _, logs in both], axis=0)).map(math.exp)
  return ratio.to_json('factor') | {'learning_rates': [rate for rate, _ in both]}


def budget(tried, place):
  """All that one budget of epochs shows."""
  sizes = np.array(list(tried), dtype=np.float64)
  rates = [setting.learning_rate for setting in next(iter(tried.values()))]
  errors, epochs = grid(tried, place)
  columns = [errors[:, i] for i in range(len(rates))]
  optima = [best(sizes, column) for column in columns]
  walls = [smallest(sizes, column) for column in columns]
  return {
    'epochs': epochs,
    'errors': errors.mean(axis=2).tolist(),
    'best': [location(at) for at in optima],
    'smallest_that_trains': [location(at) for at in walls],
    'law_of_the_best': law(rates, optima),
    'law_of_the_smallest': law(rates, walls),
    'best_over_smallest': apart(rates, optima, walls),
  }


def analyze(workdir):
  """What result.json holds."""
  tried = settings(records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl'))
  first = next(iter(tried.values()))
  return {
    'near': NEAR,
    'failed': FAILED,
    'batch_sizes': list(tried),
    'learning_rates': [setting.learning_rate for setting in first],
    'budgets': [budget(tried, place) for place in range(1, len(first[0].lanes[0].rows))],
  }


if __name__ == '__main__':
  records.write_json(HERE / 'result.json', analyze(Path(sys.argv[1])))
