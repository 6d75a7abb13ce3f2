"""Models from outside, behind one protocol: flax linen modules, nnx modules, and (init, apply).

What the engine holds of a model are `variables`: {'params', 'batch_stats'}, nested dicts of arrays.
A model that draws at random is given one key for each example, folded from the trial and from the
example's position in its stream, so that lanes of a trial draw the same whatever their batch size.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Key, PyTree

from bsjax.config.errors import ConfigError
from bsjax.models.named import Named
from bsjax.models.task import Inputs, Outputs

FLAGS = {'train': True, 'training': True, 'is_training': True, 'deterministic': False}
COLLECTIONS = {'params', 'batch_stats'}


@runtime_checkable
class OwnModel(Protocol):
  """A model as the engine calls it."""

  name: str

  def init(self, key: Key[Array, ''], inputs: Inputs, train: bool = False) -> PyTree:
    """Returns the variables; inputs are one example of zeros."""

  def apply(self, variables: PyTree, inputs: Inputs, train: bool = False) -> Outputs:
    """Returns the outputs in evaluation mode."""

  def training_outputs(
    self, variables: PyTree, inputs: Inputs, keys: Callable[[], Key[Array, ' example']]
  ) -> tuple[Outputs, PyTree]:
    """Returns the outputs in training mode, and the batch statistics after them."""


def adapted(model: Any) -> OwnModel:
  """Returns a model of one of the three kinds as the engine calls it.

  That is a linen module, whose argument `train` (or `training`, `is_training`, `deterministic`) is
  set if it has one; a function of `rngs` that makes an nnx module, such as its class; or a pair of
  pure functions, `init(key)` or `init(key, inputs)`, which gives parameters, and `apply(params,
  inputs)`, which may take `train` and, for what it draws at random for an example, `key`. Raises
  ConfigError for anything else.
  """
  if isinstance(model, nn.Module):
    return LinenModel(model)
  if isinstance(model, nnx.Module):
    raise ConfigError(
      'model is an nnx module that is initialized already, and trials differ in initialization: '
      f'give what makes it, such as model=lambda rngs: {type(model).__name__}(..., rngs=rngs)'
    )
  if isinstance(model, tuple) and len(model) == 2 and all(map(callable, model)):
    return Functions(*model)
  if callable(model):
    return NnxModel(model)
  raise ConfigError(
    f'model is {model!r}: give a flax linen module, a function of rngs that makes an nnx module, '
    'or a pair of functions (init, apply)'
  )


def own_statistics(
  model: OwnModel, variables: PyTree, inputs: Inputs, keys: Callable[[], Key[Array, ' example']]
) -> tuple[None, PyTree]:
  """Returns the statistics of a batch alone, from averages of whatever decay a model keeps.

  What a running average becomes is linear in what it was: m x old + (1 - m) x batch, so that its
  values from 0 and from 1 give both m and the batch's.
  """
  old = variables['batch_stats']
  zeros, ones = (
    model.training_outputs(
      {**variables, 'batch_stats': jax.tree.map(lambda x, s=start: jnp.full_like(x, s), old)},
      inputs,
      keys,
    )[1]
    for start in (0, 1)
  )

  def of_batch(zero: Array, one: Array, kept: Array) -> Array:
    fresh = 1 - (one - zero)
    return jnp.where(fresh > 0, zero / jnp.where(fresh > 0, fresh, 1), kept)

  return None, jax.tree.map(of_batch, zeros, ones, old)


def _flag(function: Callable, train: bool) -> dict[str, bool]:
  """How a call is told whether it trains, if it is."""
  named = inspect.signature(function).parameters
  return {name: train == trains for name, trains in FLAGS.items() if name in named}


def _by_example(
  function: Callable[[Inputs, Key[Array, '']], Outputs],
  inputs: Inputs,
  keys: Callable[[], Key[Array, ' example']],
) -> Outputs:
  """The outputs of what draws for each example apart."""

  def of_example(example: PyTree, key: Key[Array, '']) -> PyTree:
    alone = jax.tree.map(lambda x: x[None], example)
    return jax.tree.map(lambda x: x[0], function(alone, key))

  return jax.vmap(of_example)(inputs, keys())


@dataclasses.dataclass(frozen=True)
class LinenModel:
  """A linen module; with batch statistics it draws for a micro-batch from its first key."""

  module: nn.Module

  @property
  def name(self) -> str:
    return type(self.module).__name__

  def init(self, key: Key[Array, ''], inputs: Inputs, train: bool = False) -> PyTree:
    variables = flax.core.unfreeze(self.module.init(key, inputs, **self._flag(False)))
    if more := sorted(set(variables) - COLLECTIONS):
      raise ConfigError(
        f'{self.name} has the collections {more} beside params and batch_stats: what else changes '
        'while it trains cannot be carried along'
      )
    return {'params': variables.get('params', {}), 'batch_stats': variables.get('batch_stats', {})}

  def apply(self, variables: PyTree, inputs: Inputs, train: bool = False) -> Outputs:
    return self.module.apply(variables, inputs, **self._flag(False))

  def training_outputs(
    self, variables: PyTree, inputs: Inputs, keys: Callable[[], Key[Array, ' example']]
  ) -> tuple[Outputs, PyTree]:
    def of_batch(rngs: dict[str, Array] | None) -> tuple[Outputs, PyTree]:
      outputs, changed = self.module.apply(
        variables, inputs, mutable=['batch_stats'], rngs=rngs, **self._flag(True)
      )
      return outputs, changed.get('batch_stats', {})

    def of_example(example: Inputs, key: Key[Array, '']) -> Outputs:
      return self.module.apply(variables, example, rngs=_streams(key), **self._flag(True))

    try:
      return of_batch(None)
    except flax.errors.InvalidRngError:  # while it is traced: the module asks for a key
      if variables['batch_stats']:
        return of_batch(_streams(keys()[0]))
      return _by_example(of_example, inputs, keys), {}

  def _flag(self, train: bool) -> dict[str, bool]:
    return _flag(type(self.module).__call__, train)


def _streams(key: Key[Array, '']) -> dict[str, Array]:
  """'dropout' is drawn from the key; linen draws all other streams from what 'params' has."""
  return {'dropout': key, 'params': jax.random.fold_in(key, 1)}


class NnxModel:
  """What makes an nnx module: a function of `rngs`."""

  def __init__(self, make: Callable[..., nnx.Module]):
    self._make = make

  @functools.cached_property
  def _parts(self) -> tuple[Any, Named, Named, PyTree]:
    """The graph, the names of parameters and statistics, and the state of what it draws from."""
    try:
      module = nnx.eval_shape(lambda: self._make(rngs=nnx.Rngs(0)))
    except TypeError as error:
      raise ConfigError(
        f'model={self._make!r} is no linen module, and as a function of rngs that makes an nnx '
        f'module it fails: {error}'
      ) from error
    graph, params, stats, draws, more = nnx.split(
      module, nnx.Param, nnx.BatchStat, nnx.RngState, ...
    )
    if jax.tree.leaves(more):
      raise ConfigError(
        f'{type(module).__name__} holds variables that are neither parameters nor batch statistics '
        f'({Named(more).names[0]}): what else changes while it trains cannot be carried along'
      )
    self._name = type(module).__name__
    return graph, Named(params), Named(stats), draws

  @property
  def name(self) -> str:
    _ = self._parts
    return self._name

  def init(self, key: Key[Array, ''], inputs: Inputs, train: bool = False) -> PyTree:
    _, params, stats, _ = self._parts
    module = self._make(rngs=nnx.Rngs(key))
    return {
      'params': params.dicts(nnx.state(module, nnx.Param)),
      'batch_stats': stats.dicts(nnx.state(module, nnx.BatchStat)),
    }

  def apply(self, variables: PyTree, inputs: Inputs, train: bool = False) -> Outputs:
    return self._run(variables, inputs, None)[0]

  def training_outputs(
    self, variables: PyTree, inputs: Inputs, keys: Callable[[], Key[Array, ' example']]
  ) -> tuple[Outputs, PyTree]:
    if not jax.tree.leaves(self._parts[3]):
      return self._run(variables, inputs, jax.random.key(0))
    if variables['batch_stats']:
      return self._run(variables, inputs, keys()[0])

    def of_example(example: Inputs, key: Key[Array, '']) -> Outputs:
      return self._run(variables, example, key)[0]

    return _by_example(of_example, inputs, keys), {}

  def _run(
    self, variables: PyTree, inputs: Inputs, key: Key[Array, ''] | None
  ) -> tuple[Outputs, PyTree]:
    """Outputs and statistics; without a key in evaluation mode."""
    graph, params, stats, draws = self._parts
    trees = params.tree(variables['params']), stats.tree(variables['batch_stats'])
    module = nnx.merge(graph, *trees, _seeded(draws, jax.random.key(0) if key is None else key))
    module.eval() if key is None else module.train()
    flag = _flag(type(module).__call__, key is not None)
    outputs = module(inputs, **flag)
    return outputs, stats.dicts(nnx.state(module, nnx.BatchStat))


def _seeded(draws: PyTree, key: Key[Array, '']) -> PyTree:
  """The state of all streams at their beginning, each with a key of its own."""
  leaves, treedef = jax.tree.flatten(draws)

  def fresh(number: int, leaf: Any) -> Array:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.fold_in(key, number)
    return jnp.zeros(leaf.shape, leaf.dtype)

  return jax.tree.unflatten(treedef, [fresh(*pair) for pair in enumerate(leaves)])


class Functions:
  """A pair of pure functions; Equinox models become one by `eqx.partition` (README.md)."""

  def __init__(self, init: Callable[..., PyTree], apply: Callable[..., Outputs]):
    self._init, self._apply = init, apply
    self._takes_inputs = len(inspect.signature(init).parameters) > 1
    self._draws = 'key' in inspect.signature(apply).parameters
    self._named: Named | None = None

  @property
  def name(self) -> str:
    return getattr(self._apply, '__name__', 'apply')

  def init(self, key: Key[Array, ''], inputs: Inputs, train: bool = False) -> PyTree:
    params = self._init(key, inputs) if self._takes_inputs else self._init(key)
    self._named = Named(params)
    return {'params': self._named.dicts(params), 'batch_stats': {}}

  def apply(self, variables: PyTree, inputs: Inputs, train: bool = False) -> Outputs:
    return self._call(variables, inputs, False)

  def training_outputs(
    self, variables: PyTree, inputs: Inputs, keys: Callable[[], Key[Array, ' example']]
  ) -> tuple[Outputs, PyTree]:
    if not self._draws:
      return self._call(variables, inputs, True), {}
    draw = functools.partial(self._call, variables)
    return _by_example(lambda example, key: draw(example, True, key=key), inputs, keys), {}

  def _call(self, variables: PyTree, inputs: Inputs, train: bool, **key: Any) -> Outputs:
    if self._named is None:
      raise RuntimeError('a model is initialized before it is applied')
    draws = {'key': None} if self._draws else {}
    params = self._named.tree(variables['params'])
    return self._apply(params, inputs, **_flag(self._apply, train), **draws | key)
