"""Noise scales from products of gradients, on the host in float64, with jackknife intervals.

For gradients g_1 ... g_n, each the mean over b different examples of N, and a metric M, whatever it
is (I, the square of an optimizer's scaling, a Hessian), with Sigma the covariance of the gradients
of single examples, normalised by N - 1:

  E g_i' M g_i = G' M G + tr(M Sigma) (1 / b - 1 / N)
  E g_i' M g_k = G' M G - tr(M Sigma) / N            for i and k different

So all noise scales tr(M Sigma) / G' M G are ratios of U-statistics of the same form (Hoeffding
1948), whose spread the jackknife gives: the formulas with one gradient left out are exact.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from bsjax.noise.estimators import finite
from bsjax.stats.intervals import PairMoments, fieller_from_moments
from bsjax.stats.jackknife import pseudo_values


def from_products(
  squares: Float[np.ndarray, ' observation'],
  with_mean: Float[np.ndarray, ' observation'],
  size: int,
  population: int,
) -> PairMoments:
  """The moments of (tr(M Sigma), G' M G) from g_i' M g_i and g_i' M (mean of all g).

  `size` examples make up each g_i, and no two share one. Where all of the population was measured
  the means are exact and the variances 0.
  """
  q, c = (np.asarray(x, np.float64) for x in (squares, with_mean))
  n = len(q)
  if not np.isfinite([q, c]).all():
    return PairMoments(*[math.nan] * 5, n=n)
  total = n * c.sum()  # (sum g)' M (sum g)
  means = _solve(q.mean(), (total - q.sum()) / (n * (n - 1)), size, population)
  left = n - 1
  others = total - 2 * n * c + q - (q.sum() - q)  # the same without g_i, and without squares
  without = _solve((q.sum() - q) / left, others / (left * (left - 1)), size, population)
  return _jackknife(means, without, n, 1 - n * size / population)


def from_curvature(
  products: Float[np.ndarray, 'block block block'], size: int, population: int
) -> PairMoments:
  """The moments of (tr(H Sigma), G' H G) from g_k' H_j g_l of blocks of `size` examples.

  Only triples of different blocks, and squares with another block's Hessian, are used, so nothing
  is correlated with itself.
  """
  a = np.asarray(products, np.float64)
  n = len(a)
  if not np.isfinite(a).all():
    return PairMoments(*[math.nan] * 5, n=n)
  means = _solve(*_block_means(a), size, population)
  kept = [np.delete(np.arange(n), i) for i in range(n)]
  parts = [_solve(*_block_means(a[np.ix_(k, k, k)]), size, population) for k in kept]
  # Even all of the population says G' H G exactly only if no triple is left out.
  return _jackknife(means, np.array(parts).T, n, unseen=1.0)


def _block_means(a: np.ndarray) -> tuple[float, float]:
  """The means of g_k' H_j g_k and of g_k' H_j g_l over different indices."""
  n = len(a)
  squares = np.einsum('jkk->jk', a)
  same = np.einsum('jj->j', squares)  # where all three indices are one
  mixed = np.einsum('jjl->j', a) - same  # where the Hessian is that of one of the gradients
  off = a.sum() - squares.sum() - 2 * mixed.sum()
  return (squares.sum() - same.sum()) / (n * (n - 1)), off / (n * (n - 1) * (n - 2))


def _solve(square, product, size: int, population: int):
  trace = size * (square - product)
  return trace, product + trace / population


def _jackknife(means: tuple, without: Any, n: int, unseen: float) -> PairMoments:
  """Moments of n pseudo-values; `unseen` is the share of the population that was not measured."""
  pseudo = pseudo_values(np.array(means), np.asarray(without))
  (var_a, cov), (_, var_b) = np.cov(pseudo) * max(unseen, 0.0)
  return PairMoments(*map(float, means), float(var_a), float(var_b), float(cov), n)


def ratio(moments: PairMoments) -> dict[str, Any]:
  """A noise scale as plain numbers: the two means, their ratio and its interval, or why not."""
  interval = fieller_from_moments(moments)
  named = {
    'trace': finite(moments.mean_a),
    'grad_sq': finite(moments.mean_b),
    'noise_scale': interval.value,
    'ci95': [interval.low, interval.high],
    'unbounded': interval.unbounded,
  }
  return named | ({'reason': interval.reasons} if interval.reasons else {})


def spread(moments: PairMoments) -> dict[str, Any]:
  """The (co)variances of n observations, whose means the means are; to pool lanes with."""
  names = {'trace_var': moments.var_a, 'grad_sq_var': moments.var_b, 'cov': moments.cov}
  return {'n': moments.n} | {name: finite(value) for name, value in names.items()}
