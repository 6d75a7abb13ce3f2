"""What a person is told of what trains."""

import numpy as np
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
