"""Products and sums of matrix products and convolutions, counted in a program as JAX traces it."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

# Of images and kernels: those of `models/convolution.py` and `models/lane_convolution.py`.
CONVOLUTIONS = ('unit_stride_convolution', 'convolve_lanes')


def flops(jaxpr: Jaxpr) -> float:
  """Returns what a program computes: of a loop that counts at run time one round, of branches the
  cheapest, as a lane whose noise is not measured takes.
  """
  return sum((_of(equation) for equation in jaxpr.eqns), 0.0)


def _of(equation: Any) -> float:
  name, params = equation.primitive.name, equation.params
  shapes = [variable.aval.shape for variable in equation.invars]
  out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
  if name == 'dot_general':
    ((contracted, _), _) = params['dimension_numbers']
    return 2.0 * out * math.prod(shapes[0][axis] for axis in contracted)
  if name == 'conv_general_dilated':
    kernel = [shapes[1][axis] for axis in params['dimension_numbers'].rhs_spec]
    return 2.0 * out * math.prod(kernel[1:]) / math.prod(params['lhs_dilation'])
  if name in CONVOLUTIONS:
    return 2.0 * out * math.prod(shapes[1][-4:-1])
  if name == 'kernel_gradient_lanes':
    return 2.0 * out * math.prod(shapes[0][-4:-1])
  inside = [flops(inner) for inner in _inner(params)]
  if name == 'cond':
    return min(inside)
  return params.get('length', 1) * sum(inside, 0.0) if name == 'scan' else sum(inside, 0.0)


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
  """The programs that a step of a program holds."""
  for value in params.values():
    for one in value if isinstance(value, tuple | list) else (value,):
      if isinstance(one, ClosedJaxpr):
        yield one.jaxpr
      elif isinstance(one, Jaxpr):
        yield one
