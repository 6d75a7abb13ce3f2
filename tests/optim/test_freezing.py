"""What trains and what is frozen, what a person is told of it, and optimizer states after it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bsjax.config.errors import ConfigError
from bsjax.optim import freezing


def test_the_table_counts_what_is_trained_and_what_is_frozen():
  params = {
    'Conv_0': {'kernel': np.ones((3, 3, 4)), 'bias': np.ones(4)},
    'head': {'kernel': np.ones((5, 2)), 'bias': np.ones(2)},
  }
  trainable = frozenset({'head/kernel', 'head/bias', 'Conv_0/bias'})
  table = freezing.table(params, trainable, 'Stage', frozenset({'BatchNorm_0'}))
  assert [list(column.cells) for column in table.columns[:3]] == [
    ['Conv_0', 'head', 'all'],
    ['4', '12', '16'],
    ['36', '0', '36'],
  ]
  everything = freezing.table(params, None, 'Stage')
  assert [list(column.cells)[-1] for column in everything.columns] == ['all', '52', '0', '0']


def test_a_pattern_is_a_path_or_its_beginning_up_to_a_slash_or_has_wildcards():
  params = {f'Block_{i}': {'Conv_0': {'kernel': np.ones(1)}, 'bias': np.ones(1)} for i in (1, 10)}
  own, other = ({f'Block_{i}/Conv_0/kernel', f'Block_{i}/bias'} for i in (1, 10))
  for patterns, found in {
    ('Block_1',): own,
    ('Block_10',): other,
    ('Block_1*',): own | other,
    ('Block_1/bias', '*kernel'): {'Block_1/bias', *(p for p in own | other if 'kernel' in p)},
  }.items():
    assert freezing.trainable_paths(params, patterns, 'here') == found
  assert freezing.trainable_paths(params, (), 'here') is None
  with pytest.raises(ConfigError, match=r"here: \['Block_'\] match none of the 4"):
    freezing.trainable_paths(params, ('Block_1', 'Block_'), 'here')


def test_batch_norm_layers_are_those_inside_blocks_too():
  params = {'Conv_0': {'kernel': np.ones(1)}, 'Block_0': {'BatchNorm_0': {'scale': np.ones(2)}}}
  norms = frozenset({'Block_0/BatchNorm_0', 'Block_0/BatchNorm_1', 'BatchNorm_0'})
  table = freezing.table(params, None, 'Stage', norms)
  assert list(table.columns[3].cells) == ['0', '2', '3']


def test_a_layer_is_frozen_where_none_of_its_own_parameters_trains():
  layers = [f'BatchNorm_{number}' for number in (1, 10, 2)]
  params = {layer: {'scale': np.ones(1), 'bias': np.ones(1)} for layer in layers}
  statistics = {layer: {'mean': np.ones(1)} for layer in layers}
  trainable = frozenset({'BatchNorm_10/bias', 'Dense_0/kernel'})
  found = freezing.frozen_norms(params, statistics, trainable)
  assert found == {'BatchNorm_1', 'BatchNorm_2'}
  assert freezing.frozen_norms(params, statistics, None) == frozenset()


def test_trees_are_split_and_joined():
  params = {'a': {'x': 1, 'y': 2}, 'b': {'x': 3}}
  parts = freezing.split(params, frozenset({'a/y'}))
  assert parts == ({'a': {'y': 2}}, {'a': {'x': 1}, 'b': {'x': 3}})
  assert freezing.join(*parts) == params
  assert freezing.split(params, None) == (params, {}) and freezing.join(params, {}) == params


def test_an_optimizer_state_goes_on_where_parameters_stay_trainable():
  """Counts too; what becomes trainable, or has another shape, begins anew."""
  adam = optax.adam(0.1)
  old = adam.init({'a': jnp.ones(2), 'gone': jnp.ones(1), 'reshaped': jnp.ones(2)})
  old = jax.tree.map(lambda x: x + 7, old)
  fresh = adam.init({'a': jnp.ones(2), 'new': jnp.ones(3), 'reshaped': jnp.ones(3)})
  (found, _) = freezing.carry_over(fresh, old)
  assert found.count == 7
  for moment in (found.mu, found.nu):
    assert set(moment) == {'a', 'new', 'reshaped'}
    assert (moment['a'] == 7).all()
    assert not moment['new'].any() and moment['reshaped'].tolist() == [0, 0, 0]
