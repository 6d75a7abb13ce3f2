"""BatchNorm layers that use their running statistics in training, and keep them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.built_models import batch_norm_paths, build, model_config

from bsjax import models
from bsjax.models import convolution

WIDTHS = {'mlp': 8, 'cnn': 4, 'resnet8': 4}


def started(name):
  """A model, its variables with statistics of a batch, and images of another distribution."""
  model = build(name, width=WIDTHS[name], normalization='batch')
  images = jax.random.normal(jax.random.key(1), (8, 8, 8, 1))
  variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), images, True)
  params = jax.tree.map(
    lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size * 1.0)).reshape(x.shape), variables['params']
  )
  variables = {**variables, 'params': params}
  *_, statistics = train(model, variables, images)
  return model, {**variables, 'batch_stats': statistics}, 2 * images + 1


def train(model, variables, images):
  """Outputs of all BatchNorm layers, logits, and the statistics after a training step."""

  @jax.jit
  def step(variables):
    logits, changed = model.apply(
      variables,
      images,
      train=True,
      mutable=['batch_stats', 'intermediates'],
      capture_intermediates=lambda module, _: isinstance(module, nn.BatchNorm),
    )
    return changed['intermediates'], logits, changed['batch_stats']

  return step(variables)


def leaf(tree, path):
  for name in path.split('/'):
    tree = tree[name]
  return tree


@pytest.mark.parametrize('name', WIDTHS)
def test_frozen_layers_are_as_in_evaluation_and_keep_their_statistics(name):
  model, variables, images = started(name)
  paths = list(batch_norm_paths(model, (8, 8, 1)))
  first = 'Block_0/BatchNorm_0' if name == 'resnet8' else 'BatchNorm_0'
  seen, _, after = train(model.clone(frozen_norms=frozenset([first])), variables, images)
  before = variables['batch_stats']
  assert jax.tree.structure(before) == jax.tree.structure(after)
  for path in paths:
    same = [
      np.array_equal(leaf(before, path)[kind], leaf(after, path)[kind]) for kind in ('mean', 'var')
    ]
    assert same == [path == first] * 2, path
  # With all layers frozen, training computes what evaluation does, also where layers follow.
  own = model.clone(frozen_norms=frozenset(paths))
  all_seen, logits, after = train(own, variables, images)
  jax.tree.map(np.testing.assert_array_equal, after, before)
  evaluated = jax.jit(lambda: model.apply(variables, images, train=False))()
  np.testing.assert_allclose(logits, evaluated, rtol=1e-5, atol=1e-5)
  usual, in_training, _ = train(model, variables, images)
  assert np.abs(in_training - evaluated).max() > 1e-2
  if name != 'resnet8':  # where the layer sees the same images in all three

    def output(tree):
      return leaf(tree, first)['__call__'][0]

    np.testing.assert_allclose(output(seen), output(all_seen), rtol=1e-5, atol=1e-5)
    assert np.abs(output(usual) - output(all_seen)).max() > 1e-2


@pytest.mark.parametrize('name', models.MODELS)
def test_paths_of_batch_norm_layers_are_those_of_their_parameters_and_can_be_frozen(name):
  model = build(name, width=8, normalization='batch')
  found = batch_norm_paths(model, (16, 16, 3))
  images = jnp.zeros((2, 16, 16, 3))
  seen = {}

  def note(next_fun, args, kwargs, context):
    if isinstance(context.module, nn.BatchNorm) and context.method_name == '__call__':
      seen['/'.join(context.module.path)] = kwargs['use_running_average']
    return next_fun(*args, **kwargs)

  def run(frozen):
    own = model.clone(frozen_norms=frozenset(frozen))
    with nn.intercept_methods(note):
      return jax.eval_shape(lambda: own.init(jax.random.key(0), images, True))

  params = run(list(found)[::2])['params']
  assert seen == {path: index % 2 == 0 for index, path in enumerate(found)}
  for layer, paths in found.items():
    assert [leaf(params, path).shape for path in paths] == [
      leaf(params, f'{layer}/scale').shape
    ] * 2


@pytest.mark.parametrize('kind', ['group', 'none'])
def test_without_batch_norm_there_are_no_paths(kind):
  assert batch_norm_paths(build('cnn', width=4, normalization=kind), (8, 8, 1)) == {}


def test_create_takes_the_paths_to_freeze():
  frozen = frozenset(['BatchNorm_0'])
  for name in models.MODELS:
    config = model_config(name, normalization='batch')
    assert models.create(config, 4, convolution.conv('native'), frozen).frozen_norms == frozen
