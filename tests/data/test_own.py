"""Data from outside: arrays of any type and rank, with targets or without, and what is refused."""

import numpy as np
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.data import doubts
from bsjax.data.dataset import DataError
from bsjax.data.own import Data, dataset, given

N = 12


def pair(inputs, targets=None, **name):
  part = inputs if targets is None else (inputs, targets)
  return Data(part, part, **name)


def test_arrays_reach_the_model_as_they_are_in_at_most_32_bits():
  tokens = np.arange(N * 5).reshape(N, 5)
  found = dataset(pair(tokens, np.linspace(0, 1, N)), classes=False)
  assert found.train.images.dtype == np.int32 and found.train.labels.dtype == np.float32
  assert found.mean is None and found.class_names == () and len(found.train) == N
  assert found.image_shape.shape == (1, 5)
  np.testing.assert_array_equal(found.train.images, tokens)
  assert (found.strata == 0).all() and doubts.doubts(found)[0].endswith('unseen data')


def test_dicts_of_arrays_and_no_targets():
  inputs = {'x': np.ones((N, 2), np.float32), 'mask': np.ones((N, 3), bool)}
  found = dataset(pair(inputs), classes=False)
  assert found.train.labels['x'].shape == (N, 2) and found.image_shape['mask'].dtype == bool
  other = dataset(pair({**inputs, 'x': np.zeros((N, 2))}), classes=False)
  assert other.fingerprint() != found.fingerprint()
  assert doubts.copies(found).within == N - 1


def test_uint8_images_are_those_of_a_source_in_every_way():
  config = small_config()
  digits = data.load(config.data, config.seed)
  parts = [(split.images, split.labels) for split in (digits.train, digits.validation)]
  found = dataset(given(tuple(parts)), classes=True)
  assert found.fingerprint() == digits.fingerprint() and found.image_shape == (8, 8, 1)
  np.testing.assert_array_equal(found.mean, digits.mean)
  np.testing.assert_array_equal(found.std, digits.std)
  assert found.class_names == digits.class_names


@pytest.mark.parametrize(
  'parts, classes, said',
  [
    (pair(np.ones((N, 2)), np.ones(N - 1)), False, 'all must hold as many'),
    (pair(np.ones((N, 2)), np.full(N, np.nan)), False, 'not finite'),
    (pair(np.full((N, 2), 2**40), np.ones(N)), False, '32 bits'),
    (pair(np.array(['a'] * N), np.ones(N)), False, 'no numbers'),
    (pair(np.ones((N, 2)), np.ones(N)), True, 'no classes'),
    (pair(np.ones((N, 2)), -np.arange(N)), True, 'no classes'),
    (Data((np.ones((N, 2)), np.ones(N)), (np.ones((N, 3)), np.ones(N))), False, 'differ'),
  ],
)
def test_what_does_not_go_together_is_refused(parts, classes, said):
  with pytest.raises(DataError, match=said):
    dataset(parts, classes)
  with pytest.raises(DataError, match='give bsjax'):
    given(np.ones(3))
