"""Edges of what is refused of a data set, and of what a person is told about one."""

import os

import numpy as np
import pytest
from helpers.builders import data_config, npz_config, random_images, write_npz

from bsjax import data
from bsjax.data import cache, dataset
from bsjax.data.doubts import doubts


def loaded(folder, labels=(0, 1, 0, 1), shape=(4, 4, 3), **keys):
  labels = np.asarray(labels)
  write_npz(folder / 'a.npz', labels, train_images=random_images(len(labels), 0, shape))
  return data.load(npz_config(folder, **{'validation_share': 0.5, **keys}), seed=0)


@pytest.mark.parametrize(
  ('shape', 'refused'),
  [
    ((4, 9, 9), True),  # as many as pictures have, first
    ((3, 9, 9), True),
    ((5, 9, 9), False),  # images of five rows with nine channels
    ((4, 9, 4), False),
    ((4, 4, 9), False),  # nothing tells which axis is which
    ((4, 5, 5), True),
  ],
)
def test_which_images_look_like_channels_first(tmp_path, shape, refused):
  if refused:
    with pytest.raises(data.DataError, match='look like channels first'):
      loaded(tmp_path, shape=shape)
  else:
    assert loaded(tmp_path, shape=shape).image_shape == shape


@pytest.mark.parametrize('shape', [(4, 9, 3), (9, 4, 3)])
def test_a_crop_is_smaller_than_the_shorter_side(tmp_path, shape):
  loaded(tmp_path, shape=shape, crop=3)
  with pytest.raises(data.DataError, match='crop=4 may be at most 3 on images of') as error:
    loaded(tmp_path, shape=shape, crop=4)
  assert error.value.problems[0].keys == ('data.crop',)


def test_one_class_that_is_left_to_train_on_is_refused(tmp_path):
  """A split of its own to validate on may have more classes, and those of TFDS have names."""
  own = {'own_images': random_images(2), 'own_labels': np.array([0, 1])}
  write_npz(tmp_path / 'a.npz', [0, 0, 0], **own)
  with pytest.raises(data.DataError, match='only training label is 0; 2 classes are needed'):
    data.load(npz_config(tmp_path, validation='own'), seed=0)


def test_an_error_is_said_with_the_data_that_it_is_of_once_and_with_its_keys(tmp_path):
  with pytest.raises(data.DataError) as error:
    loaded(tmp_path, train_examples=9)
  said = str(error.value)
  assert said.startswith(f'data in {tmp_path}/a.npz: data.train_examples=9 must be between 2')
  assert error.value.problems[0].keys == ('data.train_examples',)
  with pytest.raises(data.DataError) as error:
    loaded(tmp_path, [0.5, 1.0, 0.5, 1.0])
  assert str(error.value).count(str(tmp_path)) == 1


def test_data_from_outside_are_those_of_the_script_alone(tmp_path):
  with pytest.raises(data.DataError, match=r'were given by bsjax.Study'):
    data.load(data_config(tmp_path, source='own'), seed=0)
  assert data.source_conflicts(data_config(tmp_path, source='own', validation='x')) == []


@pytest.mark.parametrize('label', ['', 'nan', 'NaN', '<NA>', '#N/A', 'NULL', 'null'])
def test_what_tables_have_for_no_label_is_none(label):
  with pytest.raises(
    data.DataError, match=r"here: 1 labels are empty or 'nan', .* example 1; give"
  ):
    dataset.check_labels(np.array(['a', label, 'b']), 'here')


@pytest.mark.parametrize('labels', [['a', 'nan '], ['n', 'a'], [-1, 1], [1, -1, 1], [0, 1], [-1]])
def test_labels_that_are_some_pass(labels):
  assert dataset.check_labels(np.array(labels), 'here').tolist() == labels


@pytest.mark.parametrize('labels', [[-1, 0, 1], [-2, 1], [-1, 2]])
def test_negative_labels_beside_others_are_none(labels):
  with pytest.raises(data.DataError, match=r'1 of . labels are negative'):
    dataset.check_labels(np.array(labels), 'here')


@pytest.mark.parametrize(
  ('names', 'alike'),
  [
    (('a b', 'a  b'), True),
    (('cat', 'c\u200bat'), True),  # with a space of no width
    (('\uff21', 'a'), True),  # of full width
    (('stra\u00dfe', 'STRASSE'), True),
    (('ab', 'a b'), False),
    (('cat', 'cats'), False),
  ],
)
def test_which_names_a_person_would_read_as_one(tmp_path, names, alike):
  found = doubts(loaded(tmp_path, names * 2))
  assert [said.endswith('differ in case or spaces only') for said in found] == [True] * alike


NO_NAMES = ('?', 'N/A', 'na', 'None', 'unknown', 'unlabeled', 'Unlabelled')


@pytest.mark.parametrize('name', NO_NAMES)
def test_names_that_may_stand_for_no_label_are_said(tmp_path, name):
  (said,) = doubts(loaded(tmp_path, [name, 'known'] * 2))
  assert said == f'label {name!r} is taken as a class; it may stand for "no label"'


@pytest.mark.parametrize(('channels', 'odd'), [(1, False), (2, True), (3, False), (4, True)])
def test_pictures_have_one_channel_or_three(tmp_path, channels, odd):
  found = doubts(loaded(tmp_path, shape=(4, 5, channels)))
  assert found == [f'images are of 4 x 5 pixels with {channels} channels'] * odd


def test_what_tells_that_a_file_was_changed(tmp_path):
  file = tmp_path / 'a'
  file.write_bytes(b'abc')
  os.utime(file, ns=(1, 5_000_000_001))
  before = cache.stamp(file)
  assert before == [3, 5_000_000_001]
  file.write_bytes(b'abcd')
  os.utime(file, ns=(1, 5_000_000_001))
  assert cache.stamp(file) != before


def set_with_names(monkeypatch, labels, names):
  """A source that says what its classes are called, as TFDS does."""
  raw = dataset.Raw(random_images(len(labels)), np.asarray(labels), names)
  monkeypatch.setitem(data.SOURCES, 'digits', data.Source(lambda config, split: raw))


def test_a_class_that_has_a_name_and_no_example_keeps_its_number(tmp_path, monkeypatch):
  set_with_names(monkeypatch, [0, 2, 0, 2], ('a', 'b', 'c'))
  found = data.load(data_config(tmp_path, validation_share=0.5), seed=0)
  assert found.class_names == ('a', 'b', 'c')
  assert found.class_counts() == {'train': [1, 0, 1], 'validation': [1, 0, 1]}
  set_with_names(monkeypatch, [0, 3, 0, 3], ('a', 'b', 'c'))
  with pytest.raises(data.DataError, match='2 of 4 examples have labels that are none of the 3'):
    data.load(data_config(tmp_path, validation_share=0.5), seed=0)


def test_a_subset_that_is_of_one_class_is_refused(tmp_path):
  """Of 99 and 2 examples a subset of 2 has 1.96 and 0.04."""
  labels = [0] * 99 + [1] * 2
  own = {'own_images': random_images(2), 'own_labels': np.array([0, 1])}
  write_npz(tmp_path / 'a.npz', labels, **own)
  with pytest.raises(data.DataError, match='all 2 training labels are one; 2 classes'):
    data.load(npz_config(tmp_path, validation='own', train_examples=2), seed=0)


def test_images_of_which_only_the_last_differ_are_not_all_the_same(tmp_path):
  pixels = np.zeros((1100, 2, 2), np.uint8)
  pixels[-1] = 1
  own = {'own_images': pixels[-2:], 'own_labels': np.array([0, 1])}
  write_npz(tmp_path / 'a.npz', np.arange(1100) % 2, train_images=pixels, **own)
  assert len(data.load(npz_config(tmp_path, validation='own'), seed=0).train) == 1100
