"""Every form of a convolution against XLA's own: values, derivatives, and what is compiled."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bsjax import ops

# Image shape, kernel size, output channels, strides, padding, groups.
CASES = {
  'same': ((2, 8, 8, 3), (3, 3), 5, (1, 1), 'SAME', 1),
  'valid': ((2, 8, 7, 3), (3, 3), 5, (1, 1), 'VALID', 1),
  'even': ((2, 7, 8, 3), (2, 4), 5, (1, 1), 'SAME', 1),
  'wide_padding': ((2, 5, 5, 3), (3, 3), 5, (1, 1), ((4, 1), (0, 3)), 1),
  'stride2': ((2, 8, 7, 3), (3, 3), 5, (2, 2), 'SAME', 1),
  'stride2_explicit': ((2, 8, 8, 3), (3, 3), 5, (2, 2), ((1, 1), (1, 1)), 1),
  'stride2_even': ((2, 9, 8, 3), (4, 2), 5, (2, 2), 'VALID', 1),
  'stride32': ((2, 11, 10, 3), (5, 3), 4, (3, 2), 'SAME', 1),
  'stem': ((2, 14, 14, 3), (7, 7), 4, (2, 2), ((3, 3), (3, 3)), 1),
  'pointwise': ((2, 6, 6, 3), (1, 1), 5, (1, 1), 'SAME', 1),
  'pointwise_stride2': ((2, 7, 6, 3), (1, 1), 5, (2, 2), 'VALID', 1),
  'depthwise': ((2, 8, 8, 6), (3, 3), 6, (1, 1), 'SAME', 6),
  'depthwise_stride2': ((2, 8, 7, 6), (3, 3), 6, (2, 2), 'SAME', 6),
  'grouped': ((2, 8, 8, 6), (3, 3), 4, (1, 1), 'SAME', 2),
}
FAST = [name for name in CASES if name != 'grouped']


def operands(case, lanes=(), dtype=jnp.float32):
  shape, kernel, channels, _, _, groups = CASES[case]
  random = np.random.default_rng(0)
  images = random.normal(size=(*lanes, *shape))
  weights = random.normal(size=(*lanes, *kernel, shape[-1] // groups, channels))
  return jnp.asarray(images, dtype), jnp.asarray(weights, dtype)


def convolve(case, form):
  _, _, _, strides, padding, groups = CASES[case]

  def apply(images, kernel):
    return ops.conv(form)(
      images,
      kernel,
      strides,
      padding,
      dimension_numbers=ops.LAYOUT,
      feature_group_count=groups,
    )

  return apply


def loss(case, form):
  return lambda images, kernel: jnp.sin(convolve(case, form)(images, kernel)).sum()


def both_gradients(case, form):
  return jax.grad(loss(case, form), (0, 1))


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
@pytest.mark.parametrize('case', ['valid', 'stride2'])
@pytest.mark.parametrize('mapped', [(True, True), (True, False), (False, True)])
def test_vmap_over_lanes_equals_each_lane(case, form, mapped):
  images, kernel = operands(case, lanes=(3,))
  args = [x if is_mapped else x[0] for x, is_mapped in zip((images, kernel), mapped, strict=True)]
  axes = tuple(0 if is_mapped else None for is_mapped in mapped)
  actual = jax.vmap(both_gradients(case, form), axes)(*args)
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


@pytest.mark.parametrize('case', ['same', 'stride2', 'pointwise_stride2', 'depthwise'])
def test_training_lanes_in_loops_equals_native_steps(case):
  images, kernel = operands(case, lanes=(2,))

  def descend(form):
    def step(weights, x):
      return weights - 0.01 * jax.grad(loss(case, form), 1)(x, weights), None

    return step

  looped = lax.map(lambda w: lax.scan(descend('canonical'), w, images)[0], kernel)
  step = jax.jit(descend('native'))
  for lane in range(2):
    weights = kernel[lane]
    for x in images:
      weights, _ = step(weights, x)
    assert_close(looped[lane], weights)


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['even', 'stride2', 'depthwise'])
def test_hessian_vector_products_of_both_orders_equal_native(case, form):
  images, kernel = operands(case)
  vector = kernel[::-1]

  def products(name):
    gradient = jax.grad(lambda w: loss(case, name)(images, w))
    forward_over_reverse = jax.jvp(gradient, (kernel,), (vector,))[1]
    reverse_over_reverse = jax.grad(lambda w: jnp.vdot(gradient(w), vector))(kernel)
    return forward_over_reverse, reverse_over_reverse

  forward, reverse = products(form)
  expected = products('native')[0]
  assert_close(forward, expected)
  assert_close(reverse, expected)


def layouts(case, form):
  """The dimension numbers of all convolutions in the program of both gradients."""
  text = jax.jit(both_gradients(case, form)).lower(*operands(case)).as_text()
  return re.findall(r'stablehlo\.convolution\(.*?\) dim_numbers = (.*?), window', text)


@pytest.mark.parametrize('case', FAST)
def test_canonical_form_compiles_no_convolution_that_is_slow_in_loops(case):
  channels_last = '[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]'
  assert set(layouts(case, 'canonical')) <= {channels_last}
  assert layouts(case, 'im2col') == []
  assert set(layouts(case, 'native')) - {channels_last}  # the pattern does find slow ones


@pytest.mark.parametrize('form', ['canonical', 'im2col'])
@pytest.mark.parametrize('case', ['same', 'stride2', 'pointwise'])
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
  dilated = {'rhs_dilation': (2, 2), 'dimension_numbers': ops.LAYOUT}
  assert_close(
    ops.conv(form)(images, kernel, (1, 1), 'SAME', **dilated),
    lax.conv_general_dilated(images, kernel, (1, 1), 'SAME', **dilated),
  )
  channels_first = images.transpose(0, 3, 1, 2)
  outputs_first = kernel.transpose(3, 2, 0, 1)
  assert_close(
    ops.conv(form)(channels_first, outputs_first, (1, 1), 'SAME'),
    lax.conv(channels_first, outputs_first, (1, 1), 'SAME'),
  )


def test_flax_layer_accepts_each_form():
  images, _ = operands('same')
  layers = [
    nn.Conv(4, (3, 3), strides=2, padding=1, conv_general_dilated=ops.conv(form))
    for form in ops.FORMS
  ]
  variables = layers[0].init(jax.random.key(0), images)
  for layer in layers[1:]:
    assert_close(layer.apply(variables, images), layers[0].apply(variables, images))


def test_unknown_form_lists_the_known_ones():
  with pytest.raises(ValueError, match=r"'winograd'.*native, canonical, im2col"):
    ops.conv('winograd')


@pytest.mark.parametrize(
  ('size', 'window', 'strides', 'padding'),
  [
    ((8, 6), (2, 2), (2, 2), 'VALID'),
    ((9, 6), (3, 2), (3, 2), 'SAME'),
    ((7, 7), (2, 2), (2, 2), 'VALID'),
    ((7, 7), (2, 2), (2, 2), 'SAME'),
    ((8, 8), (2, 2), (2, 2), ((1, 1), (1, 1))),
    ((8, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
  ],
)
def test_max_pool_equals_flax(size, window, strides, padding):
  images = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 3)), jnp.float32)

  def value_and_gradient(pool):
    pooled, vjp = jax.vjp(lambda x: pool(x, window, strides, padding), images)
    return pooled, vjp(jnp.cos(pooled))

  assert_close(value_and_gradient(ops.max_pool), value_and_gradient(nn.max_pool), rtol=1e-6)
