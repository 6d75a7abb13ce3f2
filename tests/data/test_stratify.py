"""Which examples are left to train on, where several choices meet."""

import numpy as np
from helpers.small import small_config

from bsjax.data import stratify


def test_a_tail_is_cut_of_the_examples_that_are_not_held_out():
  config = small_config(
    data__validation='split',
    data__validation_share=0.25,
    data__imbalance_factor=9.0,
    data__train_examples=0,
  ).data
  labels = np.repeat(np.arange(3), 40)
  kept, held_out = stratify.choose(config, labels, 0)
  assert np.bincount(labels[held_out]).tolist() == [10, 10, 10]
  assert np.bincount(labels[kept]).tolist() == [30, 10, 3]
  assert not set(kept) & set(held_out)
