"""Convolutions of stride 1 whose gradients are such convolutions again, for loops on CPU.

They are the form 'canonical' of convolution.py, in the shapes that XLA:CPU multiplies fastest.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], ...]
LAYOUT = ('NHWC', 'HWIO', 'NHWC')
# Where a CPU is faster with neighbours of a row as channels (`_folded`): at most so many channels
# of the outputs, of the images, and elements of the kernel. Measured in experiments/speed.
NARROW, SHALLOW, SMALL = 16, 4, 25


# A primitive of its own: it is bilinear, so two transposes give every derivative.
_unit_stride_p = Primitive('unit_stride_convolution')


def unit_stride(
  images: Float[Array, 'batch height width channel'],
  kernel: Float[Array, 'rows columns channel out_channel'],
  *,
  pads: Pads,
  precision: lax.PrecisionLike,
) -> Float[Array, 'batch out_height out_width out_channel']:
  """The convolution; its derivatives of every order are such convolutions too."""
  return _unit_stride_p.bind(images, kernel, pads=pads, precision=precision)


@partial(jax.jit, static_argnames=('pads', 'precision'))
def _native_unit_stride(images, kernel, *, pads, precision):
  """XLA's convolution, which computes neighbours of a row as channels of one place."""
  width = images.shape[2] + sum(pads[1]) - kernel.shape[1] + 1
  folded = _folded(kernel.shape, width)
  shifts = [(i, folded - 1 - i) for i in range(folded)]
  shifted = [jnp.pad(kernel, ((0, 0), shift, (0, 0), (0, 0))) for shift in shifts]
  out = lax.conv_general_dilated(
    images,
    jnp.concatenate(shifted, axis=-1),
    (1, folded),
    pads,
    dimension_numbers=LAYOUT,
    precision=precision,
  )
  return out.reshape(*out.shape[:2], width, kernel.shape[-1])


def _folded(kernel: tuple[int, ...], width: int) -> int:
  """How many neighbours of a row of `width` places become channels of one.

  Matrix products of few columns are slow; a kernel that is wider by some zeros has more of them.
  Images of few channels are read in short pieces, and a wider kernel reads fewer.
  """
  rows, columns, in_channels, out_channels = kernel
  folded = (2 if out_channels <= NARROW else 1) * (2 if in_channels <= SHALLOW else 1)
  return folded if rows * columns <= SMALL and width % folded == 0 else 1


def _images_cotangent(cotangent, images, kernel, *, pads, precision):
  pads = _mirrored(pads, kernel.shape)
  mirrored = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
  return unit_stride(cotangent, mirrored, pads=pads, precision=precision)


def _mirrored(pads: Pads, kernel: tuple[int, ...]) -> Pads:
  """The padding of outputs with which a kernel meets every place of the images again."""
  return tuple(
    (size - 1 - low, size - 1 - high) for size, (low, high) in zip(kernel[:2], pads, strict=True)
  )


def _kernel_cotangent(cotangent, images, kernel, *, pads, precision):
  """Channels act as the batch and examples as the channels of one more convolution.

  Either the images or the cotangent can be what moves. That one has its axes turned around, which
  is slow where XLA computes it anew on the way, as it does with activations: so the images stay,
  unless their channels, or places beside elements of the kernel, are few.
  """
  shape, channels = kernel.aval.shape, images.shape[-1]
  if channels < NARROW or math.prod(cotangent.shape[:3]) < math.prod(shape) // channels:
    turned, kept = images.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3)
    return unit_stride(turned, kept, pads=pads, precision=precision).transpose(1, 2, 0, 3)
  turned, kept = cotangent.transpose(3, 1, 2, 0), images.transpose(1, 2, 0, 3)
  out = unit_stride(turned, kept, pads=_mirrored(pads, shape), precision=precision)
  return jnp.flip(out, (1, 2)).transpose(1, 2, 3, 0)


def _batch(args, dims, **params):
  """One convolution of more examples where the kernel is shared, of more channels where images are.

  Otherwise a loop: grouped convolutions are slow on CPU.
  """
  conv = partial(unit_stride, **params)
  size = next(arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None)
  images, kernel = (
    arg if dim is None else jnp.moveaxis(arg, dim, 0) for arg, dim in zip(args, dims, strict=True)
  )
  if dims[1] is None:
    out = conv(images.reshape(-1, *images.shape[2:]), kernel)
    return out.reshape(size, -1, *out.shape[1:]), 0
  if dims[0] is None:
    channels = jnp.moveaxis(kernel, 0, 3)
    out = conv(images, channels.reshape(*channels.shape[:3], -1))
    return out.reshape(*out.shape[:3], size, -1), 3
  return lax.map(lambda lane: conv(*lane), (images, kernel)), 0


def _abstract(images, kernel, **params):
  return jax.make_jaxpr(partial(_native_unit_stride, **params))(images, kernel).out_avals[0]


_unit_stride_p.def_impl(_native_unit_stride)
_unit_stride_p.def_abstract_eval(_abstract)
mlir.register_lowering(_unit_stride_p, mlir.lower_fun(_native_unit_stride, multiple_results=False))
ad.defbilinear(_unit_stride_p, _images_cotangent, _kernel_cotangent)
batching.primitive_batchers[_unit_stride_p] = _batch
