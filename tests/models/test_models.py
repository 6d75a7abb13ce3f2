"""Every model: sizes against the literature, types, precision, normalization, training, lanes."""

import os
import re
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.built_models import SMALL, build, count, model_config, products, shapes, step_gradient
from helpers.small import small_config, trained

from bsjax import models
from bsjax.models import convolution
from bsjax.models.arithmetic import ARITHMETIC
from bsjax.models.initializers import he_normal
from bsjax.models.normalization import group_size, normalize


def learnable(examples=32):
  """Four classes of patterns in noise: vertical and horizontal stripes, checkers, and none."""
  labels = np.arange(examples) % 4
  row, column = np.mgrid[:8, :8] % 2
  patterns = np.stack([column, row, row ^ column, np.zeros_like(row)])[labels]
  noise = np.random.default_rng(0).normal(0, 0.1, patterns.shape)
  return jnp.asarray((patterns + noise)[..., None], jnp.float32), jnp.asarray(labels)


def test_the_table_of_small_widths_covers_all_models():
  assert set(SMALL) == set(models.MODELS)


@pytest.mark.parametrize('name', models.MODELS)
@pytest.mark.parametrize('images', [(2, 8, 8, 1), (3, 28, 28, 1), (1, 96, 80, 3)])
def test_logits_have_a_row_an_example_and_a_column_a_class(name, images):
  model = build(name, num_classes=7)
  logits, _ = jax.eval_shape(
    lambda: model.init_with_output(jax.random.key(0), jnp.zeros(images), train=False)
  )
  assert logits.shape == (images[0], 7)
  assert logits.dtype == jnp.float32


def test_resnet20_has_the_published_number_of_parameters():
  model = build('resnet20', num_classes=10, normalization='batch')
  parameters = count(shapes(model, (1, 32, 32, 3))['params'])
  assert parameters == 269_722  # 0.27 million in table 6 of He et al. 2016


@pytest.mark.parametrize(('name', 'halvings'), [('resnet20', 2), ('resnet18', 3)])
def test_resnets_halve_the_image_from_stage_to_stage(name, halvings):
  model = build(name, width=4)
  _, state = jax.eval_shape(
    lambda variables: model.apply(
      variables,
      jnp.zeros((1, 32, 32, 3)),
      train=False,
      capture_intermediates=lambda module, _: type(module).__name__ == 'Block',
    ),
    shapes(model, (1, 32, 32, 3)),
  )
  blocks = state['intermediates']
  last = blocks[f'Block_{len(blocks) - 1}']['__call__'][0]
  assert last.shape == (1, 32 >> halvings, 32 >> halvings, 4 << halvings)


@pytest.mark.parametrize('name', models.MODELS)
def test_bfloat16_is_for_arithmetic_only(name):
  model = build(name, width=SMALL[name], dtype='bfloat16')
  variables = shapes(model)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  logits, state = jax.eval_shape(
    lambda variables: model.apply(
      variables,
      jnp.zeros((2, 8, 8, 1)),
      train=False,
      # Layers with a bias give float32, which the next one casts.
      capture_intermediates=lambda module, _: (
        isinstance(module, nn.GroupNorm | nn.LayerNorm)
        or (isinstance(module, nn.Conv | nn.Dense) and not module.use_bias)
      ),
    ),
    variables,
  )
  assert logits.dtype == jnp.float32
  assert {str(leaf.dtype) for leaf in jax.tree.leaves(state['intermediates'])} == {'bfloat16'}


LAYERS = {'mlp': 3, 'cnn': 4, 'resnet8': 8}
# The precision of the products of layers, and one they must not take from their surroundings.
PRECISIONS = {
  'float32': ('HIGHEST', 'bfloat16'),
  'tf32': ('HIGH', 'float32'),
  'bfloat16': ('DEFAULT', 'float32'),
}


@pytest.mark.parametrize('dtype', ARITHMETIC)
@pytest.mark.parametrize(
  ('name', 'form'),
  [
    ('mlp', 'native'),
    *((name, form) for name in ('cnn', 'resnet8') for form in convolution.FORMS),
  ],
)
def test_every_product_of_a_training_step_has_the_precision_of_the_config(name, form, dtype):
  model = build(name, num_classes=7, form=form, width=SMALL[name], dtype=dtype)
  gradient = step_gradient(model, jnp.zeros((2, 8, 8, 1)), jnp.zeros(2, int))
  precision, surroundings = PRECISIONS[dtype]
  with jax.default_matmul_precision(surroundings):
    found = products(jax.jit(gradient).lower(shapes(model)['params'], {}).as_text())
  if form != 'canonical':  # which calls one function for all layers of a shape
    assert len(found) == 3 * LAYERS[name] - 1  # nothing needs the gradient of the images
  of_logits = [any('7x' in shape for shape in shapes) for shapes, _ in found]
  assert sum(of_logits) == 3
  for (operand_types, own), is_last in zip(found, of_logits, strict=True):
    in_float32 = dtype == 'bfloat16' and is_last
    assert own == ['HIGHEST' if in_float32 else precision] * 2
    if in_float32 or dtype != 'bfloat16':
      assert all(operand.endswith('xf32') for operand in operand_types)
    elif form == 'native':  # others add up and multiply gradients of patches in float32
      assert all(operand.endswith('xbf16') for operand in operand_types)


def test_set_up_machine_makes_float32_mean_float32():
  code = (
    'from bsjax import cli; cli.set_up_machine(); import jax, jax.numpy as jnp;'
    'print(jax.jit(jnp.dot).lower(*[jnp.ones((4, 4))] * 2).as_text())'
  )
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  printed = subprocess.check_output([sys.executable, '-c', code], text=True, env=environment)
  assert [own for _, own in products(printed)] == [['HIGHEST', 'HIGHEST']]


@pytest.mark.parametrize(
  ('name', 'form', 'kind'),
  [
    *(('mlp', 'native', kind) for kind in ('none', 'group')),
    *(('cnn', form, 'group') for form in convolution.FORMS),
    ('cnn', 'native', 'none'),
  ],
)
def test_bfloat16_gradients_are_those_of_float32_but_for_rounding(name, form, kind):
  random = np.random.default_rng(0)
  images = jnp.asarray(random.normal(1, 1, (256, 8, 8, 1)), jnp.float32)

  def build_in(dtype):
    return build(name, form=form, width=SMALL[name], normalization=kind, dtype=dtype)

  start = jax.jit(build_in('float32').init, static_argnums=2)(jax.random.key(0), images, True)

  def shifted(x):
    return x + jnp.asarray(random.normal(0, 0.1, x.shape), jnp.float32)

  params = jax.tree.map(shifted, start['params'])  # no layer starts at zero
  actual, exact = (
    jax.jit(step_gradient(build_in(dtype), images, jnp.arange(256) % 4))(params, {})
    for dtype in ('bfloat16', 'float32')
  )
  for path, expected in jax.tree.leaves_with_path(exact):
    found = dict(jax.tree.leaves_with_path(actual))[path]
    assert found.dtype == jnp.float32
    assert jnp.linalg.norm(found - expected) <= 0.08 * jnp.linalg.norm(expected), path


@pytest.mark.parametrize('kind', ['none', 'group', 'batch'])
@pytest.mark.parametrize('name', ['mlp', 'cnn', 'resnet8'])
def test_gradients_of_biases_and_scales_are_summed_in_float32(name, kind):
  """In bfloat16 the sum of 50,000 equal numbers was 512 times one of them."""
  model = build(name, width=SMALL[name], normalization=kind, dtype='bfloat16')
  gradient = step_gradient(model, jnp.zeros((2, 8, 8, 1)), jnp.zeros(2, int))
  variables = shapes(model)
  params, rest = variables.pop('params'), variables
  text = jax.jit(gradient).lower(params, rest).as_text()
  sums = re.findall(r'applies stablehlo.add .*-> tensor<\d+x(b?f\d+)>', text)
  assert len(sums) > 2 and set(sums) == {'f32'}


@pytest.mark.parametrize('kind', ['group', 'batch'])
def test_bfloat16_is_normalized_by_float32_statistics(kind):
  class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
      return normalize(x, kind, True, jnp.bfloat16, momentum=0.0)

  x = jnp.asarray(np.random.default_rng(0).normal(8, 1, (512, 16)), jnp.bfloat16)
  out, state = Layer().init_with_output(jax.random.key(0), x)
  wide = np.asarray(x, np.float64)
  axis = 1 if kind == 'group' else 0
  mean, var = wide.mean(axis, keepdims=True), wide.var(axis, keepdims=True)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    np.asarray(out, np.float64), (wide - mean) / np.sqrt(var), rtol=2**-7, atol=2**-8
  )
  if kind == 'batch':
    _, state = Layer().apply(state, x, mutable=['batch_stats'])
    (running,) = state['batch_stats'].values()
    np.testing.assert_allclose(running['mean'], mean[0], rtol=1e-5)
    np.testing.assert_allclose(running['var'], var[0], rtol=1e-4)


def test_without_normalization_activations_are_in_the_type_of_the_arithmetic():
  with_bias = jnp.ones((2, 4), jnp.float32)
  assert normalize(with_bias, 'none', True, jnp.bfloat16, momentum=0.9).dtype == jnp.bfloat16


@pytest.mark.parametrize('kind', ['batch', 'none'])
def test_a_bfloat16_lane_is_kept_in_float32_and_as_accurate_as_a_float32_one(kind):
  accuracy = {}
  for dtype in ('float32', 'bfloat16'):
    config = small_config(
      trials=1,
      epochs=4.0,
      batch_sizes=(32,),
      learning_rates=(0.003,),
      data__train_examples=0,
      model__dtype=dtype,
      model__width=32,
      model__normalization=kind,
      optimizer__name='adam',
    )
    _, (group,), on_device = trained(config)
    states = group.to_host()
    assert states.updates.min() > 100
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(states)} <= {'float32', 'int32'}
    found = group.evaluate(on_device)().evaluation.validation
    accuracy[dtype] = found.metrics['accuracy'] / found.count
  assert accuracy['float32'].min() > 0.9
  np.testing.assert_allclose(accuracy['bfloat16'], accuracy['float32'], atol=0.03)


TRAINED = [
  *((name, 'group') for name in ('mlp', 'cnn', 'resnet8')),
  # resnet18 and what is larger are trained in test_lanes.
  pytest.param('resnet20', 'group', marks=pytest.mark.slow),
  *((name, kind) for name in ('mlp', 'cnn', 'resnet8') for kind in ('batch', 'none')),
]


@pytest.mark.parametrize(('name', 'kind'), TRAINED)
def test_loss_falls_in_a_few_steps(name, kind):
  model = build(name, width=SMALL[name], normalization=kind)
  images, labels = learnable()
  variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), images, True)
  assert ('batch_stats' in variables) == (kind == 'batch')
  stats = variables.get('batch_stats', {})

  def loss(params):
    logits, _ = model.apply(
      {'params': params, 'batch_stats': stats}, images, train=True, mutable=['batch_stats']
    )
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  @jax.jit
  def step(params, _):
    value, grads = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

  _, losses = jax.lax.scan(step, variables['params'], None, 60)
  assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize('name', ['mlp', 'cnn', 'resnet8'])
def test_a_lane_of_vmap_or_map_equals_the_model_alone(name):
  model = build(name, width=SMALL[name])
  images, _ = learnable(8)
  start = jax.jit(model.init, static_argnums=2)(jax.random.key(0), images, True)
  variables = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1, 2 * leaf - 0.1]), start)
  apply = jax.jit(lambda variables: model.apply(variables, images, train=True))
  vmapped, mapped = jax.vmap(apply)(variables), jax.lax.map(apply, variables)
  for lane in range(3):
    alone = apply(jax.tree.map(lambda leaf, lane=lane: leaf[lane], variables))
    np.testing.assert_allclose(vmapped[lane], alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mapped[lane], alone, rtol=1e-5, atol=1e-5)
  assert np.abs(vmapped[0] - vmapped[1]).max() > 1e-2


@pytest.mark.parametrize('name', ['mlp', 'cnn', 'resnet8'])
def test_batch_norm_momentum_is_the_weight_of_the_past(name):
  model = build(name, width=SMALL[name], normalization='batch')
  images, _ = learnable(8)
  variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), images, True)

  def updated(momentum):
    clone = model.clone(batch_norm_momentum=momentum)
    return jax.jit(
      lambda: clone.apply(variables, images, train=True, mutable=['batch_stats'])[1]['batch_stats']
    )()

  of_the_batch = updated(0.0)
  expected = jax.tree.map(
    lambda old, new: 0.9 * old + 0.1 * new, variables['batch_stats'], of_the_batch
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), updated(0.9), expected
  )
  means = [x for path, x in jax.tree.leaves_with_path(of_the_batch) if 'mean' in str(path[-1])]
  assert max(np.abs(mean).max() for mean in means) > 1e-2


@pytest.mark.parametrize(
  ('kind', 'layer', 'leaf'),
  [
    ('group', 'GroupNorm_1', 'scale'),
    ('batch', 'BatchNorm_1', 'scale'),
    ('none', 'Conv_1', 'kernel'),
  ],
)
def test_residual_branches_start_at_zero(kind, layer, leaf):
  model = build('resnet8', width=4, normalization=kind)
  params = jax.jit(model.init, static_argnums=2)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), True)[
    'params'
  ]
  for block in range(3):
    layers = params[f'Block_{block}']
    assert not np.any(layers[layer][leaf])
    assert np.any(layers['Conv_0']['kernel'])


@pytest.mark.parametrize(
  ('name', 'layer'),
  [('mlp', 'Dense_0'), ('cnn', 'Conv_0'), ('resnet8', 'Conv_0'), ('resnet18', 'Conv_0')],
)
def test_width_is_that_of_the_first_layer(name, layer):
  assert shapes(build(name, width=24))['params'][layer]['kernel'].shape[-1] == 24


def test_initial_weights_are_those_of_flax():
  key, shape = jax.random.key(0), (3, 3, 4, 8)
  np.testing.assert_array_equal(he_normal(key, shape), nn.initializers.he_normal()(key, shape))


@pytest.mark.parametrize('depth', [0, 1, 3])
def test_depth_is_the_number_of_hidden_layers(depth):
  params = shapes(build('mlp', depth=depth, normalization='none'))['params']
  assert sorted(params) == [f'Dense_{i}' for i in range(depth + 1)]


@pytest.mark.parametrize(('channels', 'size'), [(16, 16), (32, 16), (24, 12), (10, 10), (17, 1)])
def test_groups_have_at_most_16_channels_and_divide_them_all(channels, size):
  assert group_size(channels) == size


@pytest.mark.parametrize('name', models.MODELS)
def test_entries_say_which_models_convolve(name):
  calls = []

  def conv(*arguments, **keywords):
    calls.append(1)
    return convolution.conv('native')(*arguments, **keywords)

  model = models.create(model_config(name, width=SMALL[name]), 4, conv)
  shapes(model, (2, 16, 16, 3))
  assert models.MODELS[name].convolves == bool(calls)
