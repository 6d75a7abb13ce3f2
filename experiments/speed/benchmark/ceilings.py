"""What the device could do: a plain step of the model on a large batch, and matrix products."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmark import jax_loop, works
from benchmark.protocol import summary
from benchmark.works import Work

BATCHES = {'cpu': (16, 64, 256, 512), 'accelerator': (256, 1024, 4096)}
SIDES = {'cpu': (1024, 2048), 'accelerator': (4096, 8192)}
PRECISIONS = {
  'float32': (jnp.float32, jax.lax.Precision.HIGHEST),
  'tf32': (jnp.float32, jax.lax.Precision.HIGH),
  'bfloat16': (jnp.bfloat16, jax.lax.Precision.DEFAULT),
}


def flops_per_example(work: Work, batch_size: int = 64) -> float:
  """Floating-point operations of a training step for each example, as XLA counts them."""
  # On a CPU, which every JAX has: other backends count nothing before compiling, and compiled for
  # one, some rewritten products have no count.
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    step, arguments = _step(work, batch_size)
    return step.lower(*arguments).cost_analysis()['flops'] / batch_size


def plain_steps(work: Work, repeats: int) -> dict[int, dict[str, Any]]:
  """Examples per second of a plain step at each of a few large batch sizes."""
  throughputs = {}
  for size in BATCHES['accelerator' if work.accelerator else 'cpu']:
    step, (state, *batch) = _step(work, size)
    state = jax.block_until_ready(step(state, *batch))
    steps = 1
    rates = []
    while len(rates) < repeats:
      begun = time.perf_counter()
      for _ in range(steps):
        state = step(state, *batch)
      jax.block_until_ready(state)
      took = time.perf_counter() - begun
      if took < 0.1:
        steps *= 4
      else:
        rates.append(steps * size / took)
    throughputs[size] = summary(rates)
  return throughputs


def _step(work: Work, size: int) -> tuple[Callable, tuple]:
  step = jax.jit(functools.partial(jax_loop.train_step, works.model(work)), donate_argnums=0)
  batch = [jnp.asarray(np.resize(x, (size, *x.shape[1:]))) for x in works.evaluated(work)]
  return step, (jax_loop.initial(works.initial_params(work, 0)), jnp.float32(0.0), *batch)


def matmul_peak(accelerator: bool, precision: str, repeats: int) -> dict[str, Any]:
  """The best rate of square matrix products, in floating-point operations per second."""
  dtype, exactness = PRECISIONS[precision]
  best: dict[str, Any] = {}
  for side in SIDES['accelerator' if accelerator else 'cpu']:
    a = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
    product = jax.jit(lambda x, a=a: jnp.matmul(a, x, precision=exactness))
    x = jax.block_until_ready(product(a))
    count, rates = 1, []
    while len(rates) < repeats:
      begun = time.perf_counter()
      for _ in range(count):
        x = product(a)
      jax.block_until_ready(x)
      took = time.perf_counter() - begun
      if took < 0.1:
        count *= 4
      else:
        rates.append(2 * side**3 * count / took)
    row = {'side': side, **summary(rates)}
    best = max(best, row, key=lambda row: row.get('median', 0.0))
  return best


def shares(work: Work, us_per_lane_example: float, repeats: int) -> dict[str, Any]:
  """What the lanes achieve, as operations per second and as shares of both ceilings."""
  flops = flops_per_example(work)
  achieved = flops * 1e6 / us_per_lane_example
  plain = plain_steps(work, repeats)
  rate = max(row['median'] for row in plain.values())
  peak = matmul_peak(work.accelerator, work.config.model.dtype, repeats)
  return {
    'flops_per_example': flops,
    'achieved_flops': achieved,
    'plain_step_examples_per_second': {str(size): row for size, row in plain.items()},
    'share_of_plain_step': 1e6 / us_per_lane_example / rate,
    'matmul_peak_flops': peak,
    'share_of_matmul_peak': achieved / peak['median'],
  }
