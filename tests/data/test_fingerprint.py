"""The checksum by which a data set is known: any image or label of either split changes it."""

import dataclasses

import numpy as np
import pytest

from bsjax.data import Dataset, Split


def small():
  random = np.random.default_rng(0)
  splits = [
    Split(random.integers(0, 256, (n, 4, 4, 1), np.uint8), np.arange(n, dtype=np.int32) % 3)
    for n in (6, 3)
  ]
  mean = np.zeros(1, np.float32)
  return Dataset('x', ('a', 'b', 'c'), *splits, mean, mean + 1)


@pytest.mark.parametrize('split', ['train', 'validation'])
@pytest.mark.parametrize('part', ['images', 'labels'])
def test_one_number_anywhere_changes_the_fingerprint(split, part):
  array = getattr(getattr(small(), split), part).copy()
  array.flat[-1] ^= 1
  changed = dataclasses.replace(getattr(small(), split), **{part: array})
  assert dataclasses.replace(small(), **{split: changed}).fingerprint() != small().fingerprint()


def test_the_same_data_have_the_same_fingerprint_however_they_lie_in_memory():
  dataset = small()
  split = Split(np.asfortranarray(dataset.train.images), dataset.train.labels)
  assert dataclasses.replace(dataset, train=split).fingerprint() == small().fingerprint()
