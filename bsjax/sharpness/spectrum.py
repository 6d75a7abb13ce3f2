"""What the host makes of Lanczos and Hutchinson: eigenvalues with bounds, density, trace."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal

CONVERGED = 1e-3  # residual over the largest |eigenvalue|
GRID_POINTS = 256
KERNEL_SHARE = 0.01  # standard deviation of the smoothing kernel over the range of the nodes


class Ritz(NamedTuple):
  """Eigenvalues of a tridiagonal, descending.

  An eigenvalue of the Hessian lies within `residual` of each. `weight` is the squared first
  component of the eigenvector, which sums to 1: the spectral measure of the start.
  """

  value: Float[np.ndarray, ' step']
  residual: Float[np.ndarray, ' step']
  weight: Float[np.ndarray, ' step']


def ritz(alpha: Float[np.ndarray, ' step'], beta: Float[np.ndarray, ' step']) -> Ritz:
  """Ritz values of `hessian.lanczos`, residuals |beta_m s_mk| (Parlett 1998, section 13.2)."""
  a, b = np.asarray(alpha, np.float64), np.asarray(beta, np.float64)
  value, vectors = eigh_tridiagonal(a, b[:-1])
  return Ritz(value[::-1], abs(b[-1] * vectors[-1])[::-1], vectors[0, ::-1] ** 2)


def eigenvalue(values: Ritz, place: int) -> dict[str, Any]:
  """{value, residual, converged} of one Ritz value: place 0 is the largest, -1 the smallest.

  Ritz values lie between the smallest and the largest eigenvalue, but for rounding: what did not
  converge understates the largest.
  """
  residual = float(values.residual[place])
  return {
    'value': float(values.value[place]),
    'residual': residual,
    'converged': residual <= CONVERGED * float(abs(values.value).max()),
  }


def top_eigenvalues(values: Ritz, count: int) -> list[dict[str, Any]]:
  """The `count` largest eigenvalues, or as many as there are, largest first."""
  return [eigenvalue(values, place) for place in range(min(count, len(values.value)))]


def density(starts: list[Ritz]) -> dict[str, Any]:
  """The spectral density by stochastic Lanczos quadrature, smoothed by a Gaussian for the eye.

  Nodes and weights `[start, step]` are the averages' whole content: sum_k weight_k f(node_k)
  estimates tr f(H) / P (Golub and Welsch 1969; Ghorbani et al. 2019, arXiv:1901.10159, section 2).
  """
  nodes, weights = np.stack([r.value for r in starts]), np.stack([r.weight for r in starts])
  sigma = KERNEL_SHARE * max(np.ptp(nodes), abs(nodes).max(), np.finfo(np.float64).tiny)
  grid = np.linspace(nodes.min() - 4 * sigma, nodes.max() + 4 * sigma, GRID_POINTS)
  away = (grid[:, None] - nodes.ravel()) / sigma
  kernel = np.exp(-(away**2) / 2) / (sigma * math.sqrt(2 * math.pi))
  smoothed = kernel @ weights.ravel() / len(starts)
  lists = {'nodes': nodes, 'weights': weights, 'grid': grid, 'density': smoothed}
  return {name: array.tolist() for name, array in lists.items()} | {'sigma': float(sigma)}


def mean_and_standard_error(samples: Float[np.ndarray, ' probe']) -> tuple[float, float | None]:
  """The mean over probes and its standard error, None with one probe."""
  x = np.asarray(samples, np.float64)
  return float(x.mean()), float(x.std(ddof=1) / math.sqrt(x.size)) if x.size > 1 else None
