"""Convolution that stays fast inside loops on CPU.

XLA:CPU rewrites a convolution for its fast library only at the top level of a program. In the body
of a `lax.scan`, `lax.map` or `while_loop` the gradients of a native convolution keep the axis order
that differentiation gives them and run 10 to 20 times slower (jax issue 12868). The forms here need
no rewriting. All of them support forward and reverse differentiation of any order.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from bsjax.models import lane_convolution
from bsjax.models.unit_stride import LAYOUT, Pads, unit_stride


class Window(NamedTuple):
  """How a kernel moves over images; every field has an entry for rows and one for columns."""

  strides: tuple[int, ...]
  pads: Pads
  dilation: tuple[int, ...] = (1, 1)


def _taps(
  images: Float[Array, 'batch height width channel'], kernel_size: tuple[int, ...], window: Window
) -> list[Float[Array, 'batch out_height out_width channel']]:
  """What each element of the kernel sees of the padded images, kernel rows first."""
  (rows, columns), strides = window.pads, window.strides
  zero = jnp.zeros((), images.dtype)
  padded = lax.pad(images, zero, ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))
  sizes = zip(padded.shape[1:3], _extents(kernel_size, window.dilation), strict=True)
  height, width = (size - extent + 1 for size, extent in sizes)  # of the places of stride 1
  return [
    padded[:, row : row + height : strides[0], column : column + width : strides[1]]
    for row in range(0, kernel_size[0] * window.dilation[0], window.dilation[0])
    for column in range(0, kernel_size[1] * window.dilation[1], window.dilation[1])
  ]


def _extents(kernel_size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
  """Pixels from the first to the last that a kernel sees."""
  return tuple((size - 1) * step + 1 for size, step in zip(kernel_size, dilation, strict=True))


def _im2col(images, kernel, *, window, precision):
  """One matrix product over patches; its gradients are matrix products, slices and pads."""
  patches = jnp.concatenate(_taps(images, kernel.shape[:2], window), axis=-1)
  out = jnp.dot(
    patches,
    kernel.reshape(-1, kernel.shape[-1]),
    precision=precision,
    # Otherwise the CPU may add up a bfloat16 kernel gradient in bfloat16.
    preferred_element_type=jnp.promote_types(images.dtype, jnp.float32),
  )
  return out.astype(images.dtype)


def _depthwise(images, kernel, *, window):
  """A sum of shifted elementwise products, one for each kernel element."""
  wide = jnp.promote_types(images.dtype, jnp.float32)  # what is not a product adds up in its type
  taps = _taps(images.astype(wide), kernel.shape[:2], window)
  weights = kernel.astype(wide).reshape(len(taps), images.shape[-1], -1)
  if weights.shape[-1] == 1:
    out = sum(tap * weight for tap, weight in zip(taps, weights[..., 0], strict=True))
  else:
    out = sum(tap[..., None] * weight for tap, weight in zip(taps, weights, strict=True))
  return out.reshape(*out.shape[:3], -1).astype(images.dtype)


def _by_groups(convolution, images, kernel, groups):
  """Channels fall into groups of neighbours, each with a convolution of its own."""
  parts = (x.reshape(*x.shape[:3], groups, -1) for x in (images, kernel))
  out = jax.vmap(convolution, (3, 3), 3)(*parts)
  return out.reshape(*out.shape[:3], -1)


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
  window = Window(strides, tuple(padding))
  taps = jnp.concatenate(_taps(images, kernel_size, window), axis=-1)
  return taps.reshape(-1, taps.shape[-1])


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
    such convolutions again; larger strides, dilated and 1x1 kernels are 'im2col', and so are images
    of no more pixels than the kernel has elements, where it is up to 30 times faster. Under `vmap`
    with a kernel and images for each lane it loops over the lanes, and groups are such lanes.
  - 'im2col': one matrix product over patches, batched by `vmap` and over groups. It keeps as many
    copies of the input as the kernel has elements, divided by the strides.
  - 'pallas': for lanes on an NVIDIA GPU (lane_convolution.py), the most common shape by far; what
    is not of that shape is 'im2col'.

  Depthwise convolutions (a group for each input channel, of any number of output channels) are
  shifted elementwise sums in both other forms. What is left (dilated images, other layouts, other
  numbers of axes) is native in every form. `precision` holds for the gradients too.
  """
  if form == 'native' or _is_irregular(lhs, rhs, dimension_numbers, lhs_dilation):
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
  strides, dilation = tuple(window_strides), tuple(rhs_dilation or (1, 1))
  if isinstance(padding, str):
    extents = _extents(rhs.shape[:2], dilation)
    padding = lax.padtype_to_pads(lhs.shape[1:3], extents, strides, padding)
  pads = tuple((int(low), int(high)) for low, high in padding)
  window = Window(strides, pads, dilation)
  if feature_group_count == lhs.shape[-1] > 1:
    return _depthwise(lhs, rhs, window=window)
  unit = strides == dilation == (1, 1) != rhs.shape[:2]
  large = math.prod(lhs.shape[1:3]) > math.prod(rhs.shape[:2])
  if form == 'pallas' and unit and pads == ((1, 1), (1, 1)) and lane_convolution.takes(lhs, rhs):
    return lane_convolution.convolve(lhs, rhs, precision)
  if form == 'canonical' and unit and large:
    convolution = partial(unit_stride, pads=pads, precision=precision)
  else:
    convolution = partial(_im2col, window=window, precision=precision)
  if feature_group_count > 1:
    return _by_groups(convolution, lhs, rhs, feature_group_count)
  return convolution(lhs, rhs)


def _is_irregular(lhs, rhs, dimension_numbers, lhs_dilation) -> bool:
  """True if the convolution is not among those that have forms of their own here."""
  if lhs.ndim != 4 or any(step != 1 for step in lhs_dilation or ()):
    return True
  layout = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
  return layout != lax.conv_dimension_numbers(lhs.shape, rhs.shape, LAYOUT)


# One object for each form, so that modules that hold one compare and hash equal.
FORMS = {
  form: partial(conv_general_dilated, form=form)
  for form in ('native', 'canonical', 'im2col', 'pallas')
}


def conv(form: str) -> Callable[..., Array]:
  """The convolution for `flax.linen.Conv(conv_general_dilated=...)` in one of `FORMS`."""
  if form not in FORMS:
    raise ValueError(f'convolution form {form!r} is unknown; choose one of {", ".join(FORMS)}')
  return FORMS[form]
