"""The convolutions of a ResNet-20's three stages, with a kernel for each lane, form by form."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

from benchmark.protocol import Budget
from bsjax.models import convolution

SHAPES = ((32, 16), (16, 32), (8, 64))  # pixels of a row, channels
PRECISIONS = {'float32': lax.Precision.HIGHEST, 'tf32': lax.Precision.HIGH}
SECONDS = 0.1  # of calls, for one measurement


def forms(accelerator: bool) -> tuple[str, ...]:
  """The forms that could be chosen on a kind of device."""
  return ('native', 'im2col', 'pallas') if accelerator else ('canonical', 'im2col')


def every_form(
  accelerator: bool, lanes: int, micro_batch: int, repeats: int, budget: Budget
) -> dict[str, Any]:
  """Returns seconds forward and backward, and errors relative to the first form in float32.

  One row per shape, form and precision; backward is both gradients. What there is no time for, or
  what does not run here, is left out or says why.
  """
  rows: dict[str, Any] = {}
  for side, channels in SHAPES:
    rng = np.random.default_rng(0)
    images, cotangents = (
      jax.device_put(rng.standard_normal((lanes, micro_batch, side, side, channels), np.float32))
      for _ in range(2)
    )
    kernels = jax.device_put(rng.standard_normal((lanes, 3, 3, channels, channels), np.float32))
    exact = None
    for precision in PRECISIONS if accelerator else ('float32',):
      for form in forms(accelerator):
        if budget.left <= 0:
          return rows
        name = f'{side} x {side} x {channels}, {form}, {precision}'
        forward, backward = _functions(form, PRECISIONS[precision])
        try:
          out = forward(images, kernels), *backward(images, kernels, cotangents)
          timed = [
            _seconds(functools.partial(forward, images, kernels), repeats),
            _seconds(functools.partial(backward, images, kernels, cotangents), repeats),
          ]
        except jax.errors.JaxRuntimeError as error:
          rows[name] = {'not_measured': str(error).splitlines()[0][:200]}
          continue
        exact = exact or out
        errors = [_error(a, b) for a, b in zip(out, exact, strict=True)]
        flops = 2 * 9 * channels**2 * side**2 * micro_batch * lanes
        rows[name] = {
          'forward_seconds': timed[0],
          'backward_seconds': timed[1],
          'tflops': 3 * flops / (timed[0] + timed[1]) / 1e12,
          'errors': errors,
        }
  return rows


def _functions(form: str, precision: lax.Precision) -> tuple[Callable, Callable]:
  convolve = jax.vmap(
    functools.partial(
      convolution.conv(form),
      window_strides=(1, 1),
      padding='SAME',
      dimension_numbers=convolution.LAYOUT,
      precision=precision,
    )
  )
  return jax.jit(convolve), jax.jit(lambda x, k, g: jax.vjp(convolve, x, k)[1](g))


def _seconds(call: Callable[[], Any], repeats: int) -> float:
  """The least of a few measurements of a call, after one that compiles."""
  jax.block_until_ready(call())
  times: list[float] = []
  calls = 1
  while len(times) < repeats:
    begun = time.perf_counter()
    for _ in range(calls):
      out = call()
    jax.block_until_ready(out)
    took = time.perf_counter() - begun
    if took < SECONDS / 4:
      calls *= 4
    else:
      times.append(took / calls)
  return min(times)


def _error(a: jax.Array, b: jax.Array) -> float:
  a, b = (np.asarray(x[:2], np.float64) for x in (a, b))  # two lanes say it
  return float(np.linalg.norm(a - b) / np.linalg.norm(b))
