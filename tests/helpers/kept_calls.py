"""Results of functions called with drawn arrays, the odd ones too; `test_kept.py` keeps them."""

from __future__ import annotations

import dataclasses
import math
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import bsjax
from bsjax.stats import (
  hyperbola,
  hyperbola_trials,
  intervals,
  jackknife,
  joint,
  looks,
  paired,
  shrinkage,
  spreads,
  tobit,
  trial_effects,
  valley,
)
from bsjax.stats.estimate import Estimate, Reason, minus, undefined
from helpers.draw import Draw
from helpers.kept import Kept
from helpers.kept_drawn import sums

ROOM = str(Path(bsjax.__file__).parent)
LONG = 8  # numbers of a list, of which the sum is kept instead
Calls = Mapping[str, Callable[[Draw], Any]]


def kept_calls(calls: Calls, times: int) -> Kept:
  """What each function gives for so many draws; an error's sentence where it is one of bsjax."""
  found = {}
  for name, call in calls.items():
    for at in range(times):
      with warnings.catch_warnings(), np.errstate(all='ignore'):
        warnings.simplefilter('ignore')
        try:
          result = plain(call(Draw((zlib.crc32(name.encode()), at))))
        except (ValueError, KeyError, ZeroDivisionError, IndexError, OverflowError) as error:
          result = _said(error)
      found[f'{name} {at}'] = result
  return Kept(found, {})


def _said(error: Exception) -> str:
  """The type of an error, and its sentence where bsjax raised it, as others' words change."""
  last = error.__traceback__
  while last is not None and last.tb_next:
    last = last.tb_next
  ours = last is not None and last.tb_frame.f_code.co_filename.startswith(ROOM)
  return f'{type(error).__name__}: {error if ours and isinstance(error, ValueError) else ""}'


def plain(value: Any) -> Any:
  """As JSON has it."""
  if isinstance(value, Reason):
    return [value.code, plain(value.details)]
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
  if hasattr(value, '_asdict'):
    return plain(value._asdict())
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, np.ndarray | np.generic):
    return plain(value.tolist())
  if isinstance(value, list | tuple):
    items = [plain(item) for item in value]
    numbers = all(isinstance(item, int | float) for item in items)
    return sums(items) if numbers and len(items) > LONG else items
  return value


def numbers(draw: Draw, *shape: int) -> np.ndarray:
  """Numbers of one sort: plain, few different ones, equal ones, or with one that is odd."""
  sort = draw.one('plain', 'plain', 'plain', 'ties', 'same', 'above', 'zeros', 'nan', 'inf')
  found = draw.random.normal(draw.one(0.0, 0.0, 1.0, -2.0), draw.one(0.1, 1.0, 30.0), shape)
  if sort == 'ties':
    return np.round(found)
  if sort == 'same':
    return np.full(shape, draw.one(0.0, 0.25, -1.5))
  if sort == 'above':
    return np.exp(found / 10)
  if sort in ('zeros', 'nan', 'inf') and found.size:
    odd = {'zeros': 0.0, 'nan': math.nan, 'inf': draw.one(math.inf, -math.inf)}[sort]
    found.flat[draw.random.integers(found.size)] = odd
  return found


def few(draw: Draw) -> int:
  return draw.one(0, 1, 2, 2, 3, 3, 4, 5, 9)


def confidence(draw: Draw) -> float:
  return draw.one(0.95, 0.95, 0.5, 0.99, 0.8, 1.0)


def estimate(draw: Draw) -> Estimate:
  """An interval of a few numbers, or one that lacks something."""
  found = intervals.mean_interval(numbers(draw, draw.one(1, 2, 3, 3, 5, 8)), draw.one(0.95, 0.8))
  if draw.chance(0.2):
    found = dataclasses.replace(found, low=draw.one(None, -math.inf, found.low))
  if draw.chance(0.2):
    found = dataclasses.replace(found, high=None, unbounded=True)
  return dataclasses.replace(found, df=draw.one(2.5, 7.0)) if draw.chance(0.3) else found


def sizes_of(draw: Draw, count: int) -> np.ndarray:
  found = draw.one([4, 8, 16, 32, 64, 128], [3, 6, 24, 30, 96, 480], [64, 32, 16, 8, 4, 2])
  return np.array(found[:count])


def moments(draw: Draw) -> intervals.PairMoments:
  mean = draw.one(-1.0, 0.0, 0.5, 3.0), draw.one(-1.0, 0.0, 1e-3, 0.5, 2.0)
  spread = draw.one(0.0, 0.1, 4.0), draw.one(0.0, 0.1, 4.0, math.nan)
  together = draw.one(0.0, 0.5, -0.5) * math.sqrt(spread[0] * spread[1])
  return intervals.PairMoments(*mean, *spread, together, draw.one(0, 1, 2, 3.5, 9, 40))


def updates(draw: Draw) -> dict[str, Any]:
  """Updates to a target about a hyperbola, of which some are only bounds."""
  sizes = sizes_of(draw, draw.one(2, 3, 4, 5, 6))
  trials, b_crit = draw.one(1, 2, 3, 4), draw.one(1e-3, 5.0, 20.0, 60.0, 1e5)
  error = draw.random.normal(0, draw.one(0.01, 0.1, 0.4), (len(sizes), trials))
  shared = draw.random.normal(0, draw.one(0.0, 0.2), len(sizes))[:, None]
  values = 50 * (1 + b_crit / sizes)[:, None] * np.exp(error + shared)
  known = np.zeros(values.shape, int)
  if draw.chance(0.5):
    bounded = draw.random.random(values.shape) < 0.2
    known[bounded] = draw.one(tobit.AT_LEAST, tobit.AT_LEAST, tobit.AT_MOST)
  if draw.chance(0.1):
    values[0, 0] = draw.one(0.0, -1.0, math.nan, math.inf)
  return {'batch_sizes': sizes, 'updates': values, 'known': known}


def pairs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
  n = few(draw)
  positive = draw.chance(0.7)
  made = [np.exp(numbers(draw, n) / 10) if positive else numbers(draw, n) for _ in range(2)]
  return made[0], made[1] if draw.chance(0.9) else made[1][1:]


def columns(draw: Draw) -> dict[Any, np.ndarray]:
  n, sizes = few(draw), draw.one((8,), (8, 16), (8, 16, 32), ('a', 'b', 'c', 'd'))
  trial = draw.random.normal(0, 1, n)
  return {size: trial + numbers(draw, n) for size in sizes}


def groups(draw: Draw) -> tuple[list[np.ndarray], list[np.ndarray]]:
  trials, lucky = draw.one(1, 2, 3, 5), draw.one(0.0, 2.0)
  effect = draw.random.normal(0, lucky, trials)
  counts = [draw.one(1, 1, 2, 3, 4) for _ in range(draw.one(1, 2, 3, 4))]
  own = draw.one(0.0, 0.0, 0.0, 1.0)
  found = [
    effect + draw.random.normal(0, draw.one(0.1, 1.0), (count, trials))
    + own * draw.random.normal(0, 1, trials)
    for count in counts
  ]  # fmt: skip
  weights = [draw.random.dirichlet(np.ones(count)) for count in counts]
  return found, weights


def _family(draw: Draw) -> list[float]:
  groups = draw.one(2, 3, 4)
  weights = draw.random.normal(0, 1, (draw.one(1, 2, 3), groups))
  weights -= weights.mean(axis=1, keepdims=True)
  made = joint.Family(
    weights, draw.random.uniform(0.1, 2, groups), draw.random.uniform(1, 9, groups)
  )
  return [made.confidence(draw.one(0.95, 0.8)), made.false(draw.one(0.02, 0.2))]


def _jackknife(draw: Draw) -> Estimate:
  values = np.abs(numbers(draw, draw.one(1, 2, 3, 5)))
  spread = draw.chance(0.5)
  return jackknife.log_jackknife(
    lambda keep: float(values[keep].var() if spread else values[keep].mean()),
    len(values),
    2 if spread else 1,
    draw.one(0.95, 0.8),
  )


def _peak(draw: Draw) -> Any:
  given = updates(draw)
  leading = np.stack([np.log(np.abs(given['updates']) + 0.1) * scale for scale in (1.0, 0.7)])
  leading[~np.isfinite(leading)] = 1.0
  known = given['known']
  known[0] = tobit.EXACT
  return tobit.maximize(leading, known)


def _shrunk(draw: Draw) -> Any:
  n = draw.one(2, 3, 4, 6)
  x = np.arange(n, dtype=float)
  terms = [np.ones(n), x - x.mean()][: draw.one(1, 2)]
  estimates = draw.random.normal(0, draw.one(0.1, 1.0, 3.0), n)
  return shrinkage.shrunk(estimates, draw.random.uniform(0.01, 1, n), np.stack(terms, axis=1))


def _top(draw: Draw) -> Any:
  n = draw.one(1, 2, 3, 4, 6, 8)
  x = np.cumsum(draw.random.uniform(0.3, 2, n))
  values = -draw.one(0.1, 1.0, -0.1) * (x - draw.one(*x)) ** 2 + draw.random.normal(0, 0.1, n)
  values = np.round(values, draw.one(1, 9))
  return valley.top(x, values, int(values.argmax()), draw.one(0.05, 0.5, 100.0))


def _spread_slope(draw: Draw) -> Any:
  sizes = sizes_of(draw, draw.one(3, 4, 6)).tolist()
  n = draw.one(2, 3, 6)
  return spreads.slope_of_spreads(
    sizes, [draw.random.normal(0, 1, n + draw.one(0, 0, 3)) for _ in sizes], draw.one(0.95, 0.8)
  )


def _of_estimate(draw: Draw) -> list[Any]:
  one = estimate(draw)
  return [
    one.has_interval,
    one.is_finite,
    one.negated(),
    one.to_json(),
    one.map(lambda x: 2 * x + 1),
  ]


def _p_values(draw: Draw) -> list[float | None]:
  found = draw.random.random(few(draw)) * draw.one(0.05, 1.0)
  return [None if draw.chance(0.2) else float(p) for p in np.round(found, draw.one(2, 9))]


STATS: Calls = {
  'estimate': _of_estimate,
  'minus': lambda draw: [minus(draw.one(None, 0.0, -0.0, 2.5)), undefined('no_values', few(draw))],
  'fit_hyperbola': lambda draw: hyperbola.fit_hyperbola(
    **updates(draw),
    confidence=draw.one(0.95, 0.8),
    shared=draw.one(None, hyperbola.Shared(0.02, 2), hyperbola.Shared(0.0, 1)),
    rough_ends=draw.chance(0.3),
  ),
  'fit_trials': lambda draw: hyperbola_trials.fit_trials(**updates(draw)),
  'mean_interval': lambda draw: intervals.mean_interval(numbers(draw, few(draw)), confidence(draw)),
  'mean_intervals': lambda draw: intervals.mean_intervals(
    draw.random.normal(0, 1, (draw.one(1, 2, 4), 3)), confidence(draw)
  ),
  'widened': lambda draw: intervals.widened(
    intervals.mean_interval(numbers(draw, draw.one(1, 2, 5))), draw.one(0.0, 0.5)
  ),
  'pair_moments': lambda draw: intervals.pair_moments(*pairs(draw)),
  'weighted_moments': lambda draw: intervals.weighted_moments(
    *(draw.random.normal(0, 1, (2, n := few(draw)))), draw.random.integers(1, 9, n)
  ),
  'fieller': lambda draw: intervals.fieller(*pairs(draw), confidence(draw)),
  'fieller_from_moments': lambda draw: intervals.fieller_from_moments(moments(draw)),
  'harmonic_ratio': lambda draw: intervals.harmonic_ratio(*pairs(draw), confidence(draw)),
  'log_delta': lambda draw: intervals.log_delta(*pairs(draw), confidence(draw)),
  'log_delta_from_moments': lambda draw: intervals.log_delta_from_moments(moments(draw)),
  'pseudo_values': lambda draw: jackknife.pseudo_values(
    draw.random.normal(0, 1, 2), draw.random.normal(0, 1, (2, draw.one(2, 3, 5)))
  ),
  'log_jackknife': _jackknife,
  'joint': _family,
  'looks': lambda draw: looks.spending(
    looks.ladder(draw.one(1, 2, 3, 5), draw.one(2, 4, 5, 9, 30)), draw.one(0.05, 0.2)
  ),
  'slope_weights': lambda draw: paired.slope_weights(sizes_of(draw, draw.one(1, 2, 5)).tolist()),
  'simultaneous': lambda draw: paired.simultaneous(few(draw), confidence(draw)),
  'against_best': lambda draw: paired.against_best(columns(draw), draw.one(0.95, 0.8)),
  'holm': lambda draw: paired.holm(_p_values(draw)),
  'has_no_width': lambda draw: [paired.has_no_width(estimate(draw)) for _ in range(4)],
  'trials_needed': lambda draw: paired.trials_needed(
    intervals.mean_interval(draw.random.normal(0, 1, draw.one(1, 2, 3, 8))), draw.one(0.0, 0.3, 3.0)
  ),
  'p_value_of': lambda draw: paired.p_value_of(
    intervals.mean_interval(draw.random.normal(0.5, 1, draw.one(1, 2, 3, 8)), draw.one(0.95, 0.8))
  ),
  'p_value': lambda draw: paired.p_value(draw.one(1.0, -1.0) + numbers(draw, draw.one(1, 2, 5))),
  'shrunk': _shrunk,
  'slope_of_spreads': _spread_slope,
  'maximize': _peak,
  'trial_effects': lambda draw: trial_effects.spreads(*groups(draw)),
  'top': _top,
}
