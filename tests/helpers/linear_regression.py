"""Linear regression, whose noise scale has a closed form."""

import numpy as np

EIGENVALUES = np.array([2.0, 1.0, 0.5, 0.25])
DISTANCE = np.array([0.6, -0.8, 1.0, 0.5])  # from the parameters to the generating ones
LABEL_NOISE = 0.5


def regression_truth() -> tuple[float, float]:
  """tr(Sigma) and |G|^2 of the squared error on x ~ N(0, diag(EIGENVALUES)).

  With d = DISTANCE and g = x (x.d - e): G = Lambda d, and by Isserlis' theorem
  E[x x' (x.d)^2] = Lambda (d' Lambda d) + 2 Lambda d d' Lambda, from which G G' is taken off.
  """
  mean = EIGENVALUES * DISTANCE
  residual = DISTANCE @ mean + LABEL_NOISE**2
  return float(EIGENVALUES.sum() * residual + mean @ mean), float(mean @ mean)
