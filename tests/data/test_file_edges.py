"""Edges of image files, tables of labels and archives: what is read as it is meant, what is not."""

import io

import numpy as np
import pytest
from helpers.builders import data_config, npz_config, random_images, write_image_folder, write_npz
from PIL import Image

from bsjax import data
from bsjax.data.sources import images, label_csv


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


def test_files_of_the_home_directory_are_found_by_a_tilde(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  in_folder = folder_of(tmp_path)
  in_folder.path = '~/set'
  write_npz(tmp_path / 'a.npz', [0, 1, 0, 1])
  for config in (in_folder, data_config(tmp_path, source='npz', path='~/a.npz')):
    config.validation_share = 0.5
    assert len(data.load(config, seed=0).train) == 2
