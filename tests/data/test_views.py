"""views: a stage's share of the data and its image size."""

import numpy as np
import pytest

from bsjax.config.keys import base_config
from bsjax.data import Dataset, Split, views
from bsjax.plan import stages

LABELS = np.repeat(np.arange(4, dtype=np.int32), (80, 40, 20, 20))  # sorted by class


def stage_of(**keys):
  config = base_config()
  stages.add(config, 'only', **keys)
  return stages.of(config)[0]


def in_use(share, seed=0):
  return views.examples_in_use(stage_of(data_share=share), LABELS, seed)


@pytest.mark.parametrize('share', [0.5, 0.25, 0.1])
def test_a_share_holds_every_class_in_proportion(share):
  indices = in_use(share)
  assert len(set(indices)) == len(indices) == round(share * len(LABELS))
  np.testing.assert_allclose(np.bincount(LABELS[indices]) / share, np.bincount(LABELS), atol=8)
  assert np.bincount(LABELS[indices], minlength=4).min() > 0


def test_smaller_shares_lie_within_larger_ones_and_the_seed_draws_them():
  assert set(in_use(0.1)) < set(in_use(0.25)) < set(in_use(0.5))
  assert set(in_use(0.25)) != set(in_use(0.25, seed=1))
  assert in_use(1.0) is None


def test_images_have_the_size_of_the_stage_and_keep_their_brightness():
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (6, 16, 16, 3), np.uint8)
  split = Split(images, np.arange(6, dtype=np.int32))
  mean = np.zeros(3, np.float32)
  dataset = Dataset('x', tuple('abcdef'), split, split, mean, mean + 1)
  small = views.view(dataset, stage_of(image_size=8))
  assert small.train.images.shape == small.validation.images.shape == (6, 8, 8, 3)
  assert small.train.images.dtype == np.uint8 and small.image_shape == (8, 8, 3)
  # Bilinear over all the pixels that a new one covers: a triangle of weights 1, 3, 3, 1 inside.
  weights = np.array([1, 3, 3, 1]) / 8
  windows = np.lib.stride_tricks.sliding_window_view(images, (4, 4), (1, 2))[:, 1::2, 1::2]
  expected = np.einsum('nhwcij,i,j->nhwc', windows, weights, weights)
  np.testing.assert_allclose(small.train.images[:, 1:-1, 1:-1], expected, atol=1.5)
  np.testing.assert_array_equal(small.train.labels, split.labels)
  for size in (0, 16):  # as it is
    assert views.view(dataset, stage_of(image_size=size)) is dataset


def test_images_of_one_channel_are_resized_too():
  split = Split(np.full((2, 8, 8, 1), 200, np.uint8), np.zeros(2, np.int32))
  mean = np.zeros(1, np.float32)
  dataset = Dataset('x', ('a',), split, split, mean, mean + 1)
  small = views.view(dataset, stage_of(image_size=4))
  np.testing.assert_array_equal(small.train.images, np.full((2, 4, 4, 1), 200))


def dataset_of(shape, mean):
  split = Split(np.arange(np.prod(shape)).reshape(shape).astype(np.uint8), np.zeros(2, np.int32))
  return Dataset('x', ('a',), split, split, mean, mean)


@pytest.mark.parametrize('shape', [(2, 4, 8, 1), (2, 8, 4, 1)])
def test_oblong_images_become_squares(shape):
  mean = np.ones(1, np.float32)
  assert views.view(dataset_of(shape, mean), stage_of(image_size=4)).image_shape == (4, 4, 1)


def test_inputs_that_are_no_images_stay_as_they_are():
  dataset = dataset_of((2, 8, 8), None)
  assert views.view(dataset, stage_of(image_size=4)) is dataset
