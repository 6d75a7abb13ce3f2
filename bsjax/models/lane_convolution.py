"""3x3 convolutions with images and a kernel for each lane, as programs of an NVIDIA GPU.

Under `vmap` XLA makes one grouped convolution of those of all lanes, and of its weight gradient a
convolution whose window is the whole image, for which cuDNN has nothing fast: measured on an H200,
that one took three quarters of a tick of 105 lanes of ResNet-20 (experiments/speed). Here a program
of the GPU takes a few rows of one image of one lane, reads them once for all elements of the
kernel, and multiplies on tensor cores; nothing is copied into patches or other layouts. Everywhere
else the same functions are XLA's own convolutions.

They are primitives because both are linear in each of their two arguments: each is what the other
one's derivatives need, so every derivative of any order is one of them again.
"""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from bsjax.models.unit_stride import LAYOUT

SIZE = 3  # of the kernel, in rows and in columns
CHANNELS = (16, 32, 64)  # what a program holds at once; a tensor core takes no fewer
TILE, SMALLEST_TILE = 128, 16  # pixels that a program computes
GRADIENT_TILE = 32  # pixels that it adds up at a time for a weight gradient
WIDE = 64  # channels from which that takes larger tiles, and more threads
PROGRAMS = 8  # that share the images of a lane in a weight gradient, at most
INDEXED = 2**31  # elements that a program can tell apart


def takes(
  images: Float[Array, 'batch height width channel'], kernel: Float[Array, '*kernel']
) -> bool:
  """Whether there are programs for a convolution of stride 1 and padding 'SAME' of such shapes."""
  channels = kernel.shape[2:]
  pixels = images.shape[1] * images.shape[2]
  known = kernel.shape[:2] == (SIZE, SIZE) and all(count in CHANNELS for count in channels)
  return known and pixels % SMALLEST_TILE == 0 and images.shape[-1] == channels[0]


def convolve(
  images: Float[Array, 'batch height width channel'],
  kernel: Float[Array, '3 3 channel out'],
  precision: Any = None,
) -> Float[Array, 'batch height width out']:
  """The convolution of stride 1 that keeps the size of images, for shapes that `takes` takes.

  With `Precision.HIGHEST` a product of float32 numbers is three of their parts on tensor cores,
  and as exact as one of floats; otherwise it is one of tf32 numbers.
  """
  exact = precision in (lax.Precision.HIGHEST, (lax.Precision.HIGHEST,) * 2)
  return _convolve_p.bind(images[None], kernel[None], exact=exact)[0]


_convolve_p = Primitive('convolve_lanes')  # (images, kernels) -> images, behind an axis of lanes
_kernel_gradient_p = Primitive('kernel_gradient_lanes')  # (images, images) -> kernels


def _mirrored(kernels: Array) -> Array:
  """The kernels of the convolution that takes gradients back."""
  return jnp.flip(kernels, (1, 2)).swapaxes(3, 4)


def _same(images: Array, kernel: Array, *, exact: bool) -> Array:
  """XLA's convolution of one lane."""
  precision = lax.Precision.HIGHEST if exact else lax.Precision.HIGH
  return lax.conv_general_dilated(
    images, kernel, (1, 1), 'SAME', dimension_numbers=LAYOUT, precision=precision
  )


def _native_convolve(images: Array, kernels: Array, *, exact: bool) -> Array:
  return jax.vmap(functools.partial(_same, exact=exact))(images, kernels)


def _native_kernel_gradient(images: Array, cotangents: Array, *, exact: bool) -> Array:
  def of_lane(images: Array, cotangent: Array) -> Array:
    shape = (SIZE, SIZE, images.shape[-1], cotangent.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, images.dtype)
    transposed = jax.linear_transpose(lambda k: _same(images, k, exact=exact), kernel)
    return transposed(cotangent)[0]

  return jax.vmap(of_lane)(images, cotangents)


def _tile(pixels: int, most: int) -> int:
  """The largest power of two up to `most` that divides the pixels of an image."""
  return math.gcd(pixels, most)


def _share(images: int) -> int:
  """How many images of a lane a program of a weight gradient adds up: a divisor of them all."""
  least = max(2, -(-images // PROGRAMS))
  return next(count for count in range(min(least, images), images + 1) if images % count == 0)


def _in_parts(program: Any, *arrays: Array) -> Array:
  """Runs a program on so many lanes at once that it can tell their elements apart."""
  lanes, size = len(arrays[0]), max(array.size for array in arrays)
  parts = min(lanes, -(-size // (INDEXED - 1)))
  bounds = [lanes * part // parts for part in range(parts + 1)]
  results = [
    program(*(array[first:end] for array in arrays)) for first, end in itertools.pairwise(bounds)
  ]
  return results[0] if parts == 1 else jnp.concatenate(results)


def _gpu_convolve(images: Array, kernels: Array, *, exact: bool) -> Array:
  from bsjax.models import lane_kernels  # Pallas takes its time to import, for a GPU alone

  tile = _tile(images.shape[2] * images.shape[3], TILE)
  return _in_parts(
    functools.partial(lane_kernels.convolve, exact=exact, tile=tile), images, kernels
  )


def _gpu_kernel_gradient(images: Array, cotangents: Array, *, exact: bool) -> Array:
  from bsjax.models import lane_kernels

  wide = max(images.shape[-1], cotangents.shape[-1]) >= WIDE
  tile = _tile(images.shape[2] * images.shape[3], GRADIENT_TILE * (2 if wide else 1))
  share, warps = _share(images.shape[1]), 4 if wide else 2
  program = functools.partial(
    lane_kernels.kernel_gradient, exact=exact, tile=tile, share=share, warps=warps
  )
  return _in_parts(program, images, cotangents)


def _batch(primitive: Primitive, args: Any, dims: Any, **params: Any) -> tuple[Array, int]:
  """More lanes; what they share is repeated for each."""
  size = next(arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None)
  folded = []
  for arg, dim in zip(args, dims, strict=True):
    whole = jnp.broadcast_to(arg, (size, *arg.shape)) if dim is None else jnp.moveaxis(arg, dim, 0)
    folded.append(whole.reshape(-1, *whole.shape[2:]))
  out = primitive.bind(*folded, **params)
  return out.reshape(size, -1, *out.shape[1:]), 0


def _define(primitive: Primitive, native: Any, gpu: Any, cotangents: tuple[Any, Any]) -> None:
  primitive.def_impl(
    jax.jit(lambda *args, exact: primitive.bind(*args, exact=exact), static_argnames='exact')
  )
  primitive.def_abstract_eval(
    lambda *args, **params: jax.make_jaxpr(functools.partial(native, **params))(*args).out_avals[0]
  )
  mlir.register_lowering(primitive, mlir.lower_fun(native, multiple_results=False))
  mlir.register_lowering(primitive, mlir.lower_fun(gpu, multiple_results=False), platform='cuda')
  ad.defbilinear(primitive, *cotangents)
  batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)


def _images_cotangent(cotangent: Array, images: Any, kernels: Array, **params: Any) -> Array:
  return _convolve_p.bind(cotangent, _mirrored(kernels), **params)


def _kernels_cotangent(cotangent: Array, images: Array, kernels: Any, **params: Any) -> Array:
  return _kernel_gradient_p.bind(images, cotangent, **params)


def _images_of_gradient(cotangent: Array, images: Any, cotangents: Array, **params: Any) -> Array:
  return _convolve_p.bind(cotangents, _mirrored(cotangent), **params)


def _cotangents_of_gradient(
  cotangent: Array, images: Array, cotangents: Any, **params: Any
) -> Array:
  return _convolve_p.bind(images, cotangent, **params)


_define(_convolve_p, _native_convolve, _gpu_convolve, (_images_cotangent, _kernels_cotangent))
_define(
  _kernel_gradient_p,
  _native_kernel_gradient,
  _gpu_kernel_gradient,
  (_images_of_gradient, _cotangents_of_gradient),
)
