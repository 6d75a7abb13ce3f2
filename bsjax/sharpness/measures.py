"""How much the loss rises around the parameters: SAM, adaptive SAM, and Keskar's box.

Pure JAX on one lane. All are differences of losses in float32; below about 1e-6 of the loss they
are rounding, which rows.py reports as undefined. What cannot be had is NaN or infinite.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from bsjax.sharpness.objective import Objective

Scalar = Float[Array, '']
SUFFICIENT = 1e-4  # Armijo: the share of the linear increase that a step must keep
MOST_CUTS = 10  # of a step, each to a quarter


def sam(
  objective: Objective, params: PyTree, grads: PyTree, rho: float, adaptive: bool = False
) -> Scalar:
  """L(w + e) - L(w) at the first-order worst e of a ball of radius `rho`; NaN without a gradient.

  SAM (Foret et al. 2021, arXiv:2010.01412, eq. 2): |e| <= rho, so e = rho g / |g|. Adaptive (Kwon
  et al. 2021, arXiv:2102.11600, eq. 5): |e / |w|| <= rho, so e = rho w^2 g / |w g|, which does not
  change when a filter is rescaled and the next one makes up for it.
  """
  scaled = jax.tree.map(lambda g, w: g * jnp.abs(w), grads, params) if adaptive else grads
  radius = rho / jnp.sqrt(optax.tree.vdot(scaled, scaled))
  step = jax.tree.map(lambda g, w: g * jnp.abs(w), scaled, params) if adaptive else scaled
  moved = jax.tree.map(lambda w, e: w + radius * e, params, step)
  return objective.value(moved) - objective.value(params)


def keskar(
  objective: Objective,
  params: PyTree,
  key: Key[Array, ''],
  epsilon: float | Scalar,
  iterations: int = 20,
  starts: int = 2,
) -> Scalar:
  """100 (max f(x + z) - f(x)) / (1 + f(x)) over |z_i| <= epsilon (|x_i| + 1).

  Keskar et al. 2017 (arXiv:1609.04836, metric 2.1 with A = I). The maximum is the best of projected
  ascents from the parameters and from `starts` random corners, because at a minimum the gradient
  shows no way; in general it is a lower bound, on a concave or separable quadratic the maximum.
  """
  flat, unravel = ravel_pytree(params)
  box = epsilon * (jnp.abs(flat) + 1)

  def value(u: Array) -> Array:
    loss = objective.value(unravel(flat + box * u))
    return jnp.where(jnp.isnan(loss), jnp.inf, loss)  # comparisons would pass over a NaN

  def gradient(u: Array) -> Array:
    return box * ravel_pytree(objective.gradient(unravel(flat + box * u)))[0]

  corners = jax.random.rademacher(key, (starts, flat.size), flat.dtype)
  origins = jnp.concatenate([jnp.zeros((1, flat.size)), corners])
  highest = jax.lax.map(lambda u: ascend(value, gradient, u, iterations), origins).max()
  base = objective.value(params)
  return 100 * (highest - base) / (1 + base)


def ascend(
  value: Callable[[Array], Array],
  gradient: Callable[[Array], Array],
  start: Float[Array, ' parameter'],
  iterations: int,
) -> Scalar:
  """The highest value that projected ascent over the box [-1, 1] reaches; it never goes down.

  Every iteration takes the better of two points: along the projected gradient, with the spectral
  step of Birgin, Martinez and Raydan 2000 cut until the increase is sufficient, which converges to
  maxima inside the box; and the corner that the signs of the gradient point to, which does not go
  down where the function is convex.
  """

  def iterate(_: Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
    u, highest, grad, step = carry
    along, height = _backtrack(value, u, highest, grad, step)
    corner = jnp.where(grad == 0, u, jnp.sign(grad))
    corner_height = value(corner)
    better = corner_height > height
    new = jnp.where(better, corner, along)
    new_grad = gradient(new)
    moved = new - u
    spectral = moved @ moved / jnp.abs(moved @ (new_grad - grad))
    step = jnp.where(jnp.isfinite(spectral) & (spectral > 0), spectral, _crossing(new_grad))
    return new, jnp.maximum(height, corner_height), new_grad, step

  grad = gradient(start)
  carry = (start, value(start), grad, _crossing(grad))
  return jax.lax.fori_loop(0, iterations, iterate, carry)[1]


def _crossing(grad: Array) -> Array:
  """The step along the gradient that crosses the whole box in its largest component."""
  return 2 / jnp.maximum(jnp.abs(grad).max(), jnp.finfo(grad.dtype).tiny)


def _backtrack(
  value: Callable[[Array], Array], u: Array, height: Array, grad: Array, step: Array
) -> tuple[Array, Array]:
  """The first point of the projection arc, cutting the step, that rises enough; else `u`."""

  def rises_enough(point: Array, reached: Array) -> Array:
    return reached >= height + SUFFICIENT * (grad @ (point - u))

  def cut(carry: tuple[Any, ...]) -> tuple[Any, ...]:
    step, _, _, tries = carry
    point = jnp.clip(u + step * grad, -1, 1)
    return step / 4, point, value(point), tries + 1

  def too_long(carry: tuple[Any, ...]) -> Array:
    _, point, reached, tries = carry
    return (tries == 0) | (~rises_enough(point, reached) & (tries <= MOST_CUTS))

  _, point, reached, _ = jax.lax.while_loop(too_long, cut, (step, u, height, 0))
  accepted = rises_enough(point, reached)
  return jnp.where(accepted, point, u), jnp.where(accepted, reached, height)
