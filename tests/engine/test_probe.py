"""Gradients of single examples inside the program, against explicit ones of every model."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import small_config, trained
from jax.flatten_util import ravel_pytree

from bsjax import models
from bsjax.config.errors import ConfigError
from bsjax.data import stream
from bsjax.data.stream import trial_key
from bsjax.engine import probe, programs
from bsjax.engine.validate import validate
from bsjax.models import convolution
from bsjax.models.task import CLASSIFICATION
from bsjax.noise import entries, per_example
from bsjax.train import rows


def small_model(name, normalization='group'):
  config = small_config(model__name=name, model__width=4, model__normalization=normalization).model
  return models.create(config, 3, conv=convolution.conv('im2col'))


def initial(model, shape):
  init = jax.jit(lambda key: model.init(key, jnp.zeros((1, *shape)), train=False))
  return init(jax.random.key(0))


def mean_loss(model, variables, images, labels):
  """The mean loss in evaluation mode."""
  logits = model.apply(variables, images, train=False)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def explicit(model, variables, images, labels):
  """The gradient of every example by itself, layer by layer, `[example, parameter]`."""

  @jax.jit
  @jax.grad
  def gradient(params, *one):
    return mean_loss(model, {**variables, 'params': params}, *one)

  layers = {}
  for image, label in zip(images, labels, strict=True):
    tree = gradient(variables['params'], image[None], label[None])
    for name, leaf in per_example.traverse_util.flatten_dict(tree, sep='/').items():
      layers.setdefault(name.rpartition('/')[0], {}).setdefault(name, []).append(np.asarray(leaf))
  return layers


def batch(shape, count=6):
  key = jax.random.key(1)
  images = jax.random.normal(key, (count, *shape))
  return images, jax.random.randint(jax.random.fold_in(key, 1), (count,), 0, 3)


CASES = [
  ('mlp', (4, 4, 1), False),
  ('mlp', (4, 4, 1), True),
  ('cnn', (4, 4, 2), False),  # the second convolution by its Gram matrices
  ('cnn', (4, 4, 2), True),  # which a scaling of coordinates forbids
]


@pytest.mark.parametrize('name, shape, scaled', CASES)
def test_products_equal_those_of_explicit_gradients(name, shape, scaled):
  model = small_model(name, 'none' if name == 'mlp' else 'batch')
  images, labels = batch(shape)
  variables = initial(model, shape)
  variables = jax.tree.map(
    lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), variables
  )
  params = variables['params']
  scaling = jax.tree.map(lambda x: 1 + jnp.abs(x), params) if scaled else None
  mean = jax.tree.map(
    lambda x: jnp.sin(1 + jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape), params
  )
  chunks = images.reshape(3, 2, *shape), labels.reshape(3, 2)
  own_products = functools.partial(per_example.products, model, CLASSIFICATION.loss)
  found = jax.jit(own_products)(variables, mean, scaling, *chunks)
  metric = jax.tree.map(lambda x: x**2, scaling) if scaled else jax.tree.map(jnp.ones_like, params)
  flat = functools.partial(per_example.traverse_util.flatten_dict, sep='/')
  metric, mean = (jax.tree.map(np.asarray, flat(tree)) for tree in (metric, mean))
  layers = explicit(model, variables, images, labels)
  assert set(found.squares) == set(found.with_mean) == set(layers)
  for layer, leaves in layers.items():
    for i in range(len(labels)):
      squares = sum(np.vdot(g[i] * metric[k], g[i]) for k, g in leaves.items())
      with_mean = sum(np.vdot(g[i] * metric[k], mean[k]) for k, g in leaves.items())
      assert found.squares[layer][i] == pytest.approx(squares, rel=1e-4), layer
      scale = np.sqrt(squares * sum(np.vdot(mean[k] * metric[k], mean[k]) for k in leaves))
      assert abs(found.with_mean[layer][i] - with_mean) < 1e-5 * scale, layer


def test_only_layers_whose_gram_matrices_are_cheaper_are_tapped():
  model = small_model('resnet8')
  image = jnp.zeros((1, 32, 32, 3))
  variables = initial(model, image.shape[1:])

  def tapped(image, scaled):
    return {layer.path for layer in per_example.tapped_layers(model, variables, image, scaled)}

  assert tapped(image, False) == {'Dense_0'}
  small = tapped(image[:, :8, :8], False)  # where the last layers have four positions
  assert {path for path in small if 'Conv' in path} and 'Dense_0' in small
  assert tapped(image[:, :8, :8], True) == {'Dense_0'}


@functools.cache
def probed(optimizer='sgd', blocks=0, examples=0):
  config = small_config(
    batch_sizes=(8,), trials=1, learning_rates=(0.01,), optimizer__name=optimizer, epochs=1.0
  )
  config.noise_scale.exact_examples = examples or 150
  config.noise_scale.curvature_blocks = blocks
  _, (group,), on_device = trained(config)
  return group, on_device, group.evaluate(on_device)()


def flat_problem(group, on_device):
  """The loss of chosen examples as a function of all parameters in one vector."""
  state = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host())
  theta, unravel = ravel_pytree(state.params)
  spec, train = group.spec, jax.tree.map(lambda x: x[0], on_device.train)
  images = stream.normalize(train.images, spec.mean, spec.std)

  @jax.jit
  def loss(theta, chosen):
    return mean_loss(spec.model, {'params': unravel(theta)}, images[chosen], train.labels[chosen])

  return loss, theta, state


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_a_probe_of_all_examples_is_the_exact_noise_scale(optimizer):
  group, on_device, snapshot = probed(optimizer)
  found = snapshot.probe
  loss, theta, state = flat_problem(group, on_device)
  grads = jax.vmap(jax.grad(loss), (None, 0))(theta, jnp.arange(150)[:, None])
  grads = np.asarray(grads, np.float64)
  record = rows.columns(jax.tree.map(lambda x: x[0], found), 150, 150, int(snapshot.updates[0]))
  scales = {entries.PLAIN: 1.0}
  if optimizer == 'adam':
    scales['preconditioned'] = ravel_pytree(
      group.spec.preconditioner(state.opt_state, state.updates)
    )[0]
  assert set(scales) == set(record) - {'examples'}
  for kind, scale in scales.items():
    own = grads * np.asarray(scale, np.float64)
    trace, grad_sq = own.var(0, ddof=1).sum(), (own.mean(0) ** 2).sum()
    assert record[kind]['trace'] == pytest.approx(trace, rel=1e-4)
    assert record[kind]['grad_sq'] == pytest.approx(grad_sq, rel=1e-3)
    np.testing.assert_allclose(record[kind]['ci95'], [trace / grad_sq] * 2, rtol=2e-3)
    layers = record[kind]['layers']
    assert sum(layer['trace'] for layer in layers.values()) == pytest.approx(trace, rel=1e-4)
    assert len(layers) == 2
  if optimizer == 'adam':
    first = rows.columns(jax.tree.map(lambda x: x[0], found), 150, 150, updates=0)
    assert first['preconditioned']['noise_scale'] is None


def test_curvature_products_are_those_of_the_hessians_of_blocks():
  group, on_device, snapshot = probed(blocks=4)
  loss, theta, _ = flat_problem(group, on_device)
  key = jax.random.fold_in(trial_key(group.spec.seed, jnp.int32(0)), probe.PROBE)
  order = jax.random.permutation(jax.random.fold_in(key, group.position), 150)
  blocks = np.asarray(order)[:148].reshape(4, 37)
  grads = np.stack([jax.grad(loss)(theta, block) for block in blocks])
  hessians = np.stack([jax.hessian(loss)(theta, block) for block in blocks])
  expected = np.einsum('ka,jab,lb->jkl', grads, hessians, grads)
  np.testing.assert_allclose(
    snapshot.probe.curvature[0], expected, atol=1e-4 * np.abs(expected).max()
  )


def test_probes_of_part_of_the_training_set_differ_between_moments():
  group, on_device, snapshot = probed(examples=40)
  found, again = snapshot.probe, group.evaluate(on_device)().probe
  squares = [sum(p.products[entries.PLAIN].squares.values()) for p in (found, again)]
  assert squares[0].shape == (1, 40)
  np.testing.assert_array_equal(*squares)
  trial = group.parts[0].lane_params.trial[0, 0]
  draws = [probe.chosen(group.spec, 40, trial, jnp.int32(at)) for at in (0, 8)]
  assert (np.asarray(draws[0]) != np.asarray(draws[1])).any()


def probe_of_first(group, on_device, state, blocks=0):
  """What a probe of 150 examples says of lane 0 in a state."""
  train = jax.tree.map(lambda x: x[0], on_device.train)
  run = jax.jit(lambda s: probe.probe_of(group.spec, 150, blocks, s, train, jnp.arange(150)))
  return run(state)


def test_an_optimizer_that_began_anew_scales_by_its_own_count():
  """Updates go on when a stage resets it; with its bias corrections it has to count from there."""
  group, on_device, _ = probed('adam')
  state = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host())
  assert state.opt_state.count == state.updates
  usual, later = (
    probe_of_first(group, on_device, state.replace(updates=state.updates + more)).products
    for more in (0, 500)
  )
  jax.tree.map(np.testing.assert_array_equal, usual, later)


def test_the_mean_gradient_is_that_of_all_examples_whatever_the_chunks(monkeypatch):
  """Of 150: four sums of 32 and one of 22."""
  group, on_device, _ = probed()
  state = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host())
  expected = probe_of_first(group, on_device, state).products
  monkeypatch.setattr(probe, 'CHUNK', 4)
  found = probe_of_first(group, on_device, state).products
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, expected)


def test_no_more_examples_are_probed_than_there_are_nor_more_blocks(monkeypatch):
  config = small_config(noise_scale__exact_examples=400, noise_scale__curvature_blocks=300)
  found = []

  def noted(spec, examples, blocks, *_):
    found.append((examples, blocks))
    return probe.Probe({}, None)

  monkeypatch.setattr(programs, 'probe', noted)
  _, (group,), on_device = trained(config, examples=0)
  jax.eval_shape(group.programs.probe, *_arguments(group, on_device))
  assert group.programs.probed == 150 and set(found) == {(150, 150)}


def _arguments(group, on_device):
  (part,) = group.parts
  return part.states, part.lane_params, on_device.train, jnp.int32(0)


def test_too_small_probes_are_refused():
  for keys, text in (
    ({'noise_scale__exact_examples': 8}, 'exact_examples=8 must be 0, or at least 32'),
    ({'noise_scale__curvature_blocks': 8}, 'at most noise_scale.exact_examples=0'),
    ({'noise_scale__exact_examples': 64, 'noise_scale__curvature_blocks': 3}, 'at least 4'),
  ):
    with pytest.raises(ConfigError, match=text):
      validate(small_config(**keys))


class Strided(nn.Module):
  """Convolutions with biases, of which the last has two places and more channels than those."""

  @nn.compact
  def __call__(self, x, train):
    x = nn.relu(nn.Conv(8, (3, 3), strides=(2, 2), padding=1)(x))
    x = nn.relu(nn.Conv(24, (2, 2), strides=2, padding='VALID')(x))
    return nn.Dense(3)(x.reshape(len(x), -1))


def test_a_convolution_with_a_bias_and_strides_is_measured_by_its_gram_matrices():
  images, labels = batch((8, 6, 2))
  model = Strided()
  variables = initial(model, images.shape[1:])
  mean = jax.tree.map(jnp.ones_like, variables['params'])
  tapped = per_example.tapped_layers(model, variables, images[:1], False)
  assert [layer.path for layer in tapped] == ['Conv_1', 'Dense_0']
  one_chunk = images[None], labels[None]
  run = functools.partial(per_example.products, model, CLASSIFICATION.loss)
  found = jax.jit(run)(variables, mean, None, *one_chunk)
  for layer, leaves in explicit(model, variables, images, labels).items():
    each = np.concatenate([np.stack(g).reshape(len(labels), -1) for g in leaves.values()], axis=1)
    np.testing.assert_allclose(found.squares[layer], (each**2).sum(1), rtol=1e-4)
    np.testing.assert_allclose(found.with_mean[layer], each.sum(1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
  ('layer', 'known'),
  [
    (nn.Conv(4, (3, 3)), True),
    (nn.Conv(4, (3, 3), kernel_dilation=(1, 1), padding='VALID'), True),
    (nn.Dense(4), True),
    (nn.Conv(4, (3, 3), feature_group_count=2), False),
    (nn.Conv(4, (3, 3), kernel_dilation=2), False),
    (nn.Conv(4, (3, 3), input_dilation=(2, 1)), False),
    (nn.Conv(4, (3, 3), padding='CIRCULAR'), False),
    (nn.Conv(4, (3, 3), mask=np.ones((3, 3, 4, 4))), False),
    (nn.Conv(4, (3,)), False),
    (nn.ConvTranspose(4, (3, 3)), False),
  ],
  ids=str,
)
def test_which_layers_can_do_without_their_gradient(layer, known):
  assert (per_example._patches(layer) is not None) == known


class Shared(nn.Module):
  """A network that uses one layer twice: the norms of its two gradients do not add up."""

  @nn.compact
  def __call__(self, x, train):
    layer = nn.Dense(4)
    x = layer(nn.relu(layer(x.reshape(len(x), -1)[:, :4])))
    return nn.Dense(3)(x)


def test_a_layer_that_is_used_twice_is_measured_as_one():
  images, labels = batch((4, 4, 1))
  model = Shared()
  variables = initial(model, images.shape[1:])
  mean = jax.tree.map(jnp.ones_like, variables['params'])
  chunks = images[None], labels[None]
  found = per_example.products(model, CLASSIFICATION.loss, variables, mean, None, *chunks)
  for layer, leaves in explicit(model, variables, images, labels).items():
    squares = sum((np.stack(g) ** 2).reshape(len(labels), -1).sum(1) for g in leaves.values())
    np.testing.assert_allclose(found.squares[layer], squares, rtol=1e-4)


def test_all_examples_are_shuffled_too():
  """Or blocks of a set that is sorted by class would each be a class of their own."""
  group, on_device, _ = probed(blocks=4)
  drawn = probe.chosen(group.spec, 150, group.parts[0].lane_params.trial[0, 0], jnp.int32(0))
  labels = np.asarray(on_device.train.labels)[0]
  assert (labels[drawn] != labels).mean() > 0.5
  np.testing.assert_array_equal(np.sort(drawn), np.arange(150))
