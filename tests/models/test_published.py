"""The published networks: numbers of parameters, and what small images change."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.built_models import build, count, products, shapes, step_gradient
from helpers.small_models import short

from bsjax import models
from bsjax.models import mobilenet
from bsjax.models.small_images import is_small, late_strides
from bsjax.models.vgg import _pool
from bsjax.models.vit import _heads, _patches

# At 224 pixels and 1000 classes, as torchvision and timm (vit) publish them.
PARAMETERS = [
  ('resnet18', 'batch', 11_689_512),
  ('resnet34', 'batch', 21_797_672),
  ('vgg11', 'none', 132_863_336),
  ('vgg11', 'batch', 132_868_840),
  ('vgg16', 'none', 138_357_544),
  ('vgg16', 'batch', 138_365_992),
  ('mobilenet_v2', 'batch', 3_504_872),
  ('efficientnet_b0', 'batch', 5_288_548),
  ('vit_tiny', 'group', 5_717_416),
  ('vit_small', 'group', 22_050_664),
]


@pytest.mark.parametrize(('name', 'kind', 'expected'), PARAMETERS)
def test_models_have_the_published_number_of_parameters(name, kind, expected):
  model = build(name, num_classes=1000, normalization=kind)
  assert count(shapes(model, (1, 224, 224, 3))['params']) == expected


def sides(model, size, kinds):
  """Pixels a side of what the layers of some kinds give, in order of depth, on images of `size`."""
  found = []

  def note(next_fun, args, kwargs, context):
    out = next_fun(*args, **kwargs)
    if isinstance(context.module, kinds) and context.method_name == '__call__' and out.ndim == 4:
      found.append(out.shape[1])
    return out

  with nn.intercept_methods(note):
    shapes(model, (1, size, size, 3))
  return found


@pytest.mark.parametrize('name', ['mobilenet_v2', 'efficientnet_b0'])
@pytest.mark.parametrize(
  ('size', 'changes', 'last'),
  [
    (32, {}, 4),
    (32, {'small_stride': 4}, 8),
    (32, {'small_stride': 16}, 2),
    (32, {'small_stride': 32}, 1),
    (16, {}, 2),
    (24, {}, 3),
    (64, {}, 8),
    (224, {'small_stride': 4}, 7),
  ],
)
def test_small_images_are_shrunk_by_the_small_stride_and_others_by_32(name, size, changes, last):
  model = build(name, width=8, **changes)
  one_block = tuple((*stage[:2], 1, *stage[3:]) for stage in model.stages)
  found = sides(model.clone(stages=one_block), size, mobilenet.InvertedResidual)
  assert len(found) == 7 and found[-1] == last


@pytest.mark.parametrize(
  ('sides', 'small'), [((64, 64), True), ((65, 65), False), ((96, 32), False), ((32, 96), False)]
)
def test_images_are_small_up_to_64_pixels_of_their_longer_side(sides, small):
  assert is_small(jnp.zeros((1, *sides, 3))) == small


def test_the_last_strides_are_those_that_stay():
  published = (2, 1, 2, 2, 2, 1, 2, 1)
  assert late_strides(published, 32) == published
  assert late_strides(published, 8) == (1, 1, 1, 2, 2, 1, 2, 1)
  assert late_strides(published, 1) == (1,) * 8


@pytest.mark.parametrize(('size', 'last'), [(32, 2), (24, 1), (16, 1), (8, 1), (64, 4), (224, 14)])
def test_vgg_halves_small_images_until_a_pixel_is_left(size, last):
  found = sides(build('vgg11', width=4), size, nn.Conv)
  assert len(found) == 8 and found[0] == size and found[-1] == last


def test_vgg_averages_large_images_to_seven_pixels():
  images = np.random.default_rng(0).normal(size=(2, 14, 7, 3)).astype(np.float32)
  means = images.reshape(2, 7, 2, 7, 3).mean(2)
  np.testing.assert_allclose(_pool(jnp.asarray(images)), means, atol=1e-6)
  few = jnp.asarray(images[:, :3, :2])  # every pixel is in some mean, every mean of some pixels
  np.testing.assert_allclose(_pool(few)[:, ::6, ::6], few[:, ::2], atol=1e-6)


@pytest.mark.parametrize(
  ('size', 'changes', 'rows'), [(32, {}, 8), (16, {}, 4), (32, {'small_stride': 8}, 4), (80, {}, 5)]
)
def test_patches_of_small_images_are_small(size, changes, rows):
  params = shapes(build('vit_tiny', width=16, **changes), (1, size, size, 3))['params']
  assert params['embedding']['positions'].shape == (rows, rows, 16)


def test_a_patch_is_a_square_of_pixels():
  images = jnp.arange(2.0 * 6 * 8 * 3).reshape(2, 6, 8, 3)
  patches = _patches(images, 4)
  assert patches.shape == (2, 2, 2, 48)
  np.testing.assert_array_equal(patches[1, 0, 1], images[1, :4, 4:].reshape(-1))
  np.testing.assert_array_equal(patches[1, 1, 0, :24], images[1, 4:, :4].reshape(-1))
  assert not patches[:, 1, :, 24:].any()  # beyond the image


def test_positions_are_interpolated_on_images_of_another_size():
  model = build('vit_tiny', width=8).clone(depth=1)
  params = shapes(model, (1, 16, 16, 3))['params']
  params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params)
  ramp = jnp.broadcast_to(jnp.arange(4.0)[:, None, None], (4, 4, 8))
  params['embedding'] = {**params['embedding'], 'positions': ramp}
  _, state = model.apply(
    {'params': params},
    jnp.zeros((1, 32, 32, 3)),
    train=False,
    capture_intermediates=lambda module, _: module.name == 'embedding',
  )
  tokens = state['intermediates']['embedding']['__call__'][0]
  finer = np.clip(np.arange(8) / 2 - 0.25, 0, 3)
  np.testing.assert_allclose(tokens[0, 1:].reshape(8, 8, 8)[..., 0], finer[:, None] + np.zeros(8))
  assert not tokens[0, 0].any()  # the class has a place of its own


def test_a_vit_has_layer_norm_for_group_batch_norm_for_batch_and_nothing_for_none():
  layers = {
    kind: {name for name in shapes(build('vit_tiny', width=8, normalization=kind))['params']}
    for kind in ('group', 'batch', 'none')
  }
  assert 'LayerNorm_0' in layers['group'] and 'BatchNorm_0' in layers['batch']
  assert not any('Norm' in layer for layer in layers['none'])


@pytest.mark.parametrize(('width', 'heads'), [(192, 3), (384, 6), (64, 1), (16, 1), (200, 2)])
def test_heads_have_64_channels_where_these_divide_the_width(width, heads):
  assert _heads(width) == heads


@pytest.mark.parametrize(
  ('channels', 'multiple'), [(16, 16), (12, 16), (18, 24), (4, 8), (11.2, 16), (33.6, 32)]
)
def test_scaled_channels_are_multiples_of_8(channels, multiple):
  assert mobilenet.rounded(float(channels)) == multiple


def test_scaled_channels_are_the_nearest_multiple_that_is_not_far_below():
  """Of two that are as near the larger, as published; also of many channels, and of halves."""
  multiples = range(8, 2000, 8)
  for channels in np.arange(0.5, 1500, 0.5).tolist():
    enough = [one for one in multiples if one >= 0.9 * channels]
    nearest = min(enough, key=lambda one: (abs(one - channels), -one))
    assert mobilenet.rounded(channels) == nearest, channels


def test_width_scales_mobilenet_as_published():
  """At multiplier 0.75, but for the first layer 24: torchvision's stages."""
  params = shapes(build('mobilenet_v2', width=24), (1, 32, 32, 3))['params']
  channels = [params[f'InvertedResidual_{i}']['Conv_2']['kernel'].shape[-1] for i in range(1, 17)]
  assert channels == [24] * 5 + [48] * 4 + [72] * 3 + [120] * 3 + [240]
  assert params['Conv_1']['kernel'].shape[-1] == 1280  # not scaled below 1


@pytest.mark.parametrize(
  ('name', 'width', 'channels'),
  [('mobilenet_v2', 24, 1280), ('mobilenet_v2', 48, 1920), ('efficientnet_b0', 24, 960)],
)
def test_the_last_convolution_is_scaled_with_the_others_above_1_or_in_efficientnets(
  name, width, channels
):
  model = build(name, width=width)
  params = shapes(model.clone(stages=model.stages[:1]), (1, 32, 32, 3))['params']
  assert params['Conv_1']['kernel'].shape[-1] == channels


@pytest.mark.parametrize('form', ['native', 'canonical'])
@pytest.mark.parametrize('name', ['vgg11', 'efficientnet_b0', 'vit_tiny'])
def test_products_multiply_bfloat16_but_for_the_classifier(name, form):
  model = short(name, num_classes=13, form=form, dtype='bfloat16')
  gradient = step_gradient(model, jnp.zeros((2, 16, 16, 3)), jnp.zeros(2, int))
  params = shapes(model, (1, 16, 16, 3))['params']
  found = products(jax.jit(gradient).lower(params, {}).as_text())
  assert len(found) > 20
  for operands, precision in found:
    if any(re.search(r'\b13x|x13x', shape) for shape in operands):
      assert all(operand.endswith('f32') for operand in operands)
      assert precision == ['HIGHEST'] * 2
    elif form == 'native':
      assert all(operand.endswith('bf16') for operand in operands), operands


@pytest.mark.parametrize('name', models.MODELS)
def test_the_head_is_what_makes_the_logits(name):
  params = shapes(build(name, num_classes=7, width=8), (1, 16, 16, 3))['params']
  others = shapes(build(name, num_classes=9, width=8), (1, 16, 16, 3))['params']
  differing = {
    path[0].key
    for (path, a), (_, b) in zip(
      jax.tree.leaves_with_path(params), jax.tree.leaves_with_path(others), strict=True
    )
    if a.shape != b.shape
  }
  assert differing == {models.head(params)}


def test_the_head_is_the_last_of_numbered_layers_and_must_be_there():
  assert models.head({'Dense_9': {}, 'Dense_10': {}, 'Dense_x': {}, 'Conv_11': {}}) == 'Dense_10'
  with pytest.raises(ValueError, match='Conv_0'):
    models.head({'Conv_0': {}})
