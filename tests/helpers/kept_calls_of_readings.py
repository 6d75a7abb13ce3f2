"""Functions of the analysis that are called with drawn readings, claims and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bsjax.analysis import goals_to_target
from bsjax.analysis.claims import claim, classes, pairs, pooling
from bsjax.analysis.decide import power, rates
from bsjax.analysis.measures import (
  contrast,
  critical_batch_size,
  exponent,
  gap,
  optimum,
)
from bsjax.analysis.measures import learning_rate_laws as laws
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.runs import reading
from bsjax.config.metrics import judged
from bsjax.noise import pooling as windows
from bsjax.plan import halving, scaling_rules
from bsjax.stats.estimate import Estimate, Reason
from helpers.draw import Draw
from helpers.kept_calls import Calls, estimate, few, moments, numbers, sizes_of, updates

KEYS = 'val_accuracy', 'train_loss', 'val_loss'


def readings(draw: Draw) -> dict[int, reading.Reading]:
  """Readings of a few batch sizes, some of several settings, some with another kind of numbers."""
  trials, found = draw.one(1, 2, 3, 5), {}
  lucky = draw.random.normal(0, draw.one(0.0, 0.02), trials)
  for size in sizes_of(draw, draw.one(1, 2, 3, 4)).tolist():
    if draw.chance(0.1):
      found[size] = reading.Reading(problem=Reason('no_rate_ended_well'))
      continue
    mine = trials - (draw.chance(0.1) and trials > 1)
    again, count = draw.chance(0.3), draw.one(1, 1, 3, 4)
    parts = [_reading(draw, lucky[:mine], size, again) for _ in range(count)]
    weights = draw.random.dirichlet(np.ones(len(parts)))
    shifts = dict(enumerate(draw.random.normal(0, 0.1, mine).tolist()))
    slope = draw.one((), tuple(draw.random.normal(0, 1, len(parts)).tolist()))
    found[size] = reading.combined(parts, reading.Weights(tuple(weights.tolist()), slope, shifts))
  return found


def _reading(draw: Draw, lucky: np.ndarray, size: int, again: bool) -> reading.Reading:
  n, wide = len(lucky), draw.one(0.0, 0.0, 0.01)
  at = {
    key: 0.5 + lucky - 0.01 * math.log2(size) + 0.01 * draw.random.normal(0, 1, n) for key in KEYS
  }
  if again:
    at['reestimated_val_accuracy'] = at['val_accuracy'] + 0.01 * draw.random.random(n)
  if draw.chance(0.1):
    at['train_loss'] = np.where(np.arange(n) == 0, math.nan, at['train_loss'])
  low, high = ({key: x + side * wide for key, x in at.items()} for side in (-1, 1))
  lanes = {key: x[None] for key, x in at.items()}
  between = (2.0, 3.0 + draw.random.random()) if wide else None
  return reading.Reading(tuple(range(n)), at, low, high, between, lanes)


def _comparison(draw: Draw) -> Any:
  made = Comparison(readings(draw), draw.one(*KEYS, 'reestimated_val_accuracy'))
  several = made.pairs_and_slope if len(made.sizes) > 1 else None
  slope = made.slope(draw.one(0.95, 0.8))
  adjusted = several.adjusted(slope.interval) if several else None
  joint = several.confidence() if several else None
  pair = made.difference(*made.sizes[:2]) if several else None
  return [made.out, made.means, slope, pair, adjusted, joint]


def _losses(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
  tried = np.cumprod(draw.random.uniform(1.5, 4, draw.one(1, 2, 3, 4, 5, 7))) * 0.01
  x, trials = np.log(tried), draw.one(0, 1, 2, 3, 4)
  at = draw.one(*x) + draw.random.normal(0, draw.one(0.0, 0.1, 1.0), (trials, 1))
  found = 1 + draw.one(0.2, 0.2, -0.2, 0.0) * (x - at) ** 2 + draw.one(0.0, 0.1) * (x - at) ** 3
  found = np.abs(found + draw.random.normal(0, draw.one(0.0, 0.01, 0.2), found.shape))
  if draw.chance(0.3):
    found[:, -draw.one(1, 2) :] = math.inf
  if draw.chance(0.15) and found.size:
    found[0, 0] = draw.one(0.0, -1.0, math.nan, math.inf)
  return tried if draw.chance(0.95) else tried[::-1], found


def _points(draw: Draw) -> exponent.Points:
  """Optima of a few batch sizes, about a power law or one that ends."""
  optima, power, trials = {}, draw.one(0.0, 0.5, 1.0, -0.5, None), draw.one(1, 2, 3, 4)
  for size in sizes_of(draw, draw.one(2, 3, 4, 5, 6)).tolist():
    grown = math.log(size / (size + 40)) if power is None else power * math.log(size)
    logs = grown - 4 + draw.random.normal(0, draw.one(0.02, 0.2), trials)
    state = draw.one('found', 'found', 'found', 'found', 'at_grid_edge')
    why = (
      () if state == 'found' else (Reason('best_at_grid_edge', end='lowest', learning_rate=0.1),)
    )
    n = max(1, trials - draw.chance(0.1))
    best = Estimate(math.exp(float(logs.mean())), n=n, reasons=why)
    optima[size] = optimum.Optimum(state, best, tuple(logs.tolist()[:n]), draw.one(0.0, 0.0, 0.2))
  return exponent.points(optima)


def _laws(draw: Draw) -> list[Any]:
  noise = {
    'b_simple': draw.one(20.0, 300.0, None, -3.0),
    'ci95': draw.one([5.0, 900.0], [5.0, None]),
  }
  noise |= {'unbounded': noise['ci95'][1] is None}
  grid = draw.one(None, np.array([4.0, 64.0]))
  return laws.predictions(_points(draw), noise, draw.one('sgd', 'adam', 'lion', 'own'), grid)


def _within(draw: Draw) -> Any:
  given = updates(draw)
  sizes = np.sort(given['batch_sizes'])
  examples = np.abs(np.nan_to_num(given['updates'], posinf=9.0)) * sizes[:, None] + 1
  faster = draw.one((), (), (Reason('target_at_grid_edge', batch_sizes=[8]),))
  best = Estimate(50.0, draw.one(0.0, 20.0), draw.one(None, 90.0))
  return critical_batch_size.within(sizes, examples, given['known'], best, faster)


def _goals(draw: Draw) -> Any:
  """The goals of a drawn list of points, and the seconds of runs alone."""
  sizes = sizes_of(draw, draw.one(1, 2, 3, 4)).tolist()
  trials, rows = draw.one(1, 2, 3, 4), []
  for size in sizes:
    examples = (1000 * (1 + size / 40) * np.exp(draw.random.normal(0, 0.05, trials))).tolist()
    if draw.chance(0.15):
      examples[-1] = None
    status = draw.one(['reached'], ['reached'], ['reached'], ['before first evaluation'])
    rows.append({'batch_size': size, 'learning_rate': draw.one(0.1, None), 'examples': examples})
    rows[-1]['status'] = status if draw.chance(0.3) else ['reached']
  critical: dict[str, Any] = {'quantity': 'train_loss', 'target': 0.5, 'points': rows}
  critical['at_grid_edge'] = draw.some(sizes, 0.2)
  critical['best_rates_unsafe'] = draw.some(sizes, 0.1)
  if draw.chance(0.1):
    critical = {'undefined': Reason('no_target_given'), 'target': None}
  measured = []
  for size in draw.some(sizes, 0.9):
    median = 100.0 * size**0.7
    rate = {'median': median, 'low': 0.95 * median, 'high': draw.one(1.02, 1.5) * median}
    row = {'batch_size': size, 'stage': '', 'examples_per_second': draw.one(rate, rate, rate, None)}
    measured.append(row)
  cost = {'rows': measured, 'hardware': 'a made-up core'}
  times = goals_to_target.seconds_to_target(critical, cost)
  return [goals_to_target.to_target(critical), goals_to_target.run_alone(critical, cost), times]


def _claim(draw: Draw) -> claim.Claim:
  question = draw.one(claim.ABOVE, claim.BELOW, claim.within(0.5), claim.within(1.0, 0.5))
  question = draw.one(question, claim.Question('above', 0.2, 0.1))
  one, other = (contrast.exact(estimate(draw)) for _ in range(2))
  if draw.chance(0.3) and one.interval.low is not None and one.interval.high is not None:
    one = one._replace(low=one.interval.low - 0.3, high=one.interval.high + 0.3)
  void = draw.one((), (), (), (Reason('other_place_of_schedule'),))
  about = {
    'kind': draw.one('trend', 'pair', 'exponent'),
    'subject': draw.one((), (8, 16), ('x', 2.0)),
  }
  about |= {'quantity': 'val_accuracy', 'budget': draw.one('epochs', 'updates')}
  about |= {'unit': draw.one('fraction', 'per_doubling', 'exponent')}
  return claim.judge(question, one, draw.one(None, None, other), (), void, **about)


def _pooled(draw: Draw) -> list[Any]:
  claims = [[_claim(draw) for _ in range(draw.one(0, 1, 2))] for _ in range(draw.one(1, 2, 3))]
  found = pooling.pooled(claims, 'studies')
  return [found, pooling.overall(found)]


def _windows(draw: Draw) -> list[Any]:
  given = []
  for _ in range(draw.one(0, 1, 2, 4)):
    one = moments(draw)._asdict()
    known = {'trace': one['mean_a'], 'grad_sq': one['mean_b'], 'trace_var': one['var_a']}
    known |= {'grad_sq_var': one['var_b'], 'cov': one['cov'], 'count': draw.one(0, 1, 3, 6, 40)}
    given.append(known | {'spans': known | {'count': known['count'] // 8}})
    if draw.chance(0.3):
      del given[-1]['spans']
  merged = [windows.combine_windows(given, blocks=blocks) for blocks in (True, False)]
  return [*merged, windows.measurement_moments(given), windows.measured_interval(given)]


def _dropped(draw: Draw) -> list[int]:
  lanes, rows = [], []
  for at, size in enumerate((8, 16)):
    for rate in (0.01, 0.03, 0.1, 0.3, 1.0)[: draw.one(3, 4, 5)]:
      for trial in range(2):
        place = {'lane': len(lanes), 'batch_size': size, 'learning_rate': rate, 'trial': trial}
        lanes.append(place | {'branch': ''})
        value = round(0.9 - 0.05 * draw.random.random() - 0.01 * at, draw.one(2, 9))
        row = {'lane': place['lane'], 'val_accuracy': draw.one(*[value] * 9, None)}
        rows.append(row | {'diverged': draw.chance(0.1)})
  return sorted(halving.dropped(draw.one(0.3, 0.5, 0.8), lanes, rows[: draw.one(len(rows), 13)]))


def _around(draw: Draw) -> rates.Rates:
  logs = np.cumsum(draw.random.uniform(0.2, 2.5, draw.one(1, 2, 3, 5))).tolist()
  return rates.around(logs, draw.one(*range(len(logs))))


def _difference(draw: Draw) -> list[Any]:
  read = list(readings(draw).values())
  known = [one for one in read if one.values]
  weights = numbers(draw, len(known))
  weights[~np.isfinite(weights)] = 0.5
  found = contrast.contrast(known, weights, draw.one(*KEYS, 'reestimated_val_accuracy'))
  both = contrast.average([found, draw.one(found, found, None)])
  return [found, both, contrast.effect(both, draw.one(0.95, 0.8))]


def _counts(draw: Draw) -> Any:
  n = draw.one(1, 2, 3, 4, 7)
  train = draw.random.integers(0, draw.one(3, 100), n).tolist()
  return classes.class_groups(train, [draw.one(0, 5, 5, 5) for _ in range(n)])


def _of_bounds(draw: Draw) -> list[Any]:
  values = numbers(draw, few(draw)).tolist()
  return [gap.estimate(values, draw.one('val_accuracy', 'val_loss', 'gap')), judged().bounds('gap')]


def _scaled(draw: Draw) -> list[float]:
  rule = draw.one('none', 'sqrt', 'linear', 'none,sqrt,linear', 'linear,none')
  given: Sequence[float] = draw.one((0.1,), (0.4, 0.1), (0.1, 0.2, 0.4), (1, 2))
  return scaling_rules.rates(rule, given, draw.one(8, 32, 64, 96), draw.one(32, 64))


READINGS: Calls = {
  **{'comparison': _comparison, 'difference': _difference, 'goals': _goals, 'windows': _windows},
  **{'claim': _claim, 'laws': _laws, 'within': _within, 'pooled': _pooled, 'dropped': _dropped},
  **{'around': _around, 'class_groups': _counts, 'bounds': _of_bounds, 'rates': _scaled},
  'rank': lambda draw: pairs.rank(readings(draw), draw.one('', 'train_loss')),
  'optimum': lambda draw: optimum.optimum(*_losses(draw)),
  'exponent': lambda draw: exponent.exponent(_points(draw)),
  'saturation': lambda draw: exponent.saturation(_points(draw)),
  'power': lambda draw: power.seen(draw.one(0.002, 0.01), 0.005, 2, draw.one(4, 9, 20)),
}
