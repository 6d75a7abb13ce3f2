"""Long tails: published counts, nothing taken from validation, and errors that name a way out."""

import numpy as np
import pytest
from helpers.builders import data_config, expect_problem, npz_config, random_images, rows, write_npz

from bsjax import data
from bsjax.data.stratify import tail_counts

# CIFAR-10-LT of Cao et al. 2019 (LDAM-DRW, imbalance_cifar.py), imbalance 100 and 10.
PUBLISHED = {
  100: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
  10: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
}


@pytest.mark.parametrize('factor', PUBLISHED)
def test_counts_of_cifar_are_the_published_ones(tmp_path, factor):
  config = data_config(tmp_path, imbalance_factor=float(factor))
  assert tail_counts(config, np.full(10, 5000)).tolist() == PUBLISHED[factor]


def even(folder, per_class=100, **keys):
  """A set of 5 classes with as many examples each, in random order."""
  labels = np.random.default_rng(1).permutation(np.arange(5 * per_class) % 5)
  if not (folder / 'a.npz').exists():
    write_npz(folder / 'a.npz', labels)
  return npz_config(folder, **keys)


def loaded(folder, seed=0, **keys):
  return data.load(even(folder, **keys), seed)


def test_the_tail_is_cut_from_training_data_alone(tmp_path):
  whole, tail = loaded(tmp_path), loaded(tmp_path, imbalance_factor=16.0)
  assert tail.class_counts() == {'train': [80, 40, 20, 10, 5], 'validation': [20] * 5}
  assert rows(tail.validation) == rows(whole.validation)
  assert rows(tail.train) <= rows(whole.train)
  pixels = tail.train.images.astype(float)
  np.testing.assert_allclose(tail.mean, pixels.mean((0, 1, 2)), rtol=1e-6)


def test_a_steeper_tail_or_a_lower_cap_keeps_some_of_what_another_keeps(tmp_path):
  keys = [
    {},
    {'imbalance_factor': 4.0},
    {'imbalance_factor': 16.0},
    {'imbalance_factor': 16.0, 'max_per_class': 40},
  ]
  sets = [rows(loaded(tmp_path, **each).train) for each in keys]
  assert [each.total() for each in sets] == [400, 224, 155, 77]
  assert all(small < large for small, large in zip(sets[1:], sets, strict=False))
  capped = loaded(tmp_path, max_per_class=30)
  assert capped.class_counts()['train'] == [30] * 5
  assert rows(loaded(tmp_path, max_per_class=29).train) < rows(capped.train)


def test_the_seed_chooses_which_examples_stay(tmp_path):
  first, again, other = (
    loaded(tmp_path, seed, imbalance_factor=16.0, validation_share=0.1) for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first.train.images, again.train.images)
  assert rows(first.train) != rows(other.train)


def test_another_split_to_validate_on_stays_whole(tmp_path):
  own = {'own_images': random_images(15, seed=2), 'own_labels': np.arange(15) % 5}
  write_npz(tmp_path / 'a.npz', np.arange(500) % 5, **own)
  tail = loaded(tmp_path, imbalance_factor=10.0, validation='own')
  assert tail.class_counts() == {'train': [100, 56, 31, 17, 10], 'validation': [3] * 5}


def test_uneven_classes_give_no_more_than_they_have(tmp_path):
  config = data_config(tmp_path, imbalance_factor=4.0)
  kept = tail_counts(config, np.array([100, 30, 50]))
  assert kept.tolist() == [60, 30, 15]  # the second class allows 30 x 2 in the first
  config.imbalance_factor, config.max_per_class = 1.0, 40
  assert tail_counts(config, np.array([100, 30, 50])).tolist() == [40, 30, 40]


def test_a_subset_is_taken_of_what_the_tail_leaves(tmp_path):
  tail = rows(loaded(tmp_path, imbalance_factor=8.0).train)
  some = loaded(tmp_path, imbalance_factor=8.0, train_examples=50)
  assert len(some.train.labels) == 50 and rows(some.train) < tail
  assert some.class_counts()['train'] == [22, 13, 8, 4, 3]


@pytest.mark.parametrize(
  'overrides, texts',
  [
    ({'imbalance_factor': 0.5}, ['imbalance_factor=0.5', 'at least 1', '100']),
    ({'imbalance_factor': float('nan')}, ['imbalance_factor=nan', 'finite']),
    ({'max_per_class': -1}, ['max_per_class=-1', 'at least 0', '0: all']),
  ],
)
def test_problems_of_the_keys(tmp_path, overrides, texts):
  expect_problem(data_config(tmp_path, **overrides), *texts)


@pytest.mark.parametrize(
  'overrides, pattern',
  [
    ({'imbalance_factor': 81.0}, 'factor=81 .*class number 4 .*class number 0 has 80.*at most 80'),
    ({'imbalance_factor': 81.0, 'max_per_class': 9}, 'class number 0 has 9.*at most 9,'),
    (
      {'imbalance_factor': 16.0, 'train_examples': 156},
      'train_examples=156 .*between 5.* 155, all that are there',
    ),
    (
      {'imbalance_factor': 16.0, 'train_examples': 30},
      'train_examples=30 of the 155 .*factor=16 .*class of 5; choose at least 31',
    ),
  ],
)
def test_errors_only_the_data_can_tell(tmp_path, overrides, pattern):
  with pytest.raises(data.DataError, match=pattern):
    loaded(tmp_path, **overrides)


@pytest.mark.parametrize(
  'overrides',
  [
    {'imbalance_factor': 80.0},
    {'imbalance_factor': 9.0, 'max_per_class': 9},
    {'imbalance_factor': 16.0, 'train_examples': 31},
    {'max_per_class': 1},
  ],
)
def test_every_bound_named_is_allowed(tmp_path, overrides):
  assert min(loaded(tmp_path, **overrides).class_counts()['train']) >= 1


def test_the_bound_named_for_uneven_classes_is_the_largest(tmp_path):
  counts = np.array([100, 30, 2])
  config = data_config(tmp_path, imbalance_factor=101.0)
  with pytest.raises(data.DataError, match='at most 100,'):
    tail_counts(config, counts)
  for factor in (50.0, 100.0):
    config.imbalance_factor = factor
    assert tail_counts(config, counts).min() == 1 + (factor == 50.0)


def test_a_class_without_examples_cannot_be_part_of_a_tail(tmp_path):
  config = data_config(tmp_path, imbalance_factor=2.0)
  with pytest.raises(data.DataError, match='class number 1 has no training example'):
    tail_counts(config, np.array([4, 0, 4]))
