"""The gradient noise scale: unbiased estimates in the compiled program, their moments, the ratio.

B_simple = tr(Sigma) / |G|^2, with G the gradient of the whole training set and Sigma the covariance
of the gradients of single examples (McCandlish et al. 2018, arXiv:1812.06162). Everything but
`summary` and `b_simple` is pure JAX on the scalars of one lane. docs/noise_scale.md derives the
formulas; stats/intervals.py says how certain the ratio is.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from bsjax.noise.pooling import SPAN

Scalar = Float[Array, '']
Count = Int[Array, ''] | int


class Measurement(NamedTuple):
  """What one update says about the noise: two unbiased estimates, each of which may be far off.

  `trace` estimates tr(Sigma), normalised by N - 1 where the training set has N examples; `grad_sq`
  estimates |G|^2 and may be negative. Clamping either one biases every mean taken of it.
  """

  trace: Float[Array, '*lane']
  grad_sq: Float[Array, '*lane']


class Moments(NamedTuple):
  """Running means and centred second moments of the estimates of a window of updates.

  Centred, because the variance from a float32 sum of squares is lost where the mean is a thousand
  times the spread. `negative` counts the updates whose `grad_sq` was not above zero.
  """

  count: Int[Array, '*lane']
  trace: Float[Array, '*lane']
  grad_sq: Float[Array, '*lane']
  trace_m2: Float[Array, '*lane']
  grad_sq_m2: Float[Array, '*lane']
  cross_m2: Float[Array, '*lane']
  negative: Int[Array, '*lane']


class Window(NamedTuple):
  """What the updates since the last reset said: one by one, and averaged in spans of `SPAN`.

  Neighbouring updates may be correlated (pairs of micro-batches that share one, for instance);
  the means of whole spans hardly are, and they are closer to normal. So the spread of spans, not of
  updates, says how certain the means of the window are.
  """

  updates: Moments
  spans: Moments
  gathered: Int[Array, '*lane']  # updates in the span that is not full yet, and their sums
  trace_sum: Float[Array, '*lane']
  grad_sq_sum: Float[Array, '*lane']


def tree_sq_norm(tree: PyTree[Float[Array, '...']]) -> Scalar:
  """The squared Euclidean norm over all leaves, summed in float32 whatever their precision."""
  squares = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
  return sum(squares, jnp.zeros((), jnp.float32))


def from_two_batch_sizes(
  small_sq: Scalar, small_size: Count, big_sq: Scalar, big_size: Count, population: int | None
) -> Measurement:
  """From the squared gradient norms at two batch sizes and the same parameters (appendix A.1).

  Sizes count examples. Not finite unless small_size < big_size. `population` is the number of
  training examples drawn from without replacement within one epoch; None or 0: infinitely many.
  """
  small, big = jnp.float32(small_size), jnp.float32(big_size)
  small_factor, big_factor = (
    (1 - (size / population if population else 0.0)) / size for size in (small, big)
  )
  # A size against itself must be undefined, not a rounding error divided by zero.
  small_factor = jnp.where(small < big, small_factor, jnp.nan)
  return from_variances(small_sq - big_sq, big_sq, small_factor, big_factor)


def from_micro_batches(
  mean_micro_sq_norm: Scalar,
  mean_sq_norm: Scalar,
  accumulation: Count,
  micro_batch: int,
  population: int | None,
) -> Measurement:
  """From the `accumulation` micro-batch gradients g_j of one update: mean |g_j|^2 and |mean g_j|^2.

  One micro-batch alone cannot tell noise from gradient: with accumulation = 1 both estimates are
  NaN, for the caller to leave out (`add` with weight 0) or to replace by `from_pair`.
  """
  batch_size = accumulation * micro_batch
  return from_two_batch_sizes(mean_micro_sq_norm, micro_batch, mean_sq_norm, batch_size, population)


def from_per_example(
  mean_example_sq_norm: Scalar, mean_sq_norm: Scalar, batch_size: Count, population: int | None
) -> Measurement:
  """From the mean squared norm of single-example gradients, which are micro-batches of one."""
  return from_micro_batches(mean_example_sq_norm, mean_sq_norm, batch_size, 1, population)


def from_pair(
  grads_a: PyTree[Float[Array, '...']],
  grads_b: PyTree[Float[Array, '...']],
  small_factor: Scalar,
  big_factor: Scalar,
) -> Measurement:
  """From the gradients of two disjoint micro-batches at the same parameters.

  The factors are those of `from_variances`, for one micro-batch and for both together. The
  difference of squares does not cancel, by the parallelogram law:
  (|a|^2 + |b|^2) / 2 - |(a + b) / 2|^2 = |(a - b) / 2|^2.
  """

  def half(sign: int) -> PyTree:
    """Half the difference of the gradients, or of their sum."""
    return jax.tree.map(
      lambda a, b: (a.astype(jnp.float32) + sign * b.astype(jnp.float32)) / 2, grads_a, grads_b
    )

  return from_variances(tree_sq_norm(half(-1)), tree_sq_norm(half(+1)), small_factor, big_factor)


def variance_factor(start: Count, size: Count, population: int | None) -> Scalar:
  """What tr(Sigma) is multiplied by to give the variance of a mean over part of the stream.

  The stream of shuffled epochs from position `start` on, `size` examples long, holds n_e examples
  of epoch e. Two examples of one epoch are drawn without replacement, so their gradients have the
  covariance -Sigma / N; those of different epochs are independent. Hence the factor
  1 / size - sum_e n_e^2 / (size^2 N): 1 / size - 1 / N within an epoch, 0 for a whole one.

  `population` None: drawn with replacement, so all draws are independent and the factor is 1 / size
  wherever the part begins. Sigma is then the covariance under the probabilities of the draws.
  """
  if population is None:
    return 1 / jnp.float32(size)
  first = jnp.minimum(size, population - start % population)
  whole, last = jnp.divmod(size - first, population)
  shares = [jnp.float32(n) / jnp.float32(size) for n in (first, population, last)]
  overlap = shares[0] ** 2 + whole * shares[1] ** 2 + shares[2] ** 2
  return 1 / jnp.float32(size) - overlap / population


def from_variances(
  spread: Scalar, big_sq: Scalar, small_factor: Scalar, big_factor: Scalar
) -> Measurement:
  """Solves E|g|^2 = |G|^2 + factor tr(Sigma) for two draws at the same parameters.

  `spread` is the squared norm of the smaller draw's gradient less that of the larger, `big_sq` the
  latter. Not finite where the factors are equal.
  """
  gap = small_factor - big_factor
  trace = spread / jnp.where(gap > 0, gap, jnp.nan)
  return Measurement(trace, big_sq - trace * big_factor)


def zero_moments() -> Moments:
  """The moments of no updates, where every window starts."""
  count, value = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
  return Moments(count, value, value, value, value, value, count)


def zero_window() -> Window:
  """A window of no updates."""
  zero = jnp.zeros((), jnp.float32)
  return Window(zero_moments(), zero_moments(), jnp.zeros((), jnp.int32), zero, zero)


def merge(a: Moments, b: Moments) -> Moments:
  """The moments of both windows together (Chan, Golub and LeVeque 1983)."""
  count = a.count + b.count
  share = b.count / jnp.maximum(count, 1).astype(jnp.float32)
  weight = a.count * share
  d_trace, d_grad_sq = b.trace - a.trace, b.grad_sq - a.grad_sq
  # The weight comes before the second factor: with an empty window it is 0, and 0 * inf is NaN.
  return Moments(
    count=count,
    trace=a.trace + d_trace * share,
    grad_sq=a.grad_sq + d_grad_sq * share,
    trace_m2=a.trace_m2 + b.trace_m2 + weight * d_trace * d_trace,
    grad_sq_m2=a.grad_sq_m2 + b.grad_sq_m2 + weight * d_grad_sq * d_grad_sq,
    cross_m2=a.cross_m2 + b.cross_m2 + weight * d_trace * d_grad_sq,
    negative=a.negative + b.negative,
  )


def add(
  moments: Moments, measurement: Measurement, weight: Bool[Array, ''] | Float[Array, ''] | Count
) -> Moments:
  """Adds one update where `weight` is not zero; a weight of 0 leaves out even a NaN."""
  zero = jnp.zeros((), jnp.float32)
  single = Moments(
    count=jnp.ones((), jnp.int32),
    trace=measurement.trace,
    grad_sq=measurement.grad_sq,
    trace_m2=zero,
    grad_sq_m2=zero,
    cross_m2=zero,
    negative=(measurement.grad_sq <= 0).astype(jnp.int32),
  )
  # Selected, not multiplied: 0 * NaN is NaN.
  return jax.tree.map(lambda new, old: jnp.where(weight, new, old), merge(moments, single), moments)


def observe(
  window: Window, measurement: Measurement, weight: Bool[Array, ''] | Float[Array, ''] | Count
) -> Window:
  """Adds one update where `weight` is not zero, and its span when that is full."""
  before = window.gathered, window.trace_sum, window.grad_sq_sum
  added = jax.tree.map(jnp.add, before, (jnp.int32(1), measurement.trace, measurement.grad_sq))
  sums = jax.tree.map(lambda new, old: jnp.where(weight, new, old), added, before)
  gathered, trace_sum, grad_sq_sum = sums
  full = gathered == SPAN
  return Window(
    add(window.updates, measurement, weight),
    add(window.spans, Measurement(trace_sum / SPAN, grad_sq_sum / SPAN), full),
    *jax.tree.map(lambda x: jnp.where(full, jnp.zeros_like(x), x), sums),
  )


def window_summary(window: Window) -> dict[str, Any]:
  """One lane's window as plain numbers for its record: of updates, and below 'spans' of spans."""
  return {**summary(window.updates), 'spans': summary(window.spans)}


def summary(moments: Moments) -> dict[str, Any]:
  """Moments as plain numbers; None where undefined or not finite.

  `trace_var`, `grad_sq_var` and `cov` are sample (co)variances, normalised by count - 1; `negative`
  is the share of observations whose |G|^2 estimate was not above zero.
  """
  count = int(moments.count)

  def mean(value: Any) -> float | None:
    return finite(float(value)) if count > 0 else None

  def variance(m2: Any) -> float | None:
    return finite(float(m2) / (count - 1)) if count > 1 else None

  return {
    'count': count,
    'trace': mean(moments.trace),
    'grad_sq': mean(moments.grad_sq),
    'trace_var': variance(moments.trace_m2),
    'grad_sq_var': variance(moments.grad_sq_m2),
    'cov': variance(moments.cross_m2),
    'negative': int(moments.negative) / count if count else None,
  }


def b_simple(trace: float | None, grad_sq: float | None) -> float | None:
  """The noise scale in examples, from the *mean* trace and the *mean* |G|^2 of a window.

  None where either is missing or not finite, where the mean |G|^2 is not above zero, or where the
  mean trace is below zero, which only an estimate from two separate batch sizes can be.
  """
  if finite(trace) is None or finite(grad_sq) is None or grad_sq <= 0 or trace < 0:
    return None
  return finite(trace / grad_sq)


def finite(value: float | None) -> float | None:
  """The value, or None where it is missing or not finite."""
  return value if value is not None and math.isfinite(value) else None
