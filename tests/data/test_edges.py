"""Edges of what is refused of a data set, and of what a person is told about one."""

import io
import os

import numpy as np
import pytest
from helpers.builders import data_config, npz_config, random_images, write_image_folder, write_npz
from PIL import Image

from bsjax import data
from bsjax.data import cache, dataset
from bsjax.data.doubts import doubts
from bsjax.data.sources import images, label_csv


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


def saved(*frames, kind='JPEG', **keywords):
  file = io.BytesIO()
  more = {'save_all': True, 'append_images': frames[1:]} if len(frames) > 1 else {}
  frames[0].save(file, kind, **more, **keywords)
  return io.BytesIO(file.getvalue())


def test_the_preview_that_a_camera_adds_is_no_second_frame():
  picture, preview = (Image.fromarray(random_images(1, seed, (8, 8, 3))[0]) for seed in (0, 1))
  found = images.decode(saved(picture, preview, kind='MPO', quality=100, subsampling=0), 'a')
  assert np.abs(found.astype(int) - np.asarray(picture)).max() < 16


def test_in_a_given_mode_pixels_are_as_they_lie_in_the_file():
  """Sets of TFDS say what their images are; those were stored by whoever made the set."""
  pixels = random_images(1, 0, (4, 6, 3))[0]
  exif = Image.Exif()
  exif[0x0112] = 6
  file = saved(Image.fromarray(pixels), kind='PNG', exif=exif)
  np.testing.assert_array_equal(images.decode(file, 'a', 'RGB'), pixels)
  np.testing.assert_array_equal(images.decode(file, 'a'), np.rot90(pixels, -1))
  file = saved(Image.fromarray(random_images(1, 0, (4, 6, 4))[0]), kind='PNG')
  assert images.decode(file, 'a', 'RGBA').shape == (4, 6, 4)  # transparency is asked for
  with pytest.raises(data.DataError, match='transparent'):
    images.decode(file, 'a', 'RGB')
  assert images.decode(saved(Image.fromarray(pixels)), 'a', 'L').shape == (4, 6, 1)


def folder_of(path, header='id,label', rows=('0.png,a', '1.png,b', '2.png,a', '3.png,b')):
  write_image_folder(path / 'set', random_images(4), ['a', 'b', 'a', 'b'])
  (path / 'set' / 'train.csv').write_text('\n'.join([header, *rows]) + '\n')
  return data_config(path, source='image_folder', path=str(path / 'set'), validation_share=0.5)


@pytest.mark.parametrize(
  ('labels', 'expected'),
  [
    (('3', '1', '2', '3'), [3, 1, 2, 3]),
    ((str(2**53 - 1), '1', '2', '1'), [2**53 - 1, 1, 2, 1]),
    # Beyond 2^53 numbers in floating point are fewer than whole ones.
    ((str(2**53), str(2**53 + 1), '1', '1'), [str(2**53), str(2**53 + 1), '1', '1']),
    (('1e2', '100', '1', '1'), [100, 100, 1, 1]),
    (('1', 'b', '1', 'b'), ['1', 'b', '1', 'b']),
  ],
)
def test_labels_are_numbers_where_all_are_and_no_two_become_one(tmp_path, labels, expected):
  config = folder_of(tmp_path, rows=[f'{i}.png,{label}' for i, label in enumerate(labels)])
  assert label_csv.read(config).labels.tolist() == expected


@pytest.mark.parametrize(
  ('header', 'rows', 'said'),
  [
    ('4.PNG,a', (), 'has no header: its first line names the file .4.PNG'),
    ('4.Tiff,a', (), 'has no header'),
    ('4.txt,label', (), ''),
    ('id,label', ('.,a',), 'names files outside the folder: line 6'),
    ('id,label', ('..,a',), 'names files outside the folder: line 6'),
    ('id,label', ('a/../..,a',), 'names files outside the folder: line 6'),
    ('id,label', ('..png,a',), ''),
    ('id,the label; as seen', (), ''),  # the comma parts columns, and the semicolon nothing
  ],
)
def test_which_tables_are_read(tmp_path, header, rows, said):
  usual = ('0.png,a', '1.png,b', '2.png,a', '3.png,b')
  config = folder_of(tmp_path, header, (*usual, *rows))
  if said:
    with pytest.raises(data.DataError, match=said):
      label_csv.read(config)
  else:
    assert len(label_csv.read(config).names) == 4 + len(rows)


@pytest.mark.parametrize(
  ('shape', 'fits'),
  [
    *(((4, 2, 2), True), ((4, 2, 2, 3), True), ((4, 2), False), ((4, 2, 2, 3, 1), False)),
    *(((4, 0, 2), False), ((0, 2, 2), False)),
  ],
)
def test_images_of_an_archive_have_three_axes_or_four_and_pixels(tmp_path, shape, fits):
  pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
  write_npz(tmp_path / 'a.npz', np.arange(shape[0]) % 2, train_images=pixels)
  config = npz_config(tmp_path, validation_share=0.5)
  if fits:
    assert data.load(config, seed=0).image_shape == (*shape[1:], 1)[:3]
  else:
    with pytest.raises(data.DataError, match=r'must be uint8 of shape .*, and not empty'):
      data.load(config, seed=0)
