"""Models from outside: linen, nnx and pairs of functions give the same, and draw the same."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bsjax.config.errors import ConfigError
from bsjax.models.named import Named
from bsjax.models.own import adapted, own_statistics

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def fixed(key, shape, dtype=jnp.float32):
  """Weights that depend on their shape alone, and so not on how a library makes keys."""
  return 0.3 * jnp.sin(jnp.arange(np.prod(shape), dtype=jnp.float32)).reshape(shape)


class Linen(nn.Module):
  dropped: float = 0.0

  @nn.compact
  def __call__(self, x, train):
    x = nn.tanh(nn.Dense(7, kernel_init=fixed)(x))
    x = nn.Dropout(self.dropped, deterministic=not train)(x)
    return nn.Dense(3, kernel_init=fixed)(x)


class Nnx(nnx.Module):
  def __init__(self, rngs, dropped=0.0):
    self.first = nnx.Linear(5, 7, kernel_init=fixed, rngs=rngs)
    self.dropout = nnx.Dropout(dropped, rngs=rngs)
    self.last = nnx.Linear(7, 3, kernel_init=fixed, rngs=rngs)

  def __call__(self, x):
    return self.last(self.dropout(nnx.tanh(self.first(x))))


class Normalized(nn.Module):
  @nn.compact
  def __call__(self, x, train):
    x = nn.BatchNorm(use_running_average=not train, momentum=0.7)(nn.Dense(4)(x))
    return nn.Dense(2)(x)


class NormalizedNnx(nnx.Module):
  def __init__(self, rngs):
    self.dense = nnx.Linear(5, 4, rngs=rngs)
    self.norm = nnx.BatchNorm(4, momentum=0.7, rngs=rngs)

  def __call__(self, x):
    return self.norm(self.dense(x))


def functions(dropped=0.0):
  def init(key):
    return [
      (fixed(key, (5, 7)), jnp.zeros(7)),
      (fixed(key, (7, 3)), jnp.zeros(3)),
    ]

  def apply(params, x, train, key):
    (first, a), (last, b) = params
    x = jnp.tanh(x @ first + a)
    if train and dropped:
      x = jnp.where(jax.random.bernoulli(key, 1 - dropped, x.shape), x / (1 - dropped), 0)
    return x @ last + b

  return init, apply


KINDS = {
  'linen': lambda dropped: Linen(dropped),
  'nnx': lambda dropped: lambda rngs: Nnx(rngs, dropped),
  'functions': functions,
}


def keys_of(first, count):
  return lambda: jax.vmap(jax.random.key)(first + jnp.arange(count))


def begun(model):
  """A model as the engine calls it, with its variables."""
  model = adapted(model)
  return model, model.init(jax.random.key(0), jnp.zeros((1, 5)))


def test_the_same_network_is_the_same_in_all_libraries():
  outputs, gradients = {}, {}
  for name, make in KINDS.items():
    model, variables = begun(make(0.0))

    def loss(params, model=model, variables=variables):
      given = {**variables, 'params': params}
      return (model.training_outputs(given, jnp.asarray(X), keys_of(0, 6))[0] ** 2).mean()

    outputs[name] = model.apply(variables, jnp.asarray(X))
    grads = jax.tree.leaves(jax.grad(loss)(variables['params']))
    gradients[name] = sorted(float(jnp.abs(g).sum()) for g in grads)
  for name in KINDS:
    np.testing.assert_allclose(outputs[name], outputs['linen'], atol=1e-6)
    np.testing.assert_allclose(gradients[name], gradients['linen'], rtol=1e-5)


@pytest.mark.parametrize('name', KINDS)
def test_each_example_draws_from_its_own_key_whatever_stands_beside_it(name):
  model, variables = begun(KINDS[name](0.5))
  x = jnp.ones((8, 5))
  whole, _ = model.training_outputs(variables, x, keys_of(0, 8))
  halves = [model.training_outputs(variables, x[:4], keys_of(at, 4))[0] for at in (0, 4)]
  np.testing.assert_allclose(whole, jnp.concatenate(halves), atol=1e-6)
  assert len({tuple(row) for row in np.round(whole, 6).tolist()}) > 4
  once, again = (model.apply(variables, x) for _ in range(2))
  np.testing.assert_array_equal(once, again)
  np.testing.assert_allclose(once, jnp.broadcast_to(once[0], once.shape), atol=1e-6)


def test_another_stream_than_dropout_is_drawn_too():
  class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic):
      noise = 0.0 if deterministic else jax.random.normal(self.make_rng('noise'), (3,))
      return nn.Dense(3)(x) + noise

  model, variables = begun(Noisy())
  x = jnp.ones((4, 5))
  drawn, _ = model.training_outputs(variables, x, keys_of(0, 4))
  assert len({float(row[0]) for row in drawn}) == 4
  np.testing.assert_array_equal(drawn, model.training_outputs(variables, x, keys_of(0, 4))[0])
  assert len({float(row[0]) for row in model.apply(variables, x)}) == 1


class Kept(nn.Module):
  """Statistics that training leaves as they are."""

  @nn.compact
  def __call__(self, x, train):
    return nn.BatchNorm(use_running_average=True)(nn.Dense(4)(x))


def test_statistics_that_training_keeps_stay():
  model, variables = begun(Kept())
  variables['batch_stats']['BatchNorm_0']['mean'] += 3.0
  _, found = own_statistics(model, variables, jnp.asarray(X), keys_of(0, 6))
  jax.tree.map(np.testing.assert_array_equal, found, variables['batch_stats'])


@pytest.mark.parametrize('flag', ['train', 'training', 'is_training', 'deterministic', 'other'])
def test_a_model_is_told_whether_it_trains_in_the_words_of_its_library(flag):
  told = []
  names = {flag: True} if flag != 'other' else {}
  source = f'def apply(params, x{"".join(f", {name}" for name in names)}): return said(locals())'
  scope = {'said': lambda given: told.append(given.get(flag)) or given['x']}
  exec(source, scope)
  model, variables = begun((lambda key: {'w': jnp.zeros(1)}, scope['apply']))
  model.apply(variables, jnp.asarray(X))
  model.training_outputs(variables, jnp.asarray(X), keys_of(0, 6))
  expected = {'deterministic': [True, False], 'other': [None, None]}.get(flag, [False, True])
  assert told == expected


def test_an_init_may_ask_for_the_inputs():
  model, variables = begun(
    (lambda key, inputs: {'w': jnp.ones((inputs.shape[-1], 2))}, lambda params, x: x @ params['w'])
  )
  np.testing.assert_allclose(
    model.apply(variables, jnp.asarray(X))[:, 0], X.sum(1), rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('make', [Normalized, lambda: lambda rngs: NormalizedNnx(rngs)])
def test_statistics_of_a_batch_are_found_whatever_the_decay_of_their_averages(make):
  model, variables = begun(make())
  _, kept = model.training_outputs(variables, jnp.asarray(X), keys_of(0, 6))
  assert jax.tree.leaves(kept)
  _, found = own_statistics(model, variables, jnp.asarray(X), keys_of(0, 6))
  dense = variables['params'].get('Dense_0', variables['params'].get('dense'))
  hidden = X @ np.asarray(dense['kernel']) + np.asarray(dense['bias'])
  (layer,) = found.values()
  np.testing.assert_allclose(layer['mean'], hidden.mean(0), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(layer['var'], hidden.var(0), rtol=1e-4, atol=1e-5)


def test_equinox_models_are_a_pair_of_functions_by_partition():
  eqx = pytest.importorskip('equinox')

  def make(key):
    return eqx.nn.MLP(5, 3, 7, 1, activation=jnp.tanh, key=key)

  static = eqx.partition(make(jax.random.key(0)), eqx.is_inexact_array)[1]

  def init(key):
    return eqx.partition(make(key), eqx.is_inexact_array)[0]

  def apply(params, x):
    return jax.vmap(eqx.combine(params, static))(x)

  model, variables = begun((init, apply))
  expected = jax.vmap(make(jax.random.key(0)))(jnp.asarray(X))
  np.testing.assert_allclose(model.apply(variables, jnp.asarray(X)), expected, atol=1e-6)
  assert 'layers' in variables['params']


def test_trees_become_dicts_by_their_paths_and_back():
  tree = {'a': [jnp.zeros(1), (jnp.ones(2), None)], 'b': jnp.full(3, 2.0)}
  named = Named(tree)
  dicts = named.dicts(tree)
  assert sorted(named.names) == ['a/0', 'a/1/0', 'b'] and dicts['a']['1']['0'].shape == (2,)
  assert jax.tree.structure(named.tree(dicts)) == jax.tree.structure(tree)


class Counting(nn.Module):
  @nn.compact
  def __call__(self, x):
    self.variable('seen', 'count', jnp.zeros, ())
    return nn.Dense(1)(x)


class CountingNnx(nnx.Module):
  def __init__(self, rngs):
    self.seen = nnx.Variable(jnp.zeros(()))
    self.dense = nnx.Linear(5, 1, rngs=rngs)

  def __call__(self, x):
    return self.dense(x)


@pytest.mark.parametrize(
  'model, said',
  [
    (3, 'linen module'),
    (Nnx(nnx.Rngs(0)), 'lambda rngs: Nnx'),
    (lambda x: x, 'function of rngs'),
    (Counting(), "collections .'seen'"),
    (lambda rngs: CountingNnx(rngs), 'neither parameters nor batch statistics .seen'),
  ],
)
def test_what_is_no_model_is_refused_in_words(model, said):
  with pytest.raises(ConfigError, match=said):
    begun(model)
