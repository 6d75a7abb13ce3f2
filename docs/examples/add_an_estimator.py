"""A noise-scale estimator without a backward pass: slopes of the loss along random directions.

  python docs/examples/add_an_estimator.py

For a vector v of independent signs E (v'a)^2 = |a|^2, whatever a is. So the squared norms of the
gradients g_i of single examples, and of their mean, are means of squares of v'g_i; and v'g_i is a
directional derivative, which forward-mode differentiation gives for all examples at once.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from bsjax.noise import estimators, pooling
from bsjax.stats.estimate import Estimate

EXAMPLES, BATCH, DIRECTIONS, UPDATES = 128, 32, 8, 4000


def from_directions(
  losses: Callable[[PyTree], Float[Array, ' example']],
  params: PyTree[Float[Array, '...']],
  key: Key[Array, ''],
  directions: int,
  population: int | None,
) -> estimators.Measurement:
  """From the losses of single examples, differentiated along so many random directions.

  The examples are drawn without replacement from `population` ones; None: infinitely many.
  """

  def slopes(key: Key[Array, '']) -> Float[Array, ' example']:
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))  # equal signs in two leaves would add their product
    signs = [jax.random.rademacher(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.jvp(losses, (params,), (tree.unflatten(signs),))[1]

  each = jax.lax.map(slopes, jax.random.split(key, directions))
  example_sq, mean_sq = jnp.mean(each**2), jnp.mean(jnp.mean(each, axis=1) ** 2)
  return estimators.from_per_example(example_sq, mean_sq, each.shape[1], population)


def squared_errors(
  params: PyTree, x: Float[Array, 'example input'], y: Float[Array, ' example']
) -> Float[Array, ' example']:
  """The losses of a linear model with its weights in two leaves."""
  return (x @ jnp.concatenate([params['a'], params['b']]) - y) ** 2 / 2


def problem() -> tuple[PyTree, Float[Array, 'example input'], Float[Array, ' example']]:
  """A point in the space of parameters, and a training set."""
  rng = np.random.default_rng(0)
  x = rng.standard_normal((EXAMPLES, 6)) * np.sqrt([2.0, 1.0, 0.5, 0.25, 1.0, 2.0])
  y = x.sum(1) / 3 + rng.standard_normal(EXAMPLES) / 2
  return {'a': jnp.zeros(3), 'b': jnp.ones(3) / 4}, jnp.float32(x), jnp.float32(y)


def measure() -> tuple[Estimate, float]:
  """The noise scale as `UPDATES` batches say it, with its interval, and the true one."""
  params, x, y = problem()

  def update(window: estimators.Window, key: Key[Array, '']) -> tuple[estimators.Window, None]:
    draw, signs = jax.random.split(key)
    batch = jax.random.permutation(draw, EXAMPLES)[:BATCH]
    losses = functools.partial(squared_errors, x=x[batch], y=y[batch])
    estimate = from_directions(losses, params, signs, DIRECTIONS, EXAMPLES)
    return estimators.observe(window, estimate, True), None

  keys = jax.random.split(jax.random.key(0), UPDATES)
  window = jax.jit(lambda keys: jax.lax.scan(update, estimators.zero_window(), keys)[0])(keys)
  weights = np.concatenate([params['a'], params['b']])
  grads = np.float64(x * (x @ weights - y)[:, None])  # of every example, in closed form
  truth = grads.var(0, ddof=1).sum() / (grads.mean(0) ** 2).sum()
  return pooling.measured_interval([estimators.window_summary(window)]), float(truth)


if __name__ == '__main__':
  found, truth = measure()
  interval = f'[{found.low:.3g}, {found.high:.3g}]'
  print(f'noise scale {found.value:.3g} {interval} examples; exactly {truth:.3g}')
