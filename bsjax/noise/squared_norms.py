"""The gradient noise scale from squared norms of gradients that any framework computed; no JAX."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from bsjax.noise import pooling
from bsjax.stats.estimate import Estimate


def from_squared_norms(
  small: ArrayLike,
  large: ArrayLike,
  small_size: int,
  large_size: int,
  population: int | None = None,
  confidence: float = 0.95,
) -> Estimate:
  """Returns the noise scale B_simple = tr(Sigma) / |G|^2, in examples, with Fieller's interval.

  From squared norms of mean gradients at two batch sizes, one pair per update, both at the
  parameters before it: micro-batches or replicas of `small_size` examples (the mean of their
  squared norms, which is far less noisy than one of them) and the whole batch of `large_size`.
  McCandlish et al. 2018 (arXiv:1812.06162), appendix A.1. `population` is the number of training
  examples where an epoch draws each once, else None. `unbounded` in the result says that the data
  allow any value above `low`: measure more updates, or larger batches.

  Raises ValueError where sizes or shapes do not fit.
  """
  pair = np.asarray(small, np.float64), np.asarray(large, np.float64)
  if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
    raise ValueError(
      f'small has the shape {pair[0].shape} and large {pair[1].shape}: give one squared norm per'
      ' update of each, as two equally long lists'
    )
  if not 0 < small_size < large_size <= (population or large_size):
    raise ValueError(
      f'small_size={small_size}, large_size={large_size}, population={population}: micro-batches'
      ' must be smaller than the batch, and the batch no larger than the training set'
    )
  trace = (pair[0] - pair[1]) / (1 / small_size - 1 / large_size)
  grad_sq = pair[1] - trace * (1 / large_size - (1 / population if population else 0.0))
  spans = [x[: len(x) // pooling.SPAN * pooling.SPAN] for x in (trace, grad_sq)]
  spans = [x.reshape(-1, pooling.SPAN).mean(1) for x in spans]
  window = {**_summary(trace, grad_sq), 'spans': _summary(*spans)}
  return pooling.measured_interval([window], confidence)


def _summary(
  trace: Float[np.ndarray, ' update'], grad_sq: Float[np.ndarray, ' update']
) -> dict[str, Any]:
  """Moments as `estimators.summary` gives them of a window inside a JAX program."""
  count = len(trace)
  means = {'trace': trace.mean(), 'grad_sq': grad_sq.mean()} if count else {}
  if count < 2:
    return {'count': count, **means, 'trace_var': None, 'grad_sq_var': None, 'cov': None}
  (trace_var, cov), (_, grad_sq_var) = np.cov(trace, grad_sq)
  return {'count': count, **means, 'trace_var': trace_var, 'grad_sq_var': grad_sq_var, 'cov': cov}
