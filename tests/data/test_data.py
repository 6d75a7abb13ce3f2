"""Data sets: splits, statistics, and errors that say what is wrong, the bound and the remedy."""

import numpy as np
import pytest
from helpers.builders import data_config, expect_problem, npz_config, random_images, rows, write_npz
from sklearn.datasets import load_digits

from bsjax import data
from bsjax.data.stratify import stratified


def test_digits_are_parted_class_by_class(tmp_path):
  digits = load_digits()
  loaded = data.load(data_config(tmp_path), seed=0)
  assert loaded.name == 'digits' and loaded.class_names == tuple('0123456789')
  assert (loaded.num_classes, loaded.image_shape) == (10, (8, 8, 1))
  assert len(loaded.validation.labels) == 359 and len(loaded.train.labels) == 1438
  assert loaded.train.images.max() == 16
  whole = data.Split(digits.images.astype(np.uint8)[..., None], digits.target.astype(np.int32))
  assert rows(loaded.train, loaded.validation) == rows(whole)
  quota = np.bincount(digits.target) * 359 / 1797
  held = np.bincount(loaded.validation.labels)
  assert (held >= np.floor(quota)).all() and (held <= np.ceil(quota)).all()


def test_seed_draws_the_split(tmp_path):
  config = data_config(tmp_path)
  first, other, again = (data.load(config, seed).validation.images for seed in (0, 1, 0))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_every_example_of_a_class_is_equally_likely_to_be_held_out():
  labels = np.asarray([0, 1, 1, 0, 2, 0, 1, 0, 0, 1] * 2)  # 10, 8 and 2 of a class
  drawn = [stratified(labels, 10, seed) for seed in range(2000)]
  assert all(np.bincount(labels[indices]).tolist() == [5, 4, 1] for indices in drawn)
  often = np.bincount(np.concatenate(drawn)) / len(drawn)
  np.testing.assert_allclose(often, 0.5, atol=0.05)  # 4.5 standard deviations


def test_counts_are_exact_where_classes_are_even(tmp_path):
  arrays = write_npz(tmp_path / 'a.npz', np.arange(100) % 5)
  config = npz_config(tmp_path, train_examples=40)
  loaded = data.load(config, seed=3)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [4] * 5)
  np.testing.assert_array_equal(np.bincount(loaded.train.labels), [8] * 5)
  together = rows(loaded.train, loaded.validation)
  whole = rows(data.Split(arrays['train_images'], arrays['train_labels'].astype(np.int32)))
  assert together <= whole and together.total() == 60
  # The same seed holds out the same examples, however many are trained on.
  config.train_examples = 0
  assert rows(data.load(config, seed=3).validation) == rows(loaded.validation)


def test_mean_and_std_are_of_the_training_split(tmp_path):
  images = random_images(50)
  images[..., 1] = 7
  write_npz(tmp_path / 'a.npz', np.arange(50) % 2, train_images=images)
  loaded = data.load(npz_config(tmp_path), seed=0)
  pixels = loaded.train.images.astype(np.float64)
  np.testing.assert_allclose(loaded.mean, pixels.mean((0, 1, 2)), rtol=1e-7)
  np.testing.assert_allclose(loaded.std[[0, 2]], pixels.std((0, 1, 2))[[0, 2]], rtol=1e-7)
  assert loaded.mean[1] == 7 and loaded.std[1] == 1  # constant: not divided by 0


def test_statistics_of_more_than_2_to_the_32(tmp_path):
  images = np.zeros((40_000, 32, 32), np.uint8)
  images[::2] = 255
  labels = np.arange(40_000) % 4 // 2
  own = {'own_images': images[:4], 'own_labels': labels[:4]}
  write_npz(tmp_path / 'a.npz', labels, train_images=images, **own)
  loaded = data.load(npz_config(tmp_path, validation='own'), seed=0)
  assert (loaded.mean[0], loaded.std[0]) == (127.5, 127.5)


@pytest.mark.parametrize(
  'overrides, texts',
  [
    ({'source': 'digit'}, ["source='digit'", "'digits'?", 'digits, image_folder, npz, tfds']),
    ({'validation_share': 0.0}, ['validation_share=0.0', 'between 0 and 1', '0.2']),
    ({'validation_share': 1.0}, ['validation_share=1.0', 'between 0 and 1', '0.2']),
    ({'train_examples': -1}, ['train_examples=-1', 'at least 0', '0: all']),
    ({'crop': -2}, ['crop=-2', 'at least 0', '0: no crop']),
    ({'validation': 'train'}, ["validation='train'", 'on the training data', "'split'"]),
    ({'validation': 'test'}, ["validation='test'", "'digits'", "'split'"]),
    ({'source': 'tfds'}, ['name is empty', "'cifar10'"]),
    ({'source': 'npz'}, ["path=''", 'does not exist', '.npz']),
    ({'source': 'npz', 'path': '/no/such.npz'}, ["'/no/such.npz'", 'does not exist', '.npz']),
    ({'source': 'image_folder', 'path': '/no/such'}, ["'/no/such'", 'does not exist', 'CSV']),
  ],
)
def test_problems_of_the_keys(tmp_path, overrides, texts):
  expect_problem(data_config(tmp_path, **overrides), *texts)


def test_all_problems_at_once_and_none_without(tmp_path):
  assert data.wrong(data_config(tmp_path)) == []
  assert len(data.wrong(data_config(tmp_path, source='x', crop=-1, train_examples=-1))) == 3
  both = data_config(tmp_path, source='image_folder', path='/no/such', validation='test')
  assert len(data.wrong(both)) == 2


@pytest.mark.parametrize(
  'overrides, pattern',
  [
    ({'crop': 8}, 'crop=8 .*at most 7 .*8 x 8'),
    ({'train_examples': 1439}, 'train_examples=1439 .*between 10.* 1438, all '),
    ({'train_examples': 9}, 'train_examples=9 .*between 10, one of each class'),
    ({'validation_share': 0.001}, 'share=0.001 .*2 to validate.*10 classes.*between 0.00556'),
    ({'validation_share': 0.999}, 'share=0.999 .*2 to train.*10 classes.*and 0.994'),
  ],
)
def test_errors_only_the_data_can_tell(tmp_path, overrides, pattern):
  with pytest.raises(data.DataError, match=pattern):
    data.load(data_config(tmp_path, **overrides), seed=0)


@pytest.mark.parametrize('train_examples', [10, 1437, 1438])
def test_every_bound_named_is_allowed(tmp_path, train_examples):
  loaded = data.load(data_config(tmp_path, train_examples=train_examples), seed=0)
  assert len(loaded.train.labels) == train_examples
  assert len(np.unique(loaded.train.labels)) == 10
