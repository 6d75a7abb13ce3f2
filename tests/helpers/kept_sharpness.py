"""Sharpness of a small quadratic, and rows from made-up measurements; see test_kept_runs.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from bsjax.config.keys import base_config
from bsjax.data import Split
from bsjax.engine.evaluate import Sums
from bsjax.plan import plan
from bsjax.sharpness import hessian, lane, measures, rows, slices, spectrum
from bsjax.sharpness import run as runs
from bsjax.sharpness import study as studies
from bsjax.sharpness.objective import Objective, mean_over_chunks
from helpers.kept import Kept, text
from helpers.kept_arrays import drawn, plain, said
from helpers.kept_streams import made_up
from helpers.kept_trainings import small

EIGENVALUES = 4.0, 2.5, 1.0, 0.5, -0.7, 0.0


def quadratic() -> tuple[Objective, Any]:
  """z'Az / 2 + c'z + 3 over a tree of two leaves, in chunks of a third and two."""
  basis = np.linalg.qr(drawn(3, 6, 6).astype(float))[0]
  matrix = jnp.float32(basis @ np.diag(EIGENVALUES) @ basis.T)

  def part(params: Any, share: Any) -> Any:
    z = ravel_pytree(params)[0]
    return share * (z @ matrix @ z / 2 + z @ drawn(4, 6) + 3.0)

  objective = mean_over_chunks(part, jnp.float32([2.0, 4.0]), 6)
  return objective, {'bias': 0.3 * drawn(1, 2), 'kernel': 0.5 * drawn(2, 2, 2)}


def quadratic_sharpness() -> Kept:
  """Lanczos, traces, curvature, SAM and boxes of a quadratic."""
  objective, start = quadratic()
  key = jax.random.key(2)

  @jax.jit
  def found(params: Any) -> dict[str, Any]:
    def hvp(vector: Any) -> Any:
      return objective.hvp(params, vector)

    grads = objective.gradient(params)
    sam = {
      f'sam {rho} {adaptive}': measures.sam(objective, params, grads, rho, adaptive)
      for rho, adaptive in itertools.product((0.05, 0.5), (False, True))
    }
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {
      'value': objective.value(params),
      'gradient': grads,
      'hvp': hvp(params),
      'lanczos': [hessian.lanczos(hvp, key, params, steps) for steps in (3, 6)],
      'trace': hessian.trace_samples(hvp, key, params, 3),
      'signs': hessian.rademacher_like(key, params),
      'curvature': [hessian.curvature_along(hvp, x) for x in (grads, zeros)],
      'keskar': [measures.keskar(objective, params, key, e, 4) for e in (0.3,)],
      'direction': slices.random_direction(key, params),
      'filters': slices.filter_normalized({'a': drawn(1, 3, 2, 4)}, {'a': drawn(5, 3, 2, 4)}),
      **sam,
    }

  made = found(start)
  three, six = (jax.tree.map(np.asarray, one) for one in made.pop('lanczos'))
  few = spectrum.ritz(three.alpha, three.beta)
  numbers = {'three': plain(three), 'six': plain([six.alpha, np.abs(six.beta[:5])])}
  numbers['ritz'] = [plain(few), spectrum.top_eigenvalues(few, 9), spectrum.eigenvalue(few, -1)]
  last = spectrum.ritz(np.append(six.alpha, 0.5), np.append(six.beta[:5], [0.3, 0.2]))
  made_density = spectrum.density([few, spectrum.ritz(three.alpha + 1, 2 * three.beta)])
  numbers['density'] = {k: plain(np.array(v)) for k, v in made_density.items()}
  numbers['last'] = spectrum.top_eigenvalues(last, 2)
  for samples in ([1.0, 2.5, 4.0], [2.0]):
    numbers[f'mean {samples}'] = spectrum.mean_and_standard_error(np.array(samples))
  constants = slices.LINE, slices.PLANE, slices.BETWEEN
  return Kept(numbers | plain(made) | {'points': plain([*constants])}, {})


def measured(**changes: Any) -> dict[str, Any]:
  """Made-up measurements of a lane."""
  alpha = np.array([[2.0, 1.0, 0.5], [1.8, 1.2, 0.4]])
  usual = {'loss': 24.0, 'beta': np.array([[0.5, 0.2, 1e-5], [0.4, 0.3, 0.1]]), 'finite': True}
  usual |= {'trace': np.array([3.0, 4.0, 3.5]), 'gradient_sq': 0.09, 'gradient_curvature': 0.4}
  usual |= {'sam': 0.02, 'adaptive_sam': 0.05, 'keskar': np.array([2.5, 1.1]), 'val_loss': 9.0}
  given = usual | changes
  sums = {
    name: Sums(np.float32(loss), {'accuracy': np.int32(7)}, np.int32(count), {}, None)
    for name, loss, count in (('train', given.pop('loss'), 12), ('val', given.pop('val_loss'), 5))
  }
  lanczos = hessian.Tridiagonal(given.pop('alpha', alpha), given.pop('beta'))
  return {**sums, **given, 'lanczos': lanczos}


def sharpness_rows() -> Kept:
  """Rows, reasons and the table; options, steps and lanes that are asked for."""
  lanes = plan.make_plan(small(), 64).first.lanes
  cases: dict[str, dict[str, Any]] = {
    'usual': {},
    'lost': {'finite': False},
    'no loss': {'loss': math.nan},
    'no validation': {'val_loss': math.inf},
    'no product': {'alpha': np.array([[2.0, math.nan, 0.5]] * 2)},
    'one probe': {'trace': np.array([3.0])},
    'flat': {'sam': 1e-6, 'adaptive_sam': math.nan, 'gradient_curvature': math.nan},
    'infinite': {'keskar': np.array([math.inf, 1e-4]), 'trace': np.array([3.0, math.nan])},
    'not converged': {'beta': np.array([[0.5, 0.2, 0.9]] * 2)},
    'singular': {'alpha': np.array([[2.0, 1.0, 0.0]] * 2), 'beta': np.zeros((2, 3))},
  }
  made, numbers = [], {}
  for number, (name, changes) in enumerate(cases.items()):
    stability = (3.8, '') if number % 2 else (None, 'the learning rate is 0 here')
    position = {'learning_rate_now': 0.05, 'examples': 64, 'stability': stability}
    row = rows.lane_row(lanes[number % 4], position, measured(**changes), (1e-3, 5e-4), 2)
    made.append(row)
    short = {key: value for key, value in row.items() if key != 'density'}
    numbers[name] = plain(short | {'density': sorted(row['density'] or ())})
  for name, momentum, nesterov in itertools.product(('sgd', 'adam'), (0.0, 0.9), (False, True)):
    optimizer = base_config().optimizer
    optimizer.name, optimizer.momentum, optimizer.nesterov = name, momentum, nesterov
    for rate in (0.0, 0.1):
      found = rows.stability_threshold(optimizer, rate)
      numbers[f'threshold {name} {momentum} {nesterov} {rate}'] = list(found)
  wrong = lane.Options(-1, 0, 0, 0, 0, 0, 0.0, math.inf)
  numbers['problems'] = [wrong.problems(), lane.Options(examples=0).problems()]
  numbers['options'] = plain(lane.Options())
  for wanted in ('latest', 'all', '16', '9', 'x'):
    numbers[f'steps {wanted}'] = said(
      lambda w=wanted: studies.chosen_steps({8: 1, 16: 2, 24: 4}, w)
    )
  numbers['no steps'] = said(lambda: studies.chosen_steps({}, 'all'))
  for wanted in ('all', '0,2', '3', '4', '-1', '1,,2'):
    stage = plan.make_plan(small(), 64).first
    numbers[f'lanes {wanted}'] = said(lambda w=wanted, s=stage: studies.chosen_lanes(s, w))
  for count in (0, 3, 6, 9, 20):
    chosen = studies.subset(made_up(), count, 3)
    assert isinstance(chosen, Split)
    numbers[f'subset {count}'] = plain([chosen.labels, chosen.images])
  numbers['without'] = plain(studies._without(drawn(1, 3, 2), np.array([False, True, False])))
  numbers['points'] = runs._points(
    {'train': _sums(2), 'val': _sums(3)}, np.array([[0.0, 1.0], [0.5, -1.0]])
  )
  return Kept(numbers, {'table': text(rows.table(made))})


def _sums(number: int) -> Sums:
  loss = np.float32([1.5 * number, math.nan])
  return Sums(loss, {'accuracy': np.int32([number, 1])}, np.int32([4, 4]), {}, None)


SHARPNESS: dict[str, Callable[[], Kept]] = {
  'quadratic_sharpness': quadratic_sharpness,
  'sharpness_rows': sharpness_rows,
}
