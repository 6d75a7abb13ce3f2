"""Every model: sizes against the literature, types, normalization, training, lanes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bsjax import models, ops
from bsjax.config import base_config
from bsjax.models.initializers import he_normal
from bsjax.models.normalization import group_size

SMALL = {'mlp': 16, 'cnn': 4, 'resnet8': 4, 'resnet20': 4, 'resnet18': 4}


def model_config(name, **changes):
  config = base_config().model
  config.name = name
  config.update(changes)
  return config


def build(name, num_classes=4, form='canonical', **changes):
  return models.create(model_config(name, **changes), num_classes, ops.conv(form))


def shapes(model, images=(2, 8, 8, 1)):
  return jax.eval_shape(
    lambda: model.init(jax.random.key(0), jnp.zeros(images, jnp.float32), train=True)
  )


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


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
@pytest.mark.parametrize('images', [(2, 8, 8, 1), (3, 28, 28, 1), (2, 32, 32, 3), (1, 96, 80, 3)])
def test_logits_have_a_row_an_example_and_a_column_a_class(name, images):
  model = build(name, num_classes=7)
  logits = jax.eval_shape(
    lambda variables: model.apply(variables, jnp.zeros(images), train=False), shapes(model, images)
  )
  assert logits.shape == (images[0], 7)
  assert logits.dtype == jnp.float32


def test_resnet18_has_the_published_number_of_parameters():
  model = build('resnet18', num_classes=1000, normalization='batch')
  assert count(shapes(model, (1, 224, 224, 3))['params']) == 11_689_512


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
      capture_intermediates=lambda module, _: isinstance(module, nn.Conv | nn.Dense | nn.GroupNorm),
    ),
    variables,
  )
  assert logits.dtype == jnp.float32
  *hidden, last = jax.tree.leaves_with_path(state['intermediates'])
  by_type = {str(leaf.dtype) for path, leaf in (*hidden, last) if leaf.shape != logits.shape}
  assert by_type == {'bfloat16'}


TRAINED = [
  *((name, 'group') for name in ('mlp', 'cnn', 'resnet8')),
  *(pytest.param(name, 'group', marks=pytest.mark.slow) for name in ('resnet20', 'resnet18')),
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


def test_problems_are_reported_all_at_once():
  config = model_config('resnet81', normalization='groop', dtype='float16', width=-1, depth=-2)
  name, normalization, dtype, width, depth = models.problems(config)
  assert "model.name='resnet81'" in name and "did you mean 'resnet8'" in name
  assert all(known in name for known in models.MODELS)
  assert "did you mean 'group'" in normalization and 'batch' in normalization
  assert 'bfloat16' in dtype and 'float32' in dtype
  assert 'model.width=-1' in width and 'model.depth=-2' in depth


def test_the_usual_models_have_no_problems():
  assert all(models.problems(model_config(name)) == [] for name in models.MODELS)
