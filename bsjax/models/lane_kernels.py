"""The programs of `lane_convolution` for an NVIDIA GPU, in Pallas (Triton).

A program of the GPU runs for each lane, image and tile of pixels. Arrays have an axis of lanes in
front. Imported only where there is a GPU to compile for.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

SIZE = 3  # of a kernel, in rows and in columns
TAPS = SIZE * SIZE
TAPS_AT_ONCE = SIZE  # of a weight gradient; a program has registers for no more
STAGES = 2
Presets = lax.DotAlgorithmPreset


def _dot(a: Array, b: Array, exact: bool) -> Float[Array, 'row column']:
  """A product on tensor cores, added up in float32."""
  if a.dtype == jnp.bfloat16:
    preset = Presets.BF16_BF16_F32
  else:
    preset = Presets.TF32_TF32_F32_X3 if exact else Presets.TF32_TF32_F32
  axes = (((1,), (0,)), ((), ()))
  return lax.dot_general(a, b, axes, precision=preset, preferred_element_type=jnp.float32)


def _seen(
  images_ref: Any, image: Any, first: Any, count: int, tap: Any, shape: tuple[int, int]
) -> Array:
  """What an element of the kernel sees of `count` pixels of an image: zero beyond its edges."""
  (height, width), three = shape, jnp.int32(SIZE)
  pixel = first + lax.iota(jnp.int32, count)
  row = lax.div(pixel, jnp.int32(width)) + lax.div(tap, three) - 1
  column = lax.rem(pixel, jnp.int32(width)) + lax.rem(tap, three) - 1
  inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
  block = count, images_ref.shape[-1]
  where = jnp.broadcast_to(jnp.where(inside, row * width + column, 0)[:, None], block)
  channel = lax.broadcasted_iota(jnp.int32, block, 1)
  mask = jnp.broadcast_to(inside[:, None], block)
  at = jnp.broadcast_to(image, block), where, channel
  return triton.load(images_ref.at[at], mask=mask, other=0.0)


def _convolve(
  images_ref: Any, kernel_ref: Any, out_ref: Any, *, shape: tuple[int, int], exact: bool
) -> None:
  tile, out = out_ref.shape
  total = jnp.zeros((tile, out), jnp.float32)
  for tap in range(TAPS):
    seen = _seen(images_ref, 0, pl.program_id(2) * tile, tile, jnp.int32(tap), shape)
    total += _dot(seen, kernel_ref[tap], exact)
  out_ref[...] = total.astype(out_ref.dtype)


def convolve(
  images: Float[Array, 'lane batch height width channel'],
  kernels: Float[Array, 'lane 3 3 channel out'],
  exact: bool,
  tile: int,
  interpret: bool = False,
) -> Float[Array, 'lane batch height width out']:
  """Every lane's images convolved with its kernel; a program computes `tile` pixels."""
  lanes, batch, height, width, channels = images.shape
  pixels, out = height * width, kernels.shape[-1]
  program = pl.pallas_call(
    functools.partial(_convolve, shape=(height, width), exact=exact),
    grid=(lanes, batch, pixels // tile),
    in_specs=[
      pl.BlockSpec((None, 1, pixels, channels), lambda lane, image, _: (lane, image, 0, 0)),
      pl.BlockSpec((None, TAPS, channels, out), lambda lane, *_: (lane, 0, 0, 0)),
    ],
    out_specs=pl.BlockSpec((None, None, tile, out), lambda *at: (*at, 0)),
    out_shape=jax.ShapeDtypeStruct((lanes, batch, pixels, out), images.dtype),
    compiler_params=triton.CompilerParams(num_warps=4, num_stages=STAGES),
    interpret=interpret,
    name='convolve_lanes',
  )
  flat = images.reshape(lanes, batch, pixels, channels)
  result = program(flat, kernels.reshape(lanes, TAPS, channels, out).astype(images.dtype))
  return result.reshape(lanes, batch, height, width, out)


def _kernel_gradient(
  images_ref: Any,
  cotangents_ref: Any,
  out_ref: Any,
  *,
  shape: tuple[int, int],
  tile: int,
  exact: bool,
) -> None:
  images, pixels, _ = images_ref.shape
  tiles = pixels // tile
  first_tap = pl.program_id(2) * TAPS_AT_ONCE

  def add(number: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
    image, first = lax.div(number, jnp.int32(tiles)), lax.rem(number, jnp.int32(tiles)) * tile
    cotangent = cotangents_ref[image, pl.ds(first, tile), :]
    return tuple(
      total + _dot(_seen(images_ref, image, first, tile, first_tap + i, shape).T, cotangent, exact)
      for i, total in enumerate(totals)
    )

  nothing = jnp.zeros(out_ref.shape[1:], jnp.float32)
  totals = lax.fori_loop(0, images * tiles, add, (nothing,) * TAPS_AT_ONCE)
  for i, total in enumerate(totals):
    out_ref[i] = total


def kernel_gradient(
  images: Float[Array, 'lane batch height width channel'],
  cotangents: Float[Array, 'lane batch height width out'],
  exact: bool,
  tile: int,
  share: int,
  warps: int,
  interpret: bool = False,
) -> Float[Array, 'lane 3 3 channel out']:
  """The gradient of every lane's kernel; a program adds up `share` images, `tile` pixels a time."""
  lanes, batch, height, width, channels = images.shape
  pixels, out = height * width, cotangents.shape[-1]
  programs = batch // share
  whole = functools.partial(pl.BlockSpec, index_map=lambda lane, part, _: (lane, part, 0, 0))
  program = pl.pallas_call(
    functools.partial(_kernel_gradient, shape=(height, width), tile=tile, exact=exact),
    grid=(lanes, programs, TAPS // TAPS_AT_ONCE),
    in_specs=[whole((None, share, pixels, channels)), whole((None, share, pixels, out))],
    out_specs=pl.BlockSpec((None, None, TAPS_AT_ONCE, channels, out), lambda *at: (*at, 0, 0)),
    out_shape=jax.ShapeDtypeStruct((lanes, programs, TAPS, channels, out), jnp.float32),
    compiler_params=triton.CompilerParams(num_warps=warps, num_stages=STAGES),
    interpret=interpret,
    name='kernel_gradient_lanes',
  )
  parts = program(
    images.reshape(lanes, batch, pixels, channels), cotangents.reshape(lanes, batch, pixels, out)
  )
  return parts.sum(1).reshape(lanes, SIZE, SIZE, channels, out).astype(images.dtype)
