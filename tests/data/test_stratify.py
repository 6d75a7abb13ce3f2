"""Which examples are left to train on, where several choices meet."""

import numpy as np
import pytest
from helpers.small import small_config

from bsjax.data import DataError, stratify


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


@pytest.mark.parametrize(
  'counts, size, expected',
  [
    ([70, 26, 4], 10, [7, 3, 0]),  # 7, 2.6 and 0.4
    ([70, 26, 4], 11, [8, 3, 0]),  # 7.7, 2.86 and 0.44
    ([50, 30, 20], 7, [4, 2, 1]),  # 3.5, 2.1 and 1.4
    ([5, 5], 3, [2, 1]),  # of equal remainders the first
    ([3, 0, 3], 2, [1, 0, 1]),
  ],
)
def test_what_rounding_leaves_goes_to_the_largest_remainders(counts, size, expected):
  labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
  chosen = stratify.stratified(labels, size, 0)
  assert np.bincount(labels[chosen], minlength=len(counts)).tolist() == expected
  assert (np.diff(chosen) > 0).all()


def choice(**keys):
  usual = {'data__validation': 'split', 'data__train_examples': 0}
  return small_config(**{**usual, **keys}).data


LABELS = np.arange(20) % 4


@pytest.mark.parametrize('share, held', [(0.2, 4), (0.8, 16), (0.15, None), (0.85, None)])
def test_each_part_has_one_of_each_class_or_is_refused(share, held):
  config = choice(data__validation_share=share)
  if held is None:
    with pytest.raises(DataError, match='each part needs one of all 4 classes'):
      stratify.choose(config, LABELS, 0)
  else:
    kept, held_out = stratify.choose(config, LABELS, 0)
    assert len(held_out) == held and len(set(LABELS[held_out])) == len(set(LABELS[kept])) == 4
    assert sorted([*kept, *held_out]) == [*range(20)]


@pytest.mark.parametrize('subset, allowed', [(31, True), (30, False)])
def test_a_subset_of_a_tail_keeps_a_whole_example_of_the_scarcest_class(subset, allowed):
  """Of 155 examples 5 are of the scarcest class, so that 31 have one."""
  labels = np.repeat(np.arange(5), 80)
  config = choice(data__validation='test', data__imbalance_factor=16.0, data__train_examples=subset)
  if allowed:
    kept, _ = stratify.choose(config, labels, 0)
    assert np.bincount(labels[kept]).tolist() == [16, 8, 4, 2, 1]
  else:
    with pytest.raises(DataError, match='may lose the class of 5; choose at least 31'):
      stratify.choose(config, labels, 0)


def test_a_split_of_its_own_asks_nothing_of_small_classes():
  labels = np.array([0, 1, 1, 1])
  kept, held_out = stratify.choose(choice(data__validation='test'), labels, 0)
  assert kept.tolist() == [0, 1, 2, 3] and len(held_out) == 0
  with pytest.raises(DataError, match='class number 0 has 1 training example'):
    stratify.choose(choice(data__validation='test', data__train_examples=2), labels, 0)


@pytest.mark.parametrize(
  'counts, factor, cap, expected',
  [
    ([40, 40, 40], 1.0, 30, [30, 30, 30]),
    ([40, 40, 40], 4.0, 0, [40, 20, 10]),
    ([40, 40, 40], 4.0, 20, [20, 10, 5]),
    ([40, 40, 5], 4.0, 0, [20, 10, 5]),  # as the last has no more
    ([343, 343, 343], 49.0, 0, [343, 49, 7]),  # and not 6, as 343 / 49 is below 7 by rounding
  ],
)
def test_counts_of_a_tail(counts, factor, cap, expected):
  config = choice(data__imbalance_factor=factor, data__max_per_class=cap)
  assert stratify.tail_counts(config, np.array(counts)).tolist() == expected


def test_a_class_without_an_example_has_no_tail():
  config = choice(data__max_per_class=3)
  with pytest.raises(DataError, match='class number 1 has no training example'):
    stratify.tail_counts(config, np.array([4, 0, 4]))
