"""Functions of statistics that are called with drawn arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

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
from bsjax.stats.estimate import Estimate, minus, undefined
from helpers.draw import Draw
from helpers.kept_calls import Calls, confidence, estimate, few, moments, numbers, sizes_of, updates


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
