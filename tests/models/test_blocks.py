"""Blocks of the larger models against the formulas of their papers, written out in numpy."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.built_models import build, shapes
from jax import lax

from bsjax.models import lane_convolution, lane_kernels
from bsjax.models.mobilenet import InvertedResidual, relu6
from bsjax.models.resnet import Block as ResidualBlock
from bsjax.models.vit import Block as AttentionBlock


def drawn(tree, seed=0):
  """Random parameters in place of all."""
  random = np.random.default_rng(seed)
  return jax.tree.map(lambda x: jnp.asarray(random.normal(0, 0.5, x.shape), jnp.float32), tree)


def unchanged(x, **_):
  return x


def begun(block, x):
  params = jax.eval_shape(lambda: block.init(jax.random.key(0), x))['params']
  return drawn(params)


def normal(*shape):
  return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
  ('channels', 'stride', 'squeeze', 'kernel', 'expansion'),
  [(4, 1, 0, 3, 2), (4, 2, 0, 3, 2), (6, 1, 0, 3, 2), (4, 1, 2, 5, 3), (4, 1, 0, 3, 1)],
)
@pytest.mark.parametrize('activation', [relu6, nn.silu])
def test_an_inverted_residual_widens_filters_gates_and_narrows(
  channels, stride, squeeze, kernel, expansion, activation
):
  x = 3 * normal(2, 6, 6, 4)
  conv = partial(nn.Conv, use_bias=False, precision='highest')
  block = InvertedResidual(
    channels, expansion, stride, conv, unchanged, False, activation, kernel, squeeze
  )
  params = begun(block, x)
  layers = [params[f'Conv_{i}'] for i in range(len(params))]
  out = x
  if expansion > 1:
    out = activation(jnp.einsum('nhwc,cd->nhwd', out, layers.pop(0)['kernel'][0, 0]))
  wide, half = out.shape[-1], kernel // 2
  padded = np.pad(out, ((0, 0), (half, half), (half, half), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))
  filtered = np.einsum(
    'nhwckl,klc->nhwc', windows, layers.pop(0)['kernel'].reshape(kernel, kernel, wide)
  )
  out = activation(jnp.asarray(filtered[:, ::stride, ::stride]))
  if squeeze:
    mean = out.mean((1, 2))
    first, second = layers.pop(0), layers.pop(0)
    hidden = activation(mean @ first['kernel'][0, 0] + first['bias'])
    gate = 1 / (1 + np.exp(-(hidden @ second['kernel'][0, 0] + second['bias'])))
    out = out * gate[:, None, None]
  out = jnp.einsum('nhwc,cd->nhwd', out, layers.pop(0)['kernel'][0, 0])
  if stride == 1 and channels == 4:
    out = out + x
  np.testing.assert_allclose(block.apply({'params': params}, x), out, rtol=1e-3, atol=1e-3)


def test_activations_are_those_of_the_papers():
  x = jnp.array([-1.0, 3.0, 7.0])
  np.testing.assert_allclose(build('mobilenet_v2').activation(x), [0, 3, 6])
  np.testing.assert_allclose(
    build('efficientnet_b0').activation(x), x / (1 + np.exp(-x)), rtol=1e-6
  )


def test_a_residual_block_adds_what_two_convolutions_make_of_positive_parts():
  """With kernels -1 and 2 in their middle: relu(2 relu(-x) + x) = |x|."""
  x = normal(2, 4, 4, 3)
  block = ResidualBlock(3, 1, False, partial(nn.Conv, use_bias=False), unchanged, False)
  middle = jnp.zeros((3, 3, 3, 3)).at[1, 1].set(jnp.eye(3))
  params = {'Conv_0': {'kernel': -middle}, 'Conv_1': {'kernel': 2 * middle}}
  np.testing.assert_allclose(block.apply({'params': params}, x), jnp.abs(x), rtol=1e-6)


@pytest.mark.parametrize('stride', [1, 2])
def test_a_shortcut_without_a_projection_takes_every_other_pixel_and_zeros(stride):
  x = normal(2, 4, 6, 3)
  block = ResidualBlock(5, stride, False, partial(nn.Conv, use_bias=False), unchanged, True)
  params = jax.jit(block.init)(jax.random.key(0), x)  # whose branch is zero
  found = block.apply(params, x)
  np.testing.assert_array_equal(found[..., :3], nn.relu(x[:, ::stride, ::stride]))
  assert not found[..., 3:].any()


def test_the_small_network_doubles_its_channels():
  params = shapes(build('cnn', width=6, num_classes=7), (2, 8, 8, 1))['params']
  found = {name: layer['kernel'].shape for name, layer in params.items() if 'kernel' in layer}
  assert found['Conv_0'] == (3, 3, 1, 6) and found['Conv_1'] == (3, 3, 6, 12)
  assert found['Dense_0'] == (2 * 2 * 12, 24) and found['Dense_1'] == (24, 7)


def dense(x, layer):
  return x @ np.asarray(layer['kernel'], np.float64) + np.asarray(layer['bias'], np.float64)


def test_attention_is_that_of_the_formula():
  """Two heads of three channels, then the exact GELU."""
  x = normal(2, 5, 6)
  layer = partial(_added, precision='highest')
  block = AttentionBlock(2, layer, unchanged, False, lax.Precision.HIGHEST)
  params = begun(block, x)
  names = [params[f'Dense_{i}'] for i in range(4)]
  wide = np.asarray(x, np.float64)
  qkv = dense(wide, names[0]).reshape(2, 5, 3, 2, 3)
  mixed = np.zeros((2, 5, 2, 3))
  for image, head in np.ndindex(2, 2):
    query, key, value = (qkv[image, :, part, head] for part in range(3))
    weights = np.exp(query @ key.T / math.sqrt(3))
    mixed[image, :, head] = weights / weights.sum(1, keepdims=True) @ value
  out = wide + dense(mixed.reshape(2, 5, 6), names[1])
  hidden = dense(out, names[2])
  gelu = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
  out = out + dense(gelu, names[3])
  np.testing.assert_allclose(block.apply({'params': params}, x), out, atol=1e-4)


def _added(x, features, **fields):
  return nn.Dense(features, **fields)(x)


def test_a_vit_classifies_by_the_token_of_the_class():
  model = build('vit_tiny', width=8, num_classes=3, normalization='none').clone(depth=1)
  params = drawn(shapes(model, (1, 8, 8, 1))['params'])
  images = normal(2, 8, 8, 1)
  logits, state = model.apply({'params': params}, images, train=False, capture_intermediates=True)
  token = state['intermediates']['Block_0']['__call__'][0][:, 0]
  np.testing.assert_allclose(logits, dense(token, params['head']), rtol=1e-4, atol=1e-4)
  first = state['intermediates']['embedding']['__call__'][0][:, 0]
  sum_of_both = params['embedding']['class'] + params['embedding']['class_position']
  np.testing.assert_allclose(first, jnp.broadcast_to(sum_of_both, (2, 8)), rtol=1e-6)


@pytest.mark.parametrize(
  ('precision', 'exact'),
  [
    (lax.Precision.HIGHEST, True),
    ((lax.Precision.HIGHEST, lax.Precision.HIGHEST), True),
    (lax.Precision.HIGH, False),
    ((lax.Precision.HIGHEST, lax.Precision.HIGH), False),
    (None, False),
  ],
)
def test_products_of_lanes_are_exact_where_that_is_asked_for(precision, exact, monkeypatch):
  program = jax.make_jaxpr(partial(lane_convolution.convolve, precision=precision))
  (found,) = [
    equation.params['exact']
    for equation in program(normal(1, 4, 4, 16), normal(3, 3, 16, 16)).eqns
    if equation.primitive.name == 'convolve_lanes'
  ]
  assert found is exact
  presets = []
  monkeypatch.setattr(
    lane_kernels.lax, 'dot_general', lambda *_, precision, **__: presets.append(precision)
  )
  for dtype in (jnp.float32, jnp.bfloat16):
    lane_kernels._dot.__wrapped__(jnp.ones((16, 16), dtype), jnp.ones((16, 16), dtype), exact)
  of_floats = (
    lax.DotAlgorithmPreset.TF32_TF32_F32_X3 if exact else lax.DotAlgorithmPreset.TF32_TF32_F32
  )
  assert presets == [of_floats, lax.DotAlgorithmPreset.BF16_BF16_F32]


@pytest.mark.parametrize(
  ('images', 'share'), [(1, 1), (2, 2), (3, 3), (4, 2), (17, 17), (24, 3), (100, 20), (128, 16)]
)
def test_programs_of_a_weight_gradient_share_the_images_of_a_lane(images, share):
  assert lane_convolution._share(images) == share
