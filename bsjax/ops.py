"""Convolution and pooling that stay fast inside loops on CPU.

XLA:CPU rewrites a convolution for its fast library only at the top level of a program. In the body
of a `lax.scan`, `lax.map` or `while_loop` the gradients of a native convolution keep the axis order
that differentiation gives them and run 10 to 20 times slower (jax issue 12868). The forms here need
no rewriting. All of them support forward and reverse differentiation of any order.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], ...]
LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def _taps(
  images: Float[Array, 'batch height width channel'],
  kernel_size: tuple[int, ...],
  strides: tuple[int, ...],
  pads: Pads,
) -> list[Float[Array, 'batch out_height out_width channel']]:
  """What each element of the kernel sees of the padded images, kernel rows first."""
  padded = lax.pad(
    images, jnp.zeros((), images.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0))
  )
  last = [size - kernel for size, kernel in zip(padded.shape[1:3], kernel_size, strict=True)]
  return [
    padded[:, row : row + last[0] + 1 : strides[0], column : column + last[1] + 1 : strides[1]]
    for row in range(kernel_size[0])
    for column in range(kernel_size[1])
  ]


def _im2col(images, kernel, strides, pads, precision):
  """One matrix product over patches; its gradients are matrix products, slices and pads."""
  patches = jnp.concatenate(_taps(images, kernel.shape[:2], strides, pads), axis=-1)
  out = jnp.dot(
    patches,
    kernel.reshape(-1, kernel.shape[-1]),
    precision=precision,
    # Otherwise the CPU may add up a bfloat16 kernel gradient in bfloat16.
    preferred_element_type=jnp.promote_types(images.dtype, jnp.float32),
  )
  return out.astype(images.dtype)


def _depthwise(images, kernel, strides, pads):
  """A sum of shifted elementwise products, one for each kernel element."""
  taps = _taps(images, kernel.shape[:2], strides, pads)
  weights = kernel.reshape(len(taps), kernel.shape[-1])
  return sum(tap * weight for tap, weight in zip(taps, weights, strict=True))


def patches(
  images: Float[Array, 'batch height width channel'],
  kernel_size: Sequence[int],
  strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
) -> Float[Array, 'position input']:
  """What a convolution's kernel sees at each position, in the order of its elements."""
  kernel_size, strides = tuple(kernel_size), tuple(strides)
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(images.shape[1:3], kernel_size, strides, padding)
  taps = jnp.concatenate(_taps(images, kernel_size, strides, tuple(padding)), axis=-1)
  return taps.reshape(-1, taps.shape[-1])


# Stride 1 as a primitive of its own: it is bilinear, so two transposes give every derivative.
_unit_stride_p = Primitive('unit_stride_convolution')


def _unit_stride(images, kernel, *, pads, precision):
  return _unit_stride_p.bind(images, kernel, pads=pads, precision=precision)


@partial(jax.jit, static_argnames=('pads', 'precision'))
def _native_unit_stride(images, kernel, *, pads, precision):
  return lax.conv_general_dilated(
    images, kernel, (1, 1), pads, dimension_numbers=LAYOUT, precision=precision
  )


def _images_cotangent(cotangent, images, kernel, *, pads, precision):
  pads = tuple(
    (size - 1 - low, size - 1 - high)
    for size, (low, high) in zip(kernel.shape[:2], pads, strict=True)
  )
  mirrored = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
  return _unit_stride(cotangent, mirrored, pads=pads, precision=precision)


def _kernel_cotangent(cotangent, images, kernel, *, pads, precision):
  """Channels act as the batch and examples as the channels of one more convolution."""
  transposed = _unit_stride(
    images.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3), pads=pads, precision=precision
  )
  return transposed.transpose(1, 2, 0, 3)


def _batch(args, dims, **params):
  """Shared kernel: one larger batch. Otherwise a loop: grouped convolutions are slow on CPU."""
  conv = partial(_unit_stride, **params)
  size = next(arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None)
  images, kernel = (
    arg if dim is None else jnp.moveaxis(arg, dim, 0) for arg, dim in zip(args, dims, strict=True)
  )
  if dims[1] is None:
    out = conv(images.reshape(-1, *images.shape[2:]), kernel)
    return out.reshape(size, -1, *out.shape[1:]), 0
  if dims[0] is None:
    return lax.map(lambda lane_kernel: conv(images, lane_kernel), kernel), 0
  return lax.map(lambda lane: conv(*lane), (images, kernel)), 0


def _abstract(images, kernel, **params):
  return jax.make_jaxpr(partial(_native_unit_stride, **params))(images, kernel).out_avals[0]


_unit_stride_p.def_impl(_native_unit_stride)
_unit_stride_p.def_abstract_eval(_abstract)
mlir.register_lowering(_unit_stride_p, mlir.lower_fun(_native_unit_stride, multiple_results=False))
ad.defbilinear(_unit_stride_p, _images_cotangent, _kernel_cotangent)
batching.primitive_batchers[_unit_stride_p] = _batch


def conv_general_dilated(
  lhs: Float[Array, '*images'],
  rhs: Float[Array, '*kernel'],
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  dimension_numbers=None,
  feature_group_count: int = 1,
  precision=None,
  *,
  form: str = 'canonical',
) -> Float[Array, '*out']:
  """`lax.conv_general_dilated` in another form: the same numbers up to the order of summation.

  Forms, for 2-D convolutions of channels-last images:

  - 'native': XLA's own. For accelerators, and on CPU outside of loops.
  - 'canonical': for loops on CPU. Stride 1 is a channels-last convolution whose two gradients are
    such convolutions again; larger strides and 1x1 kernels are 'im2col'. Under `vmap` with a
    kernel for each lane it loops over the lanes.
  - 'im2col': one matrix product over patches, batched by `vmap`. It keeps as many copies of the
    input as the kernel has elements, divided by the strides.

  Depthwise convolutions with one output for each input channel are shifted elementwise sums in
  both other forms. What is left (dilation, other groups, other layouts) is native in every form.
  """
  native = form == 'native' or _is_irregular(
    lhs, rhs, dimension_numbers, lhs_dilation, rhs_dilation, feature_group_count
  )
  if native:
    return lax.conv_general_dilated(
      lhs,
      rhs,
      window_strides,
      padding,
      lhs_dilation=lhs_dilation,
      rhs_dilation=rhs_dilation,
      dimension_numbers=dimension_numbers,
      feature_group_count=feature_group_count,
      precision=precision,
    )
  strides, kernel_size = tuple(window_strides), rhs.shape[:2]
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], kernel_size, strides, padding)
  pads = tuple((int(low), int(high)) for low, high in padding)
  if feature_group_count > 1:
    return _depthwise(lhs, rhs, strides, pads)
  if form == 'im2col' or strides != (1, 1) or kernel_size == (1, 1):
    return _im2col(lhs, rhs, strides, pads, precision)
  return _unit_stride(lhs, rhs, pads=pads, precision=precision)


def _is_irregular(lhs, rhs, dimension_numbers, lhs_dilation, rhs_dilation, groups) -> bool:
  """True if the convolution is not among those that have forms of their own here."""
  if lhs.ndim != 4 or any(step != 1 for step in (*(lhs_dilation or ()), *(rhs_dilation or ()))):
    return True
  layout = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
  if layout != lax.conv_dimension_numbers(lhs.shape, rhs.shape, LAYOUT):
    return True
  depthwise = groups == lhs.shape[-1] == rhs.shape[-1]
  return groups > 1 and not depthwise


# One object for each form, so that modules that hold one compare and hash equal.
FORMS = {
  form: partial(conv_general_dilated, form=form) for form in ('native', 'canonical', 'im2col')
}


def conv(form: str) -> Callable[..., Array]:
  """The convolution for `flax.linen.Conv(conv_general_dilated=...)` in one of `FORMS`."""
  if form not in FORMS:
    raise ValueError(f'convolution form {form!r} is unknown; choose one of {", ".join(FORMS)}')
  return FORMS[form]


def max_pool(
  images: Float[Array, 'batch height width channel'],
  window: tuple[int, int],
  strides: tuple[int, int],
  padding: str | Sequence[tuple[int, int]] = 'VALID',
) -> Float[Array, 'batch out_height out_width channel']:
  """Maximum over windows; about twice as fast on CPU where the windows tile the image exactly.

  Equal maxima of such a tile share the gradient; otherwise the first of them gets it all.
  """
  batch, height, width, channels = images.shape
  tiles = window == strides and height % window[0] == 0 and width % window[1] == 0
  if tiles and padding in ('VALID', 'SAME'):
    rows, columns = height // window[0], width // window[1]
    return images.reshape(batch, rows, window[0], columns, window[1], channels).max((2, 4))
  return nn.max_pool(images, window, strides, padding)
