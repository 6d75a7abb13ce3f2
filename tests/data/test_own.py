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


@pytest.mark.parametrize(
  'values, expected',
  [
    (np.array([2**31 - 1, 0], np.int64), np.int32),
    (np.array([5, 7], np.uint64), np.int32),  # of which NumPy's negative is large
    (np.array([-(2**31) + 1, 0], np.int64), np.int32),
    (np.array([2**32 - 1, 0], np.uint32), np.uint32),
    (np.array([1.5, 0], np.float64), np.float32),
    (np.array([1.5, 0], np.float16), np.float16),
    (np.array([True, False]), np.bool_),
  ],
)
def test_numbers_stay_what_they_are(values, expected):
  found = dataset(pair(values), classes=False).train.images
  assert found.dtype == expected
  np.testing.assert_array_equal(found.astype(object), values.astype(object))


@pytest.mark.parametrize('least, kind', [(2**31, np.int64), (-(2**31), np.int64)])
@pytest.mark.parametrize('beyond', [0, 2**33, 2**62])
def test_whole_numbers_that_do_not_fit_are_refused_on_both_sides(least, kind, beyond):
  value = least + beyond if least > 0 else least - beyond
  with pytest.raises(DataError, match='do not fit 32 bits'):
    dataset(pair(np.array([value, 0], kind)), classes=False)


def test_the_least_of_all_whole_numbers_is_refused():
  """It has no negative of 64 bits."""
  with pytest.raises(DataError, match='do not fit 32 bits'):
    dataset(pair(np.array([-(2**63), 0])), classes=False)


ROWS = np.arange(N * 2, dtype=np.float32).reshape(N, 2)
CLASSES = np.arange(N) % 3


def test_classes_are_those_of_both_splits():
  found = dataset(Data((ROWS, CLASSES), (ROWS, CLASSES + 2)), classes=True)
  assert found.class_names == ('0', '1', '2', '3', '4')
  assert found.class_counts() == {'train': [4, 4, 4, 0, 0], 'validation': [0, 0, 4, 4, 4]}


@pytest.mark.parametrize(
  'train, validation',
  [
    (CLASSES, CLASSES - 1),  # below 0 in validation alone
    (np.ones(N, int), CLASSES),  # one class to train on
    (CLASSES[:, None], CLASSES[:, None]),
    (CLASSES % 2 == 0, CLASSES % 2 == 0),  # truth values
    ({'a': CLASSES}, {'a': CLASSES}),
  ],
)
def test_targets_that_are_no_classes_are_refused_where_the_task_takes_them_so(train, validation):
  parts = Data((ROWS, train), (ROWS, validation))
  assert dataset(parts, classes=False).class_names == ()
  with pytest.raises(DataError, match='no classes: give whole numbers from 0 on'):
    dataset(parts, classes=True)


@pytest.mark.parametrize('other', [CLASSES.astype(np.float32), CLASSES[:, None], {'a': CLASSES}])
def test_targets_of_both_splits_are_alike(other):
  with pytest.raises(DataError, match='targets of training and validation differ'):
    dataset(Data((ROWS, CLASSES), (ROWS, other)), classes=False)


@pytest.mark.parametrize(
  'shape, kind, images',
  [
    ((N, 4, 4, 3), np.uint8, True),
    ((N, 4, 4), np.uint8, False),
    ((N, 4, 4, 3), np.int8, False),
    ((N, 2, 4, 4, 3), np.uint8, False),
  ],
)
def test_images_are_bytes_of_four_axes(shape, kind, images):
  values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
  found = dataset(pair(values), classes=False)
  assert (found.mean is not None) == (found.std is not None) == images
  assert (found.image_shape == shape[1:]) if images else found.image_shape.shape == (1, *shape[1:])


@pytest.mark.parametrize('empty', [np.zeros((0, 2)), {'a': np.zeros((0, 2))}])
def test_no_examples_are_no_data(empty):
  with pytest.raises(DataError, match=r'the arrays of validation hold \[0\] examples'):
    dataset(Data(ROWS if isinstance(empty, np.ndarray) else {'a': ROWS}, empty), classes=False)


@pytest.mark.parametrize('value', [np.array(3.0), np.array([1j] * N), np.array([None] * N)])
def test_what_holds_no_numbers_is_refused(value):
  with pytest.raises(DataError, match='holds no numbers'):
    dataset(pair(value), classes=False)


def test_values_that_are_not_finite_are_counted_and_named():
  values = np.zeros((3000, 2))
  values[[5, 1500, 2999], 1] = np.nan, np.inf, -np.inf  # in each of three parts
  with pytest.raises(DataError, match='inputs of train, x: 3 values are not finite'):
    dataset(pair({'x': values}), classes=False)


@pytest.mark.parametrize('kind', [np.float64, np.longdouble])
def test_values_beyond_32_bits_are_refused_and_others_are_held_in_them(kind):
  with pytest.raises(DataError, match='2 values are not finite as numbers of 32 bits'):
    dataset(pair(np.array([[1e39, 1.0], [-1e300, 2.0], [3.4e38, 3.0]], kind)), classes=False)
  held = dataset(pair(np.array([[3.4e38, 1.0]] * N, kind)), classes=False).train.images
  assert held.dtype == np.float32
  assert np.isfinite(held).all()
