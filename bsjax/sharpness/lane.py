"""Everything that is measured on one lane, as one pure function, before the host interprets it."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Int, PyTree

from bsjax.engine import lanes
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.evaluate import evaluate
from bsjax.engine.lanes import LaneParams, LaneSpec, LaneState
from bsjax.sharpness import hessian, measures
from bsjax.sharpness.objective import lane_objective

# What the seed's key is folded with. All lanes draw the same, so their differences are paired.
LANCZOS, TRACE, KESKAR, SLICES = range(4)


@dataclasses.dataclass(frozen=True)
class Options:
  """What to measure, fixed when the program is compiled."""

  examples: int = 2048  # of the training split; 0: all
  chunk: int = 256  # examples at a time, which bounds the memory
  steps: int = 40  # of Lanczos: Hessian-vector products per start
  starts: int = 4  # of Lanczos, for the density
  probes: int = 16  # of Hutchinson's trace
  eigenvalues: int = 5  # how many of the largest are written
  rho: float = 0.05  # radius of SAM
  adaptive_rho: float = 0.5  # radius of adaptive SAM
  epsilons: tuple[float, ...] = (1e-3, 5e-4)  # of Keskar's box
  seed: int = 0

  def key(self, purpose: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(self.seed), purpose)

  def problems(self) -> list[str]:
    """Lists what is wrong, each with its value and bound."""
    problems = []
    if self.examples < 0:
      problems.append(f'--examples={self.examples} must be at least 0; 0 takes all')
    for name in ('chunk', 'steps', 'starts', 'probes', 'eigenvalues'):
      if getattr(self, name) < 1:
        problems.append(f'--{name}={getattr(self, name)} must be at least 1')
    for name in ('rho', 'adaptive_rho'):
      if not 0 < getattr(self, name) < float('inf'):
        problems.append(f'--{name}={getattr(self, name)} must be finite and above 0')
    return problems


def in_float32(spec: LaneSpec) -> LaneSpec:
  """A spec with float32 arithmetic: second derivatives drown in the rounding of bfloat16."""
  exact = spec.model.clone(dtype=jnp.float32, precision=jax.lax.Precision.HIGHEST)
  return dataclasses.replace(spec, model=exact)


def as_state(spec: LaneSpec, image_shape: tuple[int, int, int], weights: PyTree) -> LaneState:
  """A lane's state with given parameters and statistics; the rest, which nothing reads, is new."""
  state = lanes.init(spec, LaneParams(0.0, 1, jnp.int32(0)), image_shape)
  return dataclasses.replace(state, **weights)


def measure(
  spec: LaneSpec,
  options: Options,
  image_shape: tuple[int, int, int],
  weights: PyTree,
  lane: Int[jax.Array, ''],
  examples: DeviceSplit,
  validation: DeviceSplit,
) -> dict[str, Any]:
  """Measures one lane in evaluation mode; what is undefined is NaN or infinite."""
  spec = in_float32(spec)
  state = as_state(spec, image_shape, weights)
  params = state.params
  objective = lane_objective(spec, state, examples, options.chunk)
  grads = objective.gradient(params)
  hvp = functools.partial(objective.hvp, params)
  sums = evaluate(spec, options.chunk, state, examples, validation)
  starts = jax.vmap(lambda i: jax.random.fold_in(options.key(LANCZOS), i))(
    jnp.arange(options.starts)
  )
  return {
    'train': sums.train,
    'val': sums.validation,
    'finite': sums.finite,
    'lanczos': jax.lax.map(lambda k: hessian.lanczos(hvp, k, params, options.steps), starts),
    'trace': hessian.trace_samples(hvp, options.key(TRACE), params, options.probes),
    'gradient_sq': optax.tree.vdot(grads, grads),
    'gradient_curvature': hessian.curvature_along(hvp, grads),
    'sam': measures.sam(objective, params, grads, options.rho),
    'adaptive_sam': measures.sam(objective, params, grads, options.adaptive_rho, adaptive=True),
    'keskar': jax.lax.map(
      lambda epsilon: measures.keskar(objective, params, options.key(KESKAR), epsilon),
      jnp.array(options.epsilons),
    ),
  }
