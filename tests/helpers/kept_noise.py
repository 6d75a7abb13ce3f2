"""Estimators of the noise scale on fixed gradients; `tests/studies/test_kept_runs.py`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bsjax.models.task import CLASSIFICATION
from bsjax.noise import (
  entries,
  estimators,
  exact,
  online,
  own_loop,
  per_example,
  pooling,
  squared_norms,
)
from helpers.built_models import build
from helpers.kept import Kept
from helpers.kept_arrays import drawn, filled, plain, said


def grads_of(number: int) -> dict[str, np.ndarray]:
  """Gradients of a micro-batch: a mean that all share, and noise."""
  return {
    'kernel': 0.8 * drawn(0, 3, 2) + 0.6 * drawn(number, 3, 2),
    'bias': 0.5 * drawn(1, 4) + 0.9 * drawn(number + 0.5, 4),
  }


def estimates() -> Kept:
  """Every estimate from squared norms and from pairs, and what variance factors are."""
  numbers: dict[str, Any] = {}
  pairs = (1.0, 4, 0.5, 16), (1.0, 8, 0.9, 24), (1.0, 8, 1.2, 64), (1.0, 16, 0.5, 16)
  for (small, m, big, n), population in itertools.product(pairs, (None, 64, 100)):
    given = jnp.float32(small), m, jnp.float32(big), n, population
    numbers[f'two {m} {n} {big} {population}'] = plain(estimators.from_two_batch_sizes(*given))
  for k, population in itertools.product((1, 2, 5), (None, 40)):
    norms = jnp.float32(2.0), jnp.float32(1.5)
    found = estimators.from_micro_batches(*norms, jnp.int32(k), 8, population)
    alone = estimators.from_per_example(*norms, jnp.int32(4 * k), population)
    numbers[f'micro {k} {population}'] = plain([found, alone])
  grid = [(start, size) for start in (0, 7, 30, 95) for size in (5, 10, 40, 100, 250)]
  starts, sizes = (jnp.asarray(column, jnp.int32) for column in zip(*grid, strict=True))
  for population in (10, 40, None):
    factor = jax.vmap(lambda s, n, p=population: estimators.variance_factor(s, n, p))
    numbers[f'factor {population}'] = plain(factor(starts, sizes))
  factors = jnp.float32(0.2), jnp.float32(0.08)
  numbers['pair'] = plain(estimators.from_pair(grads_of(3), grads_of(4), *factors))
  numbers['equal factors'] = plain(estimators.from_pair(grads_of(3), grads_of(4), *factors[:1] * 2))
  ratios = (3.0, 2.0), (0.0, 2.0), (-1.0, 2.0), (3.0, 0.0), (3.0, -1.0), (None, 1.0), (1.0, None)
  ratios += (math.inf, 1.0), (1.0, math.nan), (1e300, 1e-300)
  numbers['ratios'] = [estimators.b_simple(*pair) for pair in ratios]
  return Kept(numbers, {})


def windows() -> Kept:
  """Windows of many updates, empty ones, merged ones, and lanes' own, as records have them."""
  traces, squares = 3 + drawn(2, 29), 0.4 + drawn(5, 29)
  squares[4] = 0.0  # which is not above zero
  weights = np.array([1, 1, 0, 1, 1] * 6, np.int32)[:29]

  @jax.jit
  def observe(traces: Any, squares: Any, weights: Any) -> Any:
    def step(window: Any, given: Any) -> Any:
      trace, grad_sq, weight = given
      measured = estimators.Measurement(jnp.where(weight, trace, jnp.nan), grad_sq)
      return estimators.observe(window, measured, weight), None

    return jax.lax.scan(step, estimators.zero_window(), (traces, squares, weights))[0]

  window, few = observe(traces, squares, weights), observe(traces[:1], squares[:1], weights[:1])
  empty = estimators.zero_window()
  numbers: dict[str, Any] = {'whole': plain(window)}
  merged = estimators.merge(window.updates, few.updates)
  numbers['merged'] = [plain(merged), plain(estimators.merge(empty.updates, window.updates))]
  given = {'whole': window, 'one': few, 'none': empty, 'three': observe(*_first(3))}
  given |= {'nine': observe(*_first(9)), 'forty': observe(*_first(40))}
  summaries = {name: estimators.window_summary(jax.device_get(one)) for name, one in given.items()}
  numbers['summaries'] = plain(summaries)
  for names in (
    ('whole',),
    ('one',),
    ('none',),
    ('three', 'none'),
    ('whole', 'nine', 'none'),
    (*('whole', 'forty', 'nine', 'three', 'one'),),
  ):
    parts = [summaries[name] for name in names]
    numbers[' '.join(names)] = {
      'updates': plain(pooling.combine_windows(parts, blocks=False)),
      'blocks': plain(pooling.combine_windows(parts)),
      'moments': plain(pooling.measurement_moments(parts)),
      'interval': plain(pooling.measured_interval(parts, 0.9)),
    }
  rows = {entries.PLAIN: given['forty'], entries.PRECONDITIONED: given['three']}
  numbers['columns'] = plain(online.columns(rows, {entries.PLAIN: few}))
  numbers['titles'] = [entries.title(one.name) for one in (*entries.EXACT.values(),)]
  numbers['measured'] = [sorted(entries.measured(scaled)) for scaled in (False, True)]
  return Kept(numbers, {})


def _first(count: int) -> tuple[Any, Any, Any]:
  return 2 + drawn(count, count), 1.5 + drawn(count + 1, count), np.ones(count, np.int32)


def lane_noise() -> Kept:
  """What a lane gathers over updates of several micro-batches, pairs, and where they count."""
  numbers: dict[str, Any] = {}
  cases = itertools.product((1, 3), (1, 4, 24), (None, 100))
  began = jnp.arange(0, 30, dtype=jnp.int32)
  for accumulation, every, population in cases:
    found = online.counted(began, 8, accumulation, every, population)
    counts = [np.flatnonzero(flags).tolist() for flags in (*found, found.anywhere)]
    numbers[f'counted {accumulation} {every} {population}'] = counts

  @jax.jit
  def gathered(grads: Any) -> Any:
    results = {}
    for population, scaled in itertools.product((None, 40), (False, True)):
      scales = jax.tree.map(lambda x: 1 + 0.5 * x**2, grads[0]) if scaled else None
      noise, yes = online.empty(scaled, grads[0]), jnp.bool_(True)
      for update, start in enumerate((0, 24, 36)):
        own = [online.lengths(g, scales) for g in grads[update : update + 3]]
        where = online.Counted(yes, jnp.bool_(update != 1))
        for count in (1, 2, 3):
          draw = online.Draw(start, 4, count, 3, population)
          noise = online.add_micro_batch(noise, own[count - 1], draw)
        mean = {k: jax.tree.map(lambda *x: sum(x) / 3, *(o[k] for o in own)) for k in own[0]}
        noise = online.add_update(noise, mean, draw, jnp.bool_(update > 0), where)
      noise = online.add_pair(noise, own[0], own[2], draw._replace(start=20), yes, where)
      results[f'{population} {scaled}'] = noise.windows, noise.early, noise.micro_factor
    return results

  return Kept(numbers | plain(gathered([grads_of(i) for i in range(6)])), {})


def loops_of_ones_own() -> Kept:
  """Windows of loops of one's own, gradients that are gathered, and squared norms alone."""
  stacked = [
    jax.tree.map(lambda *x: np.stack(x), *(grads_of(3 * i + j) for j in range(3)))
    for i in range(12)
  ]
  optimizer = own_loop.accumulate(optax.sgd(0.1, momentum=0.9), 3, 8, 200)

  @jax.jit
  def found(stacked: Any) -> Any:
    window, params = None, stacked[0]
    for grads in stacked:
      window = own_loop.observe(grads, 8, window, population=200)
    axis = jax.vmap(lambda g: own_loop.observe(g, 8, axis_name='r'), axis_name='r')
    replicas = axis(jax.tree.map(lambda x: x[:, None], stacked[0]))
    params = jax.tree.map(lambda x: x[0], stacked[0])
    state, steps = optimizer.init(params), []
    for grads in stacked[:4]:
      for i in range(3):
        one = jax.tree.map(lambda x, i=i: x[i], grads)
        updates, state = optimizer.update(one, state, params)
        steps.append(updates)
    return window, replicas, state, steps[1:4]

  window, replicas, state, steps = found(stacked)
  numbers = {'window': plain(window), 'replicas': plain(replicas), 'state': plain(state)}
  numbers |= {'steps': plain(steps), 'estimate': plain(own_loop.estimate(window, state.window))}
  numbers['empty'] = plain(own_loop.estimate(own_loop.start()))
  for name, call in {
    'scalar': lambda: own_loop.observe({'a': jnp.ones(())}, 8),
    'uneven': lambda: own_loop.observe({'a': jnp.ones((2, 1)), 'b': jnp.ones((3, 1))}, 8),
    'one': lambda: own_loop.observe({'a': jnp.ones((1, 2))}, 8),
    'accumulate': lambda: own_loop.accumulate(optax.sgd(0.1), 1, 8),
  }.items():
    numbers[name] = said(call)
  small, large = 2.0 + drawn(1, 20), 1.2 + 0.4 * drawn(1.1, 20)
  given = (small, large, 8, 32), (small, large, 8, 32, 64), (small[:9], large[:9], 8, 32, 64, 0.8)
  given += (small[:1], large[:1], 8, 32), ([], [], 8, 32), (small, large[:3], 8, 32)
  given += (small, large, 8, 8), (small, large, 0, 8), (small, large, 8, 32, 16)
  for i, one in enumerate(given):
    numbers[f'norms {i}'] = said(lambda one=one: squared_norms.from_squared_norms(*one))
  return Kept(numbers, {})


def exact_scales() -> Kept:
  """Ratios from products on the host, and the products of single examples of two models."""
  numbers: dict[str, Any] = {}
  squares, with_mean = 3 + drawn(1, 12).astype(float), 1 + 0.5 * drawn(2, 12).astype(float)
  for size, population in ((1, 12), (1, 100), (4, 60)):
    moments = exact.from_products(squares, with_mean, size, population)
    numbers[f'products {size} {population}'] = [plain(moments), exact.ratio(moments)]
    numbers[f'products {size} {population}'].append(exact.spread(moments))
  lost = exact.from_products(squares, with_mean * np.nan, 1, 100)
  numbers['lost'] = [exact.ratio(lost), exact.spread(lost)]
  for n in (4, 6):
    blocks = 0.3 * drawn(n, n, n, n).astype(float) + 1.0
    moments = exact.from_curvature(blocks + np.swapaxes(blocks, 1, 2), 4, 80)
    numbers[f'curvature {n}'] = [plain(moments), exact.ratio(moments), exact.spread(moments)]
  lost = exact.from_curvature(np.full((3, 3, 3), np.inf), 4, 80)
  numbers['lost curvature'] = plain(lost)
  images, labels = drawn(4, 2, 3, 6, 6, 1), np.array([[0, 1, 2], [3, 2, 1]], np.int32)
  made = {'mlp': build('mlp', width=5, depth=1, normalization='none')}
  made['cnn'] = build('cnn', width=2, normalization='none')
  variables = {
    name: filled(jax.eval_shape(lambda m=m: m.init(jax.random.key(0), images[0], train=False)))
    for name, m in made.items()
  }

  @jax.jit
  def found(variables: Any, images: Any, labels: Any) -> Any:
    results = {}
    for (name, model), scaled in itertools.product(made.items(), (False, True)):
      params = variables[name]['params']
      mean = jax.tree.map(lambda x: 0.1 + 0.3 * x, params)
      scaling = jax.tree.map(lambda x: 1 + x**2, params) if scaled else None
      given = model, CLASSIFICATION.loss, variables[name], mean, scaling, images, labels
      results[f'{name} {scaled}'] = per_example.products(*given)
    return results

  numbers |= plain(found(variables, images, labels))
  for name, model in made.items():
    for scaled in (False, True):
      layers = per_example.tapped_layers(model, variables[name], images[0, :1], scaled)
      numbers[f'tapped {name} {scaled}'] = [[one.path, plain(one.output_shape)] for one in layers]
  return Kept(plain(numbers), {})


NOISE: dict[str, Callable[[], Kept]] = {
  'estimates': estimates,
  'windows': windows,
  'lane_noise': lane_noise,
  'loops_of_ones_own': loops_of_ones_own,
  'exact_scales': exact_scales,
}
