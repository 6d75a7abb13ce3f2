"""Every form of a convolution against XLA's own: values, derivatives, and what is compiled."""

import re
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bsjax.models import convolution


class Case(NamedTuple):
  images: tuple[int, ...]
  kernel_size: tuple[int, ...]
  channels: int
  strides: tuple[int, ...] = (1, 1)
  padding: str | tuple = 'SAME'
  groups: int = 1
  dilation: tuple[int, ...] = (1, 1)


CASES = {
  'same': Case((2, 8, 8, 3), (3, 3), 5),
  'valid': Case((2, 8, 7, 3), (3, 3), 5, padding='VALID'),
  'even': Case((2, 7, 8, 3), (2, 4), 5),
  'wide_padding': Case((2, 5, 5, 3), (3, 3), 5, padding=((4, 1), (0, 3))),
  'narrow': Case((2, 8, 8, 16), (3, 3), 14),  # neighbours are folded into channels
  'narrow_odd': Case((2, 6, 7, 17), (3, 3), 16),
  'narrow_even': Case((2, 7, 8, 20), (2, 4), 3, padding=((3, 0), (1, 4))),
  'shallow_wide': Case((2, 8, 8, 4), (3, 3), 20),
  'deep': Case((2, 12, 8, 17), (3, 3), 18),
  'deep_small': Case((2, 4, 4, 17), (3, 3), 18),
  'tiny': Case((2, 2, 3, 3), (3, 3), 5),
  'stride2': Case((2, 8, 7, 3), (3, 3), 5, (2, 2)),
  'stride2_explicit': Case((2, 8, 8, 3), (3, 3), 5, (2, 2), ((1, 1), (1, 1))),
  'stride2_even': Case((2, 9, 8, 3), (4, 2), 5, (2, 2), 'VALID'),
  'stride32': Case((2, 11, 10, 3), (5, 3), 4, (3, 2)),
  'stem': Case((2, 14, 14, 3), (7, 7), 4, (2, 2), ((3, 3), (3, 3))),
  'pointwise': Case((2, 6, 6, 3), (1, 1), 5),
  'pointwise_stride2': Case((2, 7, 6, 3), (1, 1), 5, (2, 2), 'VALID'),
  'depthwise': Case((2, 8, 8, 6), (3, 3), 6, groups=6),
  'depthwise_stride2': Case((2, 8, 7, 6), (3, 3), 6, (2, 2), groups=6),
  'multiplied': Case((2, 8, 7, 3), (3, 3), 6, groups=3),
  'multiplied_stride2': Case((2, 8, 7, 3), (3, 3), 6, (2, 2), groups=3),
  'grouped': Case((2, 8, 7, 6), (3, 3), 4, groups=2),
  'grouped_stride2': Case((2, 8, 7, 6), (3, 3), 4, (2, 2), groups=2),
  'grouped_pointwise': Case((2, 6, 6, 6), (1, 1), 4, groups=2),
  'dilated': Case((2, 9, 8, 3), (3, 2), 5, dilation=(2, 3)),
  'dilated_stride2': Case((2, 9, 8, 3), (3, 2), 5, (2, 1), 'VALID', dilation=(1, 2)),
  'dilated_grouped': Case((2, 9, 8, 6), (3, 3), 4, groups=2, dilation=(2, 1)),
  'dilated_depthwise': Case((2, 9, 8, 3), (3, 3), 3, groups=3, dilation=(2, 2)),
}
SOME = (
  'narrow',
  'narrow_even',
  'valid',
  'tiny',
  'stride2',
  'pointwise',
  'multiplied',
  'grouped',
  'grouped_stride2',
  'dilated',
)


def operands(case, lanes=(), dtype=jnp.float32):
  case, random = CASES[case], np.random.default_rng(0)
  kernel = (*case.kernel_size, case.images[-1] // case.groups, case.channels)
  images = random.normal(size=(*lanes, *case.images))
  weights = random.normal(size=(*lanes, *kernel))
  return jnp.asarray(images, dtype), jnp.asarray(weights, dtype)


def convolve(case, form, precision=None):
  case = CASES[case]
  return lambda images, kernel: convolution.conv(form)(
    images,
    kernel,
    case.strides,
    case.padding,
    rhs_dilation=case.dilation,
    dimension_numbers=convolution.LAYOUT,
    feature_group_count=case.groups,
    precision=precision,
  )


def loss(case, form, precision=None):
  return lambda images, kernel: jnp.sin(convolve(case, form, precision)(images, kernel)).sum()


def both_gradients(case, form, precision=None):
  return jax.grad(loss(case, form, precision), (0, 1))


def assert_close(actual, expected, rtol=1e-5):
  """Equal up to `rtol` of the norm of each array."""
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    assert a.shape == b.shape and a.dtype == b.dtype
    norm = float(np.linalg.norm(np.asarray(b, np.float64)))
    assert norm > 0
    assert float(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b))) <= rtol * norm


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', CASES)
def test_values_and_both_gradients_equal_native(case, form):
  images, kernel = operands(case)
  assert_close(
    jax.jit(convolve(case, form))(images, kernel), convolve(case, 'native')(images, kernel)
  )
  assert_close(
    jax.jit(both_gradients(case, form))(images, kernel),
    jax.jit(both_gradients(case, 'native'))(images, kernel),
  )


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', SOME)
@pytest.mark.parametrize('mapped', [(True, True), (True, False), (False, True)])
def test_vmap_over_lanes_equals_each_lane(case, form, mapped):
  images, kernel = operands(case, lanes=(3,))
  args = [x if is_mapped else x[0] for x, is_mapped in zip((images, kernel), mapped, strict=True)]
  axes = tuple(0 if is_mapped else None for is_mapped in mapped)
  actual = jax.jit(jax.vmap(both_gradients(case, form), axes))(*args)
  for lane in range(3):
    one = [x[lane] if is_mapped else x for x, is_mapped in zip(args, mapped, strict=True)]
    expected = jax.jit(both_gradients(case, 'native'))(*one)
    assert_close(jax.tree.map(lambda x, lane=lane: x[lane], actual), expected)


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['same', 'stride2'])
def test_gradient_outside_of_vmap(case, form):
  def total(name):
    return lambda *args: jax.vmap(loss(case, name))(*args).sum()

  args = operands(case, lanes=(3,))
  assert_close(
    jax.grad(total(form), (0, 1))(*args), jax.jit(jax.grad(total('native'), (0, 1)))(*args)
  )


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['same', 'grouped', 'depthwise'])
def test_gradient_of_lanes_of_trials_that_share_their_images(case, form):
  images, kernel = operands(case, lanes=(2, 3))
  images = images[:, 0]  # of a trial

  def total(name):
    of_trial = jax.vmap(loss(case, name), (None, 0))
    weights = jnp.arange(1.0, 7.0).reshape(2, 3)  # or lanes that change places go unnoticed
    return lambda *args: jnp.vdot(jax.vmap(of_trial)(*args), weights)

  assert_close(
    jax.jit(jax.grad(total(form), (0, 1)))(images, kernel),
    jax.jit(jax.grad(total('native'), (0, 1)))(images, kernel),
  )


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['same', 'stride2', 'pointwise_stride2', 'depthwise', 'grouped'])
def test_training_lanes_in_loops_equals_native_steps(case, form):
  images, kernel = operands(case, lanes=(2,))

  def descend(form):
    def step(carried, x):
      drift, weights = carried
      of_images, of_kernel = jax.grad(loss(case, form), (0, 1))(x + drift, weights)
      return (drift - 0.01 * of_images, weights - 0.01 * of_kernel), None

    return step

  start = jnp.zeros_like(images[0])
  looped = lax.map(lambda w: lax.scan(descend(form), (start, w), images)[0], kernel)
  step = jax.jit(descend('native'))
  for lane in range(2):
    carried = start, kernel[lane]
    for x in images:
      carried, _ = step(carried, x)
    assert_close(jax.tree.map(lambda x, lane=lane: x[lane], looped), carried)


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['even', 'stride2', 'depthwise', 'grouped'])
def test_hessian_vector_products_of_both_orders_equal_native(case, form):
  images, kernel = operands(case)
  vector = kernel[::-1]

  @partial(jax.jit, static_argnums=0)
  def products(name):
    gradient = jax.grad(lambda w: loss(case, name)(images, w))
    forward_over_reverse = jax.jvp(gradient, (kernel,), (vector,))[1]
    reverse_over_reverse = jax.grad(lambda w: jnp.vdot(gradient(w), vector))(kernel)
    return forward_over_reverse, reverse_over_reverse

  forward, reverse = products(form)
  expected = products('native')[0]
  assert_close(forward, expected)
  assert_close(reverse, expected)


CHANNELS_LAST = '[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]', '1'


def convolutions(function, *args):
  """The dimension numbers and the number of groups of all convolutions of a program."""
  text = jax.jit(function).lower(*args).as_text()
  return re.findall(
    r'stablehlo\.convolution\(.*?\) dim_numbers = (.*?), window.*?feature_group_count = (\d+)', text
  )


@pytest.mark.parametrize('case', CASES)
def test_canonical_form_compiles_no_convolution_that_is_slow_in_loops(case):
  found = {
    form: convolutions(both_gradients(case, form), *operands(case)) for form in convolution.FORMS
  }
  assert set(found['canonical']) <= {CHANNELS_LAST}
  assert found['im2col'] == []
  assert set(found['native']) - {CHANNELS_LAST}  # the pattern does find slow ones


@pytest.mark.parametrize(
  'case, kernel',
  [
    ('narrow', '3x4x16x28'),  # two neighbours of a row
    ('narrow_odd', '3x3x17x16'),  # a row of 7 has no halves
    ('shallow_wide', '3x4x4x40'),
    ('same', '3x6x3x20'),  # narrow and shallow: four neighbours
    ('deep', '3x3x17x18'),
  ],
)
def test_neighbours_are_channels_where_there_are_few(case, kernel):
  text = jax.jit(convolve(case, 'canonical')).lower(*operands(case)).as_text()
  assert re.findall(r'convolution\(.*, tensor<(\w+)xf32>\) ->', text) == [kernel]


@pytest.mark.parametrize(
  'case, turned',
  [
    ('deep', '18x12x8x2'),  # the cotangent, with its axes turned around
    ('deep_small', '17x4x4x2'),  # few places: the images
    ('shallow_wide', '4x8x8x2'),  # few channels: the images
  ],
)
def test_kernel_gradient_turns_the_axes_of_activations_only_where_they_are_few(case, turned):
  gradient = jax.grad(loss(case, 'canonical'), 1)
  text = jax.jit(gradient).lower(*operands(case)).as_text()
  images = re.findall(r'convolution\(.*: \(tensor<(\w+)xf32>, tensor', text)
  shown = {'18x12x8x2', '17x12x8x2', '17x4x4x2', '18x4x4x2', '4x8x8x2', '20x8x8x2'} & set(images)
  assert shown == {turned}


def test_canonical_form_takes_one_convolution_for_all_kernels_of_shared_images():
  images, kernel = operands('same', lanes=(3,))
  images = images[0]
  forward = jax.vmap(convolve('same', 'canonical'), (None, 0))
  assert convolutions(forward, images, kernel) == [CHANNELS_LAST]
  assert 'scan' not in str(jax.make_jaxpr(forward)(images, kernel))
  of_kernel = jax.vmap(jax.grad(loss('same', 'canonical'), 1), (None, 0))
  assert convolutions(of_kernel, images, kernel) == [CHANNELS_LAST] * 2
  assert 'scan' not in str(jax.make_jaxpr(of_kernel)(images, kernel))
  of_both = jax.vmap(both_gradients('same', 'canonical'), (None, 0))
  assert set(convolutions(of_both, images, kernel)) == {CHANNELS_LAST}


@pytest.mark.parametrize('form', convolution.FORMS)
@pytest.mark.parametrize('case', CASES)
def test_precision_is_that_of_both_gradients_too(case, form):
  gradients = both_gradients(case, form, lax.Precision.HIGH)
  text = jax.jit(jax.vmap(gradients)).lower(*operands(case, lanes=(2,))).as_text()
  products = [line for line in text.splitlines() if re.search(r'dot_general |convolution\(', line)]
  if form == 'native' or CASES[case].groups < CASES[case].images[-1]:
    assert len(products) >= 3
  assert all(re.findall(r'\b(?:DEFAULT|HIGH|HIGHEST)\b', line) == ['HIGH'] * 2 for line in products)


def test_products_of_bfloat16_patches_are_added_up_in_float32():
  """By the program: whether a processor would round in between depends on the processor."""
  operands_ = operands('same', dtype=jnp.bfloat16)

  def gradients(images, kernel):
    out, vjp = jax.vjp(convolve('same', 'im2col'), images, kernel)
    return vjp(out)

  text = jax.jit(gradients).lower(*operands_).as_text()
  products = [line for line in text.splitlines() if 'dot_general' in line]
  assert len(products) == 3
  assert all(re.search(r'-> tensor<(\d+x)*f32>', line) for line in products)


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['same', 'stride2', 'pointwise', 'multiplied', 'grouped'])
def test_bfloat16_gradients_are_accumulated_in_higher_precision(case, form):
  images, kernel = operands(case, dtype=jnp.bfloat16)
  out, vjp = jax.vjp(convolve(case, form), images, kernel)
  wide = [x.astype(jnp.float32) for x in (images, kernel, out)]
  exact = jax.vjp(convolve(case, 'native'), *wide[:2])[1](wide[2])
  # im2col adds the parts of an image's gradient in bfloat16, one for each kernel element.
  for grad, expected, rtol in zip(vjp(out), exact, (2**-6, 2**-8), strict=True):
    assert grad.dtype == jnp.bfloat16
    assert_close(grad.astype(jnp.float32), expected, rtol)


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
def test_what_has_no_form_of_its_own_is_native(form):
  images, kernel = operands('same')
  dilated = {'lhs_dilation': (2, 2), 'dimension_numbers': convolution.LAYOUT}
  assert_close(
    convolution.conv(form)(images, kernel, (1, 1), ((1, 1), (1, 1)), **dilated),
    lax.conv_general_dilated(images, kernel, (1, 1), ((1, 1), (1, 1)), **dilated),
  )
  channels_first = images.transpose(0, 3, 1, 2)
  outputs_first = kernel.transpose(3, 2, 0, 1)
  assert_close(
    convolution.conv(form)(channels_first, outputs_first, (1, 1), 'SAME'),
    lax.conv(channels_first, outputs_first, (1, 1), 'SAME'),
  )


def test_flax_layer_accepts_each_form():
  images, _ = operands('same')
  layers = [
    nn.Conv(4, (3, 3), strides=2, padding=1, conv_general_dilated=convolution.conv(form))
    for form in convolution.FORMS
  ]
  variables = layers[0].init(jax.random.key(0), images)
  for layer in layers[1:]:
    assert_close(layer.apply(variables, images), layers[0].apply(variables, images))


def test_unknown_form_lists_the_known_ones():
  with pytest.raises(ValueError, match=r"'winograd'.*native, canonical, im2col, pallas"):
    convolution.conv('winograd')
