"""What a person is told of what trains."""

import numpy as np

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
