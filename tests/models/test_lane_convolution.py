"""The convolutions of lanes on a GPU against XLA's own: values, derivatives, programs, choice."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AbstractMesh

from bsjax.engine import strategies
from bsjax.models import convolution, lane_convolution, lane_kernels

SHAPES = [(2, 4, 8, 8, 16, 32), (3, 2, 4, 12, 32, 16), (1, 8, 8, 8, 64, 64)]


def normal(*shape):
  size = int(np.prod(shape))
  return jnp.asarray(np.random.default_rng(size).normal(size=shape), jnp.float32)


def convolve(form, precision=lax.Precision.HIGHEST):
  return functools.partial(
    convolution.conv(form),
    window_strides=(1, 1),
    padding='SAME',
    dimension_numbers=convolution.LAYOUT,
    precision=precision,
  )


def loss(form):
  return lambda images, kernel: jnp.sin(convolve(form)(images, kernel)).sum()


def assert_close(actual, expected):
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    norm = float(jnp.linalg.norm(b))
    assert a.shape == b.shape and norm > 0
    assert float(jnp.linalg.norm(a - b)) <= 5e-6 * norm


def gradients(form):
  return jax.grad(loss(form), (0, 1))


def hessian_products(form):
  def product(images, kernel):
    return jax.jvp(gradients(form), (images, kernel), (jnp.cos(images), jnp.cos(kernel)))[1]

  return product


def gradients_of_gradients(form):
  def length(images, kernel):
    return sum(jnp.cos(grad).sum() for grad in gradients(form)(images, kernel))

  return jax.grad(length, (0, 1))


@pytest.mark.parametrize('function', [gradients, hessian_products, gradients_of_gradients])
@pytest.mark.parametrize('axes', [(0, 0), (None, 0), (0, None)])
def test_derivatives_of_lanes_equal_native(function, axes):
  images, kernel = normal(3, 2, 4, 4, 16), normal(3, 3, 3, 16, 32) / 10
  operands = [x[0] if axis is None else x for x, axis in zip((images, kernel), axes, strict=True)]
  text = str(jax.make_jaxpr(jax.vmap(function('pallas'), axes))(*operands))
  assert 'convolve_lanes' in text and 'kernel_gradient_lanes' in text
  assert 'conv_general_dilated' not in text
  assert_close(
    jax.jit(jax.vmap(function('pallas'), axes))(*operands),
    jax.jit(jax.vmap(function('native'), axes))(*operands),
  )


def test_lanes_of_trials_equal_native():
  images, kernel = normal(2, 3, 2, 4, 4, 16), normal(2, 3, 3, 3, 16, 16) / 10
  twice = [jax.jit(jax.vmap(jax.vmap(gradients(form)))) for form in ('pallas', 'native')]
  assert_close(*(function(images, kernel) for function in twice))


@pytest.mark.parametrize('shape', SHAPES)
def test_programs_equal_native(shape, monkeypatch):
  def dot(a, b, exact):  # a CPU has none of the products on tensor cores
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)

  monkeypatch.setattr(lane_kernels, '_dot', dot)
  for name in ('convolve', 'kernel_gradient'):
    interpreted = functools.partial(getattr(lane_kernels, name), interpret=True)
    monkeypatch.setattr(lane_kernels, name, interpreted)
  lanes, batch, height, width, channels, out = shape
  images = normal(lanes, batch, height, width, channels)
  kernels, cotangents = normal(lanes, 3, 3, channels, out), normal(lanes, batch, height, width, out)
  assert_close(
    lane_convolution._gpu_convolve(images, kernels, exact=True),
    lane_convolution._native_convolve(images, kernels, exact=True),
  )
  assert_close(
    lane_convolution._gpu_kernel_gradient(images, cotangents, exact=True),
    lane_convolution._native_kernel_gradient(images, cotangents, exact=True),
  )


@pytest.mark.parametrize('most', [2, 42, 100, 201, 10**6])
def test_arrays_too_large_for_a_program_are_cut_by_lanes(most, monkeypatch):
  monkeypatch.setattr(lane_convolution, 'INDEXED', most)
  sizes = []

  def program(a, b):
    sizes.append(max(a.size, b.size))
    return a.sum(1) + b.sum(1)

  a, b = normal(5, 40), normal(5, 8)
  np.testing.assert_array_equal(lane_convolution._in_parts(program, a, b), a.sum(1) + b.sum(1))
  assert max(sizes) < max(most, 41)


@pytest.mark.parametrize(
  ('images', 'kernel', 'known'),
  [
    ((2, 8, 8, 16), (3, 3, 16, 64), True),
    ((2, 8, 8, 3), (3, 3, 3, 16), False),
    ((2, 8, 8, 128), (3, 3, 128, 128), False),
    ((2, 8, 8, 16), (5, 5, 16, 16), False),
    ((2, 7, 7, 16), (3, 3, 16, 16), False),
    ((2, 8, 8, 32), (3, 3, 16, 32), False),  # groups
  ],
)
def test_which_shapes_have_programs(images, kernel, known):
  images, kernel = normal(*images), normal(*kernel)
  assert lane_convolution.takes(images, kernel) is known


def test_what_has_no_program_is_a_product_over_patches():
  for strides, padding in (((2, 2), 'SAME'), ((1, 1), 'VALID'), ((1, 1), ((2, 0), (1, 1)))):
    text = str(
      jax.make_jaxpr(
        lambda x, k, s=strides, p=padding: convolution.conv('pallas')(
          x, k, s, p, dimension_numbers=convolution.LAYOUT
        )
      )(normal(2, 8, 8, 16), normal(3, 3, 16, 16))
    )
    assert 'dot_general' in text and 'lanes' not in text


@pytest.mark.parametrize(
  ('precision', 'dtype'),
  [
    (lax.Precision.HIGHEST, jnp.float32),
    (lax.Precision.HIGH, jnp.float32),
    (lax.Precision.DEFAULT, jnp.bfloat16),
  ],
)
def test_a_gpu_gets_one_program_for_each_convolution(precision, dtype):
  sharding = pytest.importorskip('jax.sharding')
  if not hasattr(sharding, 'AbstractDevice'):
    pytest.skip('this JAX cannot lower Pallas programs for a GPU that is not there')
  device = sharding.AbstractDevice(
    device_kind='NVIDIA H100 80GB HBM3', num_cores=132, platform='gpu'
  )
  images = jax.ShapeDtypeStruct((3, 4, 16, 32, 32, 16), dtype)
  kernel = jax.ShapeDtypeStruct((3, 4, 3, 3, 16, 16), dtype)

  def length(images, kernel):
    return (convolve('pallas', precision)(images, kernel) ** 2).sum()

  function = jax.jit(jax.vmap(jax.vmap(jax.grad(length, (0, 1)))))
  with sharding.use_abstract_mesh(AbstractMesh((1,), ('x',), abstract_device=device)):
    lowered = function.trace(images, kernel).lower(lowering_platforms=('cuda',)).as_text()
  assert lowered.count('stablehlo.custom_call @__gpu$xla.gpu.triton') == 3
  assert 'stablehlo.convolution' not in lowered
  assert lowered.count('stablehlo.transpose ') == 1  # of the kernel, for the images' gradient


@pytest.mark.parametrize(
  ('platform', 'capability', 'kind'),
  [
    ('cpu', None, 'cpu'),
    ('tpu', None, 'tpu'),
    ('gpu', '9.0', 'nvidia'),
    ('gpu', '10.0', 'nvidia'),
    ('gpu', '8.0', 'nvidia'),
    ('gpu', '7.5', 'gpu'),  # no tensor cores for tf32
    ('gpu', 'gfx942', 'gpu'),
    ('gpu', None, 'gpu'),
  ],
)
def test_only_a_gpu_with_fitting_tensor_cores_is_offered_them(platform, capability, kind):
  device = types.SimpleNamespace(platform=platform)
  if capability:
    device.compute_capability = capability
  assert strategies.kind(device) == kind
  offered = strategies.usual(kind).conv == 'pallas'
  assert offered == (kind == 'nvidia')


def test_without_the_kernels_of_jax_a_gpu_is_like_others(monkeypatch):
  device = types.SimpleNamespace(platform='gpu', compute_capability='9.0')
  for gone in ('jax.experimental.pallas.tritonn', 'jax.experimentall.pallas'):
    monkeypatch.setattr(strategies, 'KERNELS', gone)
    assert strategies.kind(device) == 'gpu'
