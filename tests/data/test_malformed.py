"""Bad data of every kind: refused in a line that names the file, or read as it is meant."""

import io
import itertools
import random
import shutil
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from helpers import many
from helpers.builders import data_config, npz_config, random_images, write_image_folder, write_npz
from hypothesis import strategies
from PIL import Image

from bsjax import data
from bsjax.data.doubts import Copies, copies, doubts

ROWS = [('0.png', 'a'), ('1.png', 'b'), ('2.png', 'a'), ('3.png', 'b')]


def folder_config(folder, **overrides):
  """The config of four images with labels a, b, a, b."""
  path = folder / 'set'
  if not path.exists():
    write_image_folder(path, random_images(4, 0, (4, 4)), ['a', 'b', 'a', 'b'])
  keys = {'source': 'image_folder', 'path': str(path), 'validation_share': 0.5}
  return data_config(folder, **{**keys, **overrides})


def write_csv(folder, text, encoding='utf-8'):
  config = folder_config(folder)
  (folder / 'set' / 'train.csv').write_bytes(text.encode(encoding))
  return config


def table(rows=ROWS, header=('id', 'label'), separator=','):
  return ''.join(f'{separator.join(row)}\n' for row in [header, *rows])


def refusal(config):
  with pytest.raises(data.DataError) as caught:
    data.load(config, seed=0)
  return str(caught.value)


@pytest.mark.parametrize(
  'text, encoding',
  [
    (table(), 'utf-8-sig'),
    (table().replace('\n', '\r\n'), 'utf-8'),
    (table(separator=';'), 'utf-8'),
    (table(separator='\t'), 'utf-8'),
    (table(separator=' , '), 'utf-8'),
    (table().replace('\n', '\n\n'), 'utf-8'),
    (table([(f'./{name}', f'"{label}"') for name, label in ROWS]), 'utf-8'),
  ],
)
def test_a_csv_may_be_written_in_several_ways(tmp_path, text, encoding):
  loaded = data.load(write_csv(tmp_path, text, encoding), seed=0)
  assert loaded.class_names == ('a', 'b')


@pytest.mark.parametrize(
  'text, words',
  [
    (table(ROWS[1:], ROWS[0]), ['no header', "'0.png'", 'put the names']),
    (table([(a, '', b) for a, b in ROWS], ('id', 'x', 'y')), ['2 columns', "'x', 'y'", 'column']),
    (table([*ROWS[:2], ('2.png', ''), ROWS[3]]), ['1 rows without a label', 'line 4']),
    (table([*ROWS[:2], ('2.png', '  '), ROWS[3]]), ['1 rows without a label', 'line 4']),
    (table([*ROWS, ('./1.png', 'b')]), ['more than once', "'1.png'"]),
    (table([*ROWS, ('../train.csv', 'b')]), ['outside the folder', 'line 6']),
    (table([*ROWS, ('/etc/hostname', 'b')]), ['outside the folder', 'line 6']),
    (table([*ROWS, ('4.png', 'b')]), ['1 of 5 files', "'4.png'", 'missing']),
    (table([*ROWS[:3], ('3.png', 'b', 'c')]), ['another number', 'line 5']),
    (table(ROWS, ('id', 'id')), ['two columns of one name']),
    (table() + '"' + 'x' * 200_000, ['from line', 'quote']),
    (table() + '"never closed', ['from line', 'quote']),
    (table().replace('a', 'a\0'), ['cannot be read']),
    (table([(name, str(i)) for i, (name, _) in enumerate(ROWS[:3])] + [('3.png', 'nan')]), ['nan']),
    (table([(name, str(i - 1)) for i, (name, _) in enumerate(ROWS)]), ['negative', '-1']),
  ],
)
def test_a_csv_that_cannot_be_meant_is_refused(tmp_path, text, words):
  said = refusal(write_csv(tmp_path, text))
  assert '\n' not in said and 'train.csv' in said
  if 'nan' in words:
    words = ['stand for none', 'line 5']
  assert all(word in said for word in words), said


def test_a_csv_of_another_encoding_is_refused(tmp_path):
  said = refusal(write_csv(tmp_path, table().replace('a', 'é'), 'latin-1'))
  assert 'train.csv' in said and 'UTF-8' in said


def test_a_column_can_be_named(tmp_path):
  rows = [(name, '7', label, 'x') for name, label in ROWS]
  write_csv(tmp_path, table(rows, ('id', 'width', 'kind', 'note')))
  assert data.load(folder_config(tmp_path, label_column='kind'), seed=0).class_names == ('a', 'b')
  assert "'size' is none of" in refusal(folder_config(tmp_path, label_column='size'))


def test_numbers_are_labels_as_numbers_however_they_are_written(tmp_path):
  rows = [(name, text) for (name, _), text in zip(ROWS, ('9', '10.0', '9.0', '10'), strict=True)]
  assert data.load(write_csv(tmp_path, table(rows)), seed=0).class_names == ('9', '10')


@pytest.mark.parametrize(
  'labels, words',
  [
    ([0, 1, -1, 1], ['1 of 4 labels are negative', 'no label']),
    (['a', '', 'b', ' '], ['2 labels are empty', 'example 1, 3']),
    (np.asarray([0, 1, 2**63, 1], np.uint64), ['9223372036854775808']),
  ],
)
def test_labels_that_stand_for_none_are_refused(tmp_path, labels, words):
  write_npz(tmp_path / 'a.npz', labels)
  said = refusal(npz_config(tmp_path))
  assert 'a.npz' in said and all(word in said for word in words)


def test_spaces_around_labels_do_not_count(tmp_path):
  write_npz(tmp_path / 'a.npz', ['a', 'b ', ' a', 'b'])
  loaded = data.load(npz_config(tmp_path, validation_share=0.5), seed=0)
  assert loaded.class_names == ('a', 'b')


def test_channels_first_and_images_that_are_all_the_same_are_refused(tmp_path):
  images = random_images(4, 0, (32, 32, 3))
  write_npz(tmp_path / 'a.npz', [0, 1, 0, 1], train_images=images.transpose(0, 3, 1, 2))
  said = refusal(npz_config(tmp_path, validation_share=0.5))
  assert 'channels first' in said and 'transpose' in said
  write_npz(tmp_path / 'a.npz', [0, 1, 0, 1], train_images=np.full((4, 5, 5, 3), 9, np.uint8))
  assert 'all 2 training images are the same' in refusal(npz_config(tmp_path, validation_share=0.5))


def saved(image, kind='PNG', **keywords):
  file = io.BytesIO()
  image.save(file, kind, **keywords)
  return file.getvalue()


def transparent(mode):
  image = Image.new(mode, (4, 4))
  image.putalpha(Image.fromarray(random_images(1, 3, (4, 4))[0]))
  return saved(image)


PIXELS = Image.fromarray(random_images(1, 5, (4, 4, 3))[0])
BAD_FILES = {
  'empty': (b'', 'cannot be decoded'),
  'text': (b'<html>404</html>', 'cannot be decoded'),
  'half': (saved(Image.fromarray(random_images(1, 5, (64, 64))[0]))[:900], 'cannot be decoded'),
  'short header': (b'\x89PNG\r\n\x1a\n\0\0\0\x04IHDR\0\0\0\x0c', 'cannot be decoded'),
  'alpha': (transparent('RGB'), 'transparent'),
  'grey alpha': (transparent('L'), 'transparent'),
  'colour key': (saved(Image.new('L', (4, 4), 7), transparency=7), 'transparent'),
  '16 bits': (saved(Image.fromarray(np.zeros((4, 4), np.uint16))), '8 bits'),
  'frames': (
    saved(Image.new('L', (4, 4)), 'GIF', save_all=True, append_images=[Image.new('L', (4, 4), 9)]),
    '2 frames',
  ),
  'bomb': (
    saved(Image.new('1', (4, 4))).replace(
      b'IHDR\0\0\0\x04\0\0\0\x04', b'IHDR\0\0\x9c\x40\0\0\x9c\x40'
    ),
    'cannot be decoded',
  ),
  'another shape': (saved(Image.new('L', (5, 4))), 'differ from the first'),
  'colour among grey': (saved(PIXELS), 'differ from the first'),
}


@pytest.mark.parametrize('kind', BAD_FILES)
def test_a_bad_image_file_is_named(tmp_path, kind):
  content, words = BAD_FILES[kind]
  config = folder_config(tmp_path)
  (tmp_path / 'set' / 'train' / '2.png').write_bytes(content)
  said = refusal(config)
  assert '2.png' in said and words in said and '\n' not in said


def test_images_are_turned_as_their_camera_was_held(tmp_path):
  config = folder_config(tmp_path)
  train = tmp_path / 'set' / 'train'
  pixels = [np.asarray(Image.open(train / f'{i}.png')) for i in range(4)]
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise
  Image.fromarray(np.rot90(pixels[1])).save(train / '1.png', exif=exif)
  opaque = Image.fromarray(pixels[2]).convert('LA')
  opaque.save(train / '2.png')
  loaded = data.load(config, seed=0)
  images = [*loaded.train.images[..., 0], *loaded.validation.images[..., 0]]
  assert {x.tobytes() for x in images} == {x.tobytes() for x in pixels}


def test_copies_and_names_that_are_alike_are_said(tmp_path):
  images = random_images(8)
  images[[1, 2]] = images[0]
  images[5] = images[4]
  validation = {'own_images': images[[4, 6]], 'own_labels': np.asarray(['Cat', 'dog'])}
  labels = ['Cat', 'Cat', 'dog', 'dog', 'cat', 'cat', 'dog', 'dog']
  write_npz(tmp_path / 'a.npz', labels, train_images=images, **validation)
  loaded = data.load(npz_config(tmp_path, validation='own'), seed=0)
  assert copies(loaded) == Copies(shared=2, within=3, ambiguous=1)
  first, second, third, fourth = doubts(loaded)
  assert first.startswith('2 of 2 validation images') and '3 training images' in second
  assert '1 images have several labels' in second and "'Cat', 'cat'" in third
  assert fourth == "no validation example has the label 'cat'"
  write_npz(tmp_path / 'a.npz', np.arange(40) % 4)
  clean = data.load(npz_config(tmp_path), seed=0)
  assert copies(clean) == Copies(0, 0, 0) and doubts(clean) == []


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
  folder, files = tmp_path_factory.mktemp('archives'), []
  for save in (np.savez, np.savez_compressed):
    arrays = {'train_images': random_images(6), 'train_labels': np.arange(6) % 2}
    save(folder / 'whole.npz', **arrays)
    files.append((folder / 'whole.npz').read_bytes())
  return files


@many.many(150)
@hypothesis.given(random=strategies.randoms(use_true_random=False), which=strategies.booleans())
def test_a_damaged_archive_is_refused_or_read_as_written(tmp_path, archives, random, which):
  content = bytearray(archives[which])
  match random.choice(('cut', 'flip', 'zero', 'insert')):
    case 'cut':
      content = content[: random.randrange(len(content))]
    case 'flip':
      for _ in range(random.randrange(1, 4)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    case 'zero':
      start = random.randrange(len(content))
      content[start : start + 40] = bytes(len(content[start : start + 40]))
    case 'insert':
      start = random.randrange(len(content))
      content[start:start] = random.randbytes(7)
  (tmp_path / 'a.npz').write_bytes(content)
  try:
    loaded = data.load(npz_config(tmp_path, validation_share=0.5), seed=0)
  except data.DataError as error:
    many.outcome(refused=True)
    assert 'a.npz' in str(error) or 'train' in str(error)
    return
  many.outcome(refused=False)
  written = {image.tobytes() for image in random_images(6)}
  images = [*loaded.train.images, *loaded.validation.images]
  assert {np.asarray(image).tobytes() for image in images} == written
  assert sorted(np.bincount(loaded.train.labels).tolist()) in ([1, 2], [1, 1], [2, 2])


NAMES = ('0.png', '1.png', '2.png', '3.png', './3.png', '9.png', '..', '/', 'id', 'label')
LABELS = ('a', 'b', ' a', 'a ', '', '"', '-1', '0', '1', '1.0', 'nan', '1e999', '\0', 'é', '"a')
CELLS = strategies.sampled_from((*NAMES, *LABELS, "a'b", '\r'))


@many.many(150)
@hypothesis.given(
  rows=strategies.lists(strategies.lists(CELLS, min_size=0, max_size=3), max_size=7)
  | strategies.tuples(*4 * [strategies.sampled_from(('a', 'b', ' a', 'é', '1', '1.0', ''))]).map(
    lambda labels: [['id', 'label'], *map(list, zip(NAMES[:4], labels, strict=True))]
  ),
  separator=strategies.sampled_from(',;\t'),
  end=strategies.sampled_from(['\n', '\r\n', '\r']),
  mark=strategies.booleans(),
)
def test_any_table_is_refused_with_its_name_or_read_as_it_stands(
  tmp_path, rows, separator, end, mark
):
  text = end.join(separator.join(row) for row in rows)
  config = write_csv(tmp_path, text, 'utf-8-sig' if mark else 'utf-8')
  try:
    loaded = data.load(config, seed=0)
  except data.DataError as error:
    many.outcome(refused=True)
    assert 'train.csv' in str(error) or 'class' in str(error) or 'label' in str(error)
    return
  many.outcome(refused=False)
  cells = set(itertools.chain(*rows))
  numbers = {str(int(float(x))) for x in ('0', '1', '1.0', '-1') if x in cells}
  assert set(loaded.class_names) <= {cell.strip().strip('"') for cell in cells} | numbers
  assert '' not in loaded.class_names


def damage(folder, how, random):
  """Does one thing to an image folder that a person or a disk may do to it."""
  files = sorted(path for path in folder.rglob('*') if not path.is_dir())
  if not files:
    return
  path = random.choice(files)
  content = path.read_bytes() if path.is_file() else b''
  if how == 'write':
    path.unlink()
    path.write_bytes(random.choice([b'', b'x', saved(PIXELS), transparent('L'), content[:30]]))
  elif how == 'loop':
    path.unlink()
    path.symlink_to(path)
  elif how in ('gone', 'folder'):
    path.unlink()
    if how == 'folder':
      path.mkdir()
  elif how == 'hidden':
    path.rename(path.with_name(f'.{path.name}'))
  elif how == 'flip' and content:
    at = random.randrange(len(content))
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
  elif how == 'no train':
    shutil.rmtree(folder / 'train', ignore_errors=True)
    (folder / 'train').write_bytes(b'') if random.random() < 0.5 else None


@many.many(60)
@hypothesis.given(
  kinds=strategies.lists(
    strategies.sampled_from(
      ('write', 'loop', 'gone', 'folder', 'hidden', 'flip', 'flip', 'no train')
    ),
    min_size=1,
    max_size=3,
  ),
  random=strategies.integers(0, 2**32 - 1).map(random.Random),
)
def test_any_folder_is_refused_with_its_name_or_read(tmp_path, kinds, random):
  config = folder_config(Path(tempfile.mkdtemp(dir=tmp_path)))
  for kind in kinds:
    damage(Path(config.path), kind, random)
  try:
    loaded = data.load(config, seed=0)
  except data.DataError as error:
    many.outcome(refused=True)
    assert config.path in str(error) and '\n' not in str(error)
    return
  many.outcome(refused=False)
  assert len(loaded.train) + len(loaded.validation) == 4
