"""The Hessian through its products with vectors: Lanczos, Hutchinson's trace, one curvature.

Pure JAX on the parameters of one lane; `hvp(vector)` multiplies by the Hessian. What the host makes
of the results is in spectrum.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

Hvp = Callable[[PyTree], PyTree]

# Next to the largest |H v| so far, a remainder smaller than this is rounding in float32: the
# Krylov space is invariant and has no further direction of its own.
BREAKDOWN = 1e-6


class Tridiagonal(NamedTuple):
  """Diagonal and off-diagonal of the Hessian in the Lanczos basis.

  `beta[j]` couples j and j + 1; the last one couples to what was left out, for residuals. It is
  exactly 0 where the Krylov space of the start was found to be invariant.
  """

  alpha: Float[Array, '*lane step']
  beta: Float[Array, '*lane step']


def lanczos(hvp: Hvp, key: Key[Array, ''], like: PyTree, steps: int) -> Tridiagonal:
  """The Lanczos recurrence with full reorthogonalization from a random start.

  Without it, rounding makes the basis lose orthogonality as soon as one eigenvalue has converged,
  which then appears again and again ("ghosts"); projecting on all earlier vectors twice is enough
  (Parlett 1998, The Symmetric Eigenvalue Problem, section 6.9). Where the space becomes invariant
  the recurrence continues, uncoupled, from a new random direction orthogonal to it, so repeated
  eigenvalues and rank deficiency are no exception. `steps` is at most the number of parameters.
  """
  flat, unravel = ravel_pytree(like)
  steps = min(steps, flat.size)

  def draw(j: Array | int) -> Array:
    return jax.random.normal(jax.random.fold_in(key, j), flat.shape)

  def unit(v: Array) -> Array:
    return v / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(v.dtype).tiny)

  def orthogonal(v: Array, basis: Array) -> Array:
    for _ in range(2):
      v = v - basis.T @ (basis @ v)  # rows not yet filled are zero
    return v

  def step(carry: tuple[Array, ...], j: Array) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
    basis, v, scale = carry
    basis = basis.at[j].set(v)
    image = ravel_pytree(hvp(unravel(v)))[0]
    scale = jnp.maximum(scale, jnp.linalg.norm(image))
    rest = orthogonal(image, basis)
    norm = jnp.linalg.norm(rest)
    invariant = norm <= BREAKDOWN * scale
    # Made a unit vector in between: of a random vector little may be left in a small complement.
    fresh = unit(orthogonal(unit(orthogonal(draw(j + 1), basis)), basis))
    following = jnp.where(invariant, fresh, unit(rest))
    return (basis, following, scale), (v @ image, jnp.where(invariant, 0.0, norm))

  first = (jnp.zeros((steps, flat.size)), unit(draw(0)), jnp.zeros(()))
  alpha, beta = jax.lax.scan(step, first, jnp.arange(steps))[1]
  return Tridiagonal(alpha, beta)


def rademacher_like(key: Key[Array, ''], like: PyTree) -> PyTree:
  """Random signs in the shapes of `like`, every leaf from a key of its own.

  With one key for all leaves equal shapes would get equal signs, and the blocks of the Hessian
  between them would not cancel from the trace.
  """
  leaves, structure = jax.tree.flatten(like)
  signs = [
    jax.random.rademacher(jax.random.fold_in(key, i), leaf.shape, jnp.float32)
    for i, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(structure, signs)


def trace_samples(
  hvp: Hvp, key: Key[Array, ''], like: PyTree, probes: int
) -> Float[Array, ' probe']:
  """Hutchinson's unbiased estimates z'Hz of the trace, one for each probe of random signs z.

  Their variance is twice the sum of the squares of all off-diagonal elements (Hutchinson 1990, "A
  stochastic estimator of the trace of the influence matrix").
  """

  def probe(index: Array) -> Array:
    z = rademacher_like(jax.random.fold_in(key, index), like)
    return optax.tree.vdot(z, hvp(z))

  return jax.lax.map(probe, jnp.arange(probes))


def curvature_along(hvp: Hvp, vector: PyTree) -> Float[Array, '']:
  """v'Hv / |v|^2, NaN for a vector of zeros; along the gradient, what a small step of SGD meets."""
  return optax.tree.vdot(vector, hvp(vector)) / optax.tree.vdot(vector, vector)
