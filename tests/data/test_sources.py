"""Sources that are files of the user's own: .npz, and a folder of images with a CSV of labels."""

import numpy as np
import pytest
from helpers.builders import (
  data_config,
  expect_problem,
  npz_config,
  random_images,
  rows,
  write_image_folder,
  write_npz,
)
from PIL import Image

from bsjax import data


@pytest.mark.parametrize('shape', [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_npz_with_a_validation_split_of_its_own(tmp_path, shape):
  own = {'test_images': random_images(6, 1, shape), 'test_labels': np.asarray(['b', 'a'] * 3)}
  arrays = write_npz(
    tmp_path / 'a.npz', ['c', 'a', 'b', 'a'] * 3, train_images=random_images(12, 0, shape), **own
  )
  config = npz_config(tmp_path, validation='test')
  loaded = data.load(config, seed=0)
  assert loaded.class_names == ('a', 'b', 'c') and loaded.name == 'a'
  np.testing.assert_array_equal(loaded.train.labels, [2, 0, 1, 0] * 3)
  np.testing.assert_array_equal(loaded.validation.labels, [1, 0] * 3)
  images = arrays['train_images'].reshape(12, 5, 4, -1)
  np.testing.assert_array_equal(loaded.train.images, images)
  assert isinstance(loaded.train.images, np.memmap)  # the whole split is never copied
  assert loaded.validation.images.tobytes() == own['test_images'].tobytes()


@pytest.mark.parametrize(
  'labels, names, numbers',
  [
    ([10, 9, 10, 9], ('9', '10'), [1, 0, 1, 0]),
    ([-1, 1, -1, 1], ('-1', '1'), [0, 1, 0, 1]),
    ([True, False, True, False], ('0', '1'), [1, 0, 1, 0]),
    (['dog', 'cat', 'cat', 'dog'], ('cat', 'dog'), [1, 0, 0, 1]),
  ],
)
def test_labels_are_numbered_in_sorted_order(tmp_path, labels, names, numbers):
  own = {'own_images': random_images(4), 'own_labels': np.asarray(labels)}
  write_npz(tmp_path / 'a.npz', labels, **own)
  config = npz_config(tmp_path, validation='own')
  loaded = data.load(config, seed=0)
  assert loaded.class_names == names
  assert loaded.train.labels.tolist() == loaded.validation.labels.tolist() == numbers


@pytest.mark.parametrize('subfolder', ['train', '.'])
@pytest.mark.parametrize('shape', [(4, 6), (4, 6, 3)])
def test_image_folder(tmp_path, subfolder, shape):
  images, labels = random_images(20, 0, shape), [10, 9] * 10
  write_image_folder(tmp_path / 'set', images, labels, subfolder=subfolder)
  loaded = data.load(
    data_config(tmp_path, source='image_folder', path=str(tmp_path / 'set')), seed=0
  )
  assert loaded.name == 'set' and loaded.class_names == ('9', '10')
  expected = data.Split(images.reshape(20, 4, 6, -1), np.asarray([1, 0] * 10, np.int32))
  assert rows(loaded.train) + rows(loaded.validation) == rows(expected)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [2, 2])


@pytest.mark.parametrize(
  'arrays, pattern',
  [
    ({'train_images': np.zeros((4, 2, 2))}, r'train_images is float64 \(4, 2, 2\).*uint8'),
    ({'train_images': np.zeros((4, 2), np.uint8)}, r'train_images is uint8 \(4, 2\).*height'),
    ({'train_labels': np.arange(3)}, r'train_labels is int64 \(3,\).*\(4,\)'),
    ({'train_labels': np.arange(4.0)}, 'train_labels is float64 .*integers or texts'),
    ({'train_labels': np.asarray([0, 'a', 0, 1], object)}, 'a.npz: .*not objects'),
    ({'train_labels': np.zeros(4, int)}, 'only training label is 0; 2 classes'),
    ({'train_labels': np.asarray([0, 0, 0, 1])}, 'class number 1 has 1 .*needs 2'),
  ],
)
def test_npz_errors(tmp_path, arrays, pattern):
  write_npz(tmp_path / 'a.npz', **{'labels': [0, 1, 0, 1], **arrays})
  with pytest.raises(data.DataError, match=pattern):
    data.load(npz_config(tmp_path, validation_share=0.5), seed=0)


def test_npz_validation_errors(tmp_path):
  path = tmp_path / 'a.npz'
  config = npz_config(tmp_path, validation='own')
  write_npz(path, [0, 1, 0, 1])
  expect_problem(config, "['train_images', 'train_labels']", "'own_images'", "'split'")
  write_npz(path, [0, 1], own_images=random_images(3), own_labels=np.asarray([0, 5, 5]))
  with pytest.raises(data.DataError, match=r'2 of 3 examples .*none of the 2 .*: 5; correct'):
    data.load(config, seed=0)
  write_npz(path, [0, 1], own_images=np.zeros((1, 2, 2, 3), np.uint8), own_labels=np.zeros(1, int))
  with pytest.raises(data.DataError, match=r"'own' are \(2, 2, 3\).*\(4, 4, 3\)"):
    data.load(config, seed=0)
  path.write_text('no archive')
  expect_problem(config, str(path), 'is no .npz file, or damaged', 'np.savez')


@pytest.mark.parametrize(
  'table, texts',
  [
    ('id\n0.png\n1.png\n', ['of 2 columns', 'its 3 lines 3 are', 'line 1, 2, 3; complete']),
    ('id,label\n\n0.png,1\n1.png\n', ['its 3 lines 1 are shorter: line 4; complete']),
    ('id,label\n', ['its 1 lines 0 are shorter; add the rows']),
    ('', ['its 0 lines 0 are shorter; add the rows']),
    ('id,label\n0.png,1\n0.png,0\n1.png,0\n', ["lists 1 files more than once: '0.png'"]),
  ],
)
def test_label_csv_problems(tmp_path, table, texts):
  write_image_folder(tmp_path, random_images(4), [0, 1, 0, 1])
  (tmp_path / 'train.csv').write_text(table)
  expect_problem(
    data_config(tmp_path, source='image_folder', path=str(tmp_path)),
    "label_csv='train.csv'",
    *texts,
  )


def test_label_csv_missing(tmp_path):
  config = data_config(tmp_path, source='image_folder', path=str(tmp_path), label_csv='labels.csv')
  expect_problem(config, "label_csv='labels.csv'", 'cannot be read', 'name a CSV in the folder')


def test_image_folder_errors(tmp_path):
  write_image_folder(tmp_path, random_images(8), [0, 1] * 4)
  config = data_config(tmp_path, source='image_folder', path=str(tmp_path))
  train = tmp_path / 'train'
  for index in (2, 5):
    Image.new('RGB', (3, 4)).save(train / f'{index}.png')
  with pytest.raises(
    data.DataError, match=r"2 of 8 images differ.*\(4, 4, 3\).*'2.png \(4, 3, 3\)"
  ):
    data.load(config, seed=0)
  (train / '2.png').write_text('no image')
  with pytest.raises(data.DataError, match=r'2.png cannot be decoded: .*; replace or drop it'):
    data.load(config, seed=0)
  Image.fromarray(np.zeros((4, 4), np.uint16)).save(train / '2.png')
  with pytest.raises(data.DataError, match=r'2.png has more than 8 bits a channel; convert'):
    data.load(config, seed=0)
  for index in range(1, 6):
    (train / f'{index}.png').unlink()
  with pytest.raises(data.DataError, match=r"5 of 8 files.*'1.png', '2.png', '3.png', \.\.\.; add"):
    data.load(config, seed=0)
