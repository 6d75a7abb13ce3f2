"""Data sets: what each source gives, splits, the cache, and errors that say what to do."""

import collections
import importlib.util
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from bsjax import data

SHARED = Path(__file__).resolve().parents[2] / 'shared' / 'data'


@pytest.fixture
def configure(tmp_path):
  """Makes a `data` config with every key, caching under the test's own directory."""

  def make(**overrides):
    config = ConfigDict(
      {
        'source': 'digits',
        'name': '',
        'path': '',
        'label_csv': 'train.csv',
        'validation': 'split',
        'validation_share': 0.2,
        'train_examples': 0,
        'crop': 0,
        'flip': False,
        'cache_dir': str(tmp_path / 'cache'),
      }
    )
    config.update(overrides)
    return config

  return make


def random_images(count, seed=0, shape=(4, 4, 3)):
  return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_npz(path, labels, **more):
  labels = np.asarray(labels)
  arrays = {'train_images': random_images(len(labels)), 'train_labels': labels, **more}
  np.savez(path, **arrays)
  return arrays


def write_folder(path, images, labels, header='id,has_cactus', subfolder='train'):
  (path / subfolder).mkdir(parents=True)
  for index, image in enumerate(images):
    Image.fromarray(image).save(path / subfolder / f'{index}.png')
  rows = [f'{index}.png,{label}' for index, label in enumerate(labels)]
  (path / 'train.csv').write_text('\n'.join([header, *rows]) + '\n')


def rows(split):
  """The examples of a split as a multiset."""
  pairs = zip(split.images, split.labels, strict=True)
  return collections.Counter((image.tobytes(), int(label)) for image, label in pairs)


# Splits and statistics.


def test_digits_are_parted_class_by_class(configure):
  from sklearn.datasets import load_digits

  digits = load_digits()
  loaded = data.load(configure(), seed=0)
  assert loaded.name == 'digits' and loaded.class_names == tuple('0123456789')
  assert (loaded.num_classes, loaded.image_shape) == (10, (8, 8, 1))
  assert len(loaded.validation.labels) == 359 and len(loaded.train.labels) == 1438
  assert loaded.train.images.max() == 16
  whole = data.Split(digits.images.astype(np.uint8)[..., None], digits.target.astype(np.int32))
  assert rows(loaded.train) + rows(loaded.validation) == rows(whole)
  quota = np.bincount(digits.target) * 359 / 1797
  held = np.bincount(loaded.validation.labels)
  assert (held >= np.floor(quota)).all() and (held <= np.ceil(quota)).all()


@pytest.mark.parametrize('cached', [False, True])
def test_seed_draws_the_split(configure, npz_config, cached):
  config = npz_config if cached else configure()
  first, other, again = (data.load(config, seed).validation.images for seed in (0, 1, 0))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_counts_are_exact_where_classes_are_even(configure, tmp_path):
  arrays = write_npz(tmp_path / 'even.npz', np.arange(100) % 5)
  config = configure(source='npz', path=str(tmp_path / 'even.npz'), train_examples=40)
  loaded = data.load(config, seed=3)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [4] * 5)
  np.testing.assert_array_equal(np.bincount(loaded.train.labels), [8] * 5)
  together = rows(loaded.train) + rows(loaded.validation)
  whole = rows(data.Split(arrays['train_images'], arrays['train_labels'].astype(np.int32)))
  assert together <= whole and together.total() == 60
  # The same seed holds out the same examples, however many are trained on.
  config.train_examples = 0
  assert rows(data.load(config, seed=3).validation) == rows(loaded.validation)


def test_mean_and_std_are_of_the_training_split(configure, tmp_path):
  images = random_images(50)
  images[..., 1] = 7
  write_npz(tmp_path / 'a.npz', np.arange(50) % 2, train_images=images)
  loaded = data.load(configure(source='npz', path=str(tmp_path / 'a.npz')), seed=0)
  pixels = loaded.train.images.astype(np.float64)
  np.testing.assert_allclose(loaded.mean, pixels.mean((0, 1, 2)), rtol=1e-7)
  np.testing.assert_allclose(loaded.std[[0, 2]], pixels.std((0, 1, 2))[[0, 2]], rtol=1e-7)
  assert loaded.mean[1] == 7 and loaded.std[1] == 1  # constant: not divided by 0


def test_statistics_stay_exact_beyond_64_bits(configure, tmp_path):
  images = np.zeros((40_000, 32, 32), np.uint8)
  images[::2] = 255
  labels = np.arange(40_000) % 4 // 2
  own = {'own_images': images[:4], 'own_labels': labels[:4]}
  write_npz(tmp_path / 'a.npz', labels, train_images=images, **own)
  config = configure(source='npz', path=str(tmp_path / 'a.npz'), validation='own')
  loaded = data.load(config, seed=0)
  assert (loaded.mean[0], loaded.std[0]) == (127.5, 127.5)


# Sources.


@pytest.mark.parametrize('shape', [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_npz_with_a_validation_split_of_its_own(configure, tmp_path, shape):
  own = {'test_images': random_images(6, 1, shape), 'test_labels': np.asarray(['b', 'a'] * 3)}
  arrays = write_npz(
    tmp_path / 'a.npz', ['c', 'a', 'b', 'a'] * 3, train_images=random_images(12, 0, shape), **own
  )
  config = configure(source='npz', path=str(tmp_path / 'a.npz'), validation='test')
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
def test_labels_are_numbered_in_sorted_order(configure, tmp_path, labels, names, numbers):
  own = {'own_images': random_images(4), 'own_labels': np.asarray(labels)}
  write_npz(tmp_path / 'a.npz', labels, **own)
  config = configure(source='npz', path=str(tmp_path / 'a.npz'), validation='own')
  loaded = data.load(config, seed=0)
  assert loaded.class_names == names
  assert loaded.train.labels.tolist() == loaded.validation.labels.tolist() == numbers


@pytest.mark.parametrize('subfolder', ['train', '.'])
@pytest.mark.parametrize('shape', [(4, 6), (4, 6, 3)])
def test_image_folder(configure, tmp_path, subfolder, shape):
  images, labels = random_images(20, 0, shape), [10, 9] * 10
  write_folder(tmp_path / 'set', images, labels, subfolder=subfolder)
  loaded = data.load(configure(source='image_folder', path=str(tmp_path / 'set')), seed=0)
  assert loaded.name == 'set' and loaded.class_names == ('9', '10')
  expected = data.Split(images.reshape(20, 4, 6, -1), np.asarray([1, 0] * 10, np.int32))
  assert rows(loaded.train) + rows(loaded.validation) == rows(expected)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [2, 2])


# TensorFlow Datasets: a small set, prepared here without TensorFlow.

TFDS_CLASSES = ('square', 'disc')


@pytest.fixture(scope='module')
def tfds_builders():
  """Sets TFDS prepares by name: one to train on, and some that are special in one way each."""
  import tensorflow_datasets as tfds

  class TinyShapes(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.10.0')
    label = tfds.features.ClassLabel(names=TFDS_CLASSES)

    def _info(self):
      image = tfds.features.Image(shape=(4, 4, 3))
      features = tfds.features.FeaturesDict({'image': image, 'label': self.label})
      return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples(20, 0), 'test': self._generate_examples(6, 1)}

    def _generate_examples(self, count, seed):
      for index, image in enumerate(random_images(count, seed)):
        yield index, {'image': Image.fromarray(image), 'label': index % 2}

  class TinyTexts(TinyShapes):
    label = tfds.features.Text()

    def _generate_examples(self, count, seed):
      for index, example in super()._generate_examples(count, seed):
        yield index, {**example, 'label': 'text'}

  class TinyVariants(TinyShapes):
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in ('plain', 'inverted'))

    def _generate_examples(self, count, seed):
      for index, image in enumerate(random_images(count, seed)):
        pixels = 255 - image if self.builder_config.name == 'inverted' else image
        yield index, {'image': Image.fromarray(pixels), 'label': index % 2}

  class TinyBroken(TinyShapes):
    def _split_generators(self, dl_manager):
      raise ImportError("No module named 'tensorflow'")

  return TinyShapes, TinyTexts, TinyVariants, TinyBroken


@pytest.fixture
def tfds_config(configure, tfds_builders, tmp_path):
  return configure(source='tfds', name='tiny_shapes', path=str(tmp_path / 'tfds'))


def test_tfds_is_prepared_and_read(tfds_config):
  tfds_config.validation = 'test'
  loaded = data.load(tfds_config, seed=0)
  assert loaded.class_names == TFDS_CLASSES and loaded.name == 'tiny_shapes'
  expected = [
    data.Split(random_images(count, seed), np.arange(count, dtype=np.int32) % 2)
    for count, seed in ((20, 0), (6, 1))
  ]
  assert rows(loaded.train) == rows(expected[0])
  assert rows(loaded.validation) == rows(expected[1])


def test_tfds_share_leaves_the_test_split_untouched(tfds_config):
  loaded = data.load(tfds_config, seed=0)
  whole = data.Split(random_images(20), np.arange(20, dtype=np.int32) % 2)
  assert rows(loaded.train) + rows(loaded.validation) == rows(whole)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [2, 2])


def test_tfds_variants(tfds_config):
  tfds_config.validation = 'test'
  for name, expected in (('plain', random_images(20)), ('inverted', 255 - random_images(20))):
    tfds_config.name = f'tiny_variants/{name}'
    found = sorted(image.tobytes() for image in data.load(tfds_config, seed=0).train.images)
    assert found == sorted(image.tobytes() for image in expected)
  tfds_config.name = 'tiny_variants'  # TFDS's default is the first
  default = data.load(tfds_config, seed=0).train.images
  assert {image.tobytes() for image in default} == {image.tobytes() for image in random_images(20)}


def test_tfds_reads_the_newest_version_or_the_named_one(tfds_config):
  data.load(tfds_config, seed=0)
  folder = Path(tfds_config.path, 'tiny_shapes', '1.10.0')
  older = folder.with_name('1.9.0')
  older.mkdir()
  for file in folder.iterdir():
    (older / file.name).write_bytes(file.read_bytes())
  (older / 'label.labels.txt').write_text('older square\nolder disc\n')
  info = json.loads((older / 'dataset_info.json').read_text())
  (older / 'dataset_info.json').write_text(json.dumps({**info, 'version': '1.9.0'}))
  assert data.load(tfds_config, seed=0).class_names == TFDS_CLASSES
  tfds_config.name = 'tiny_shapes:1.9.0'
  assert data.load(tfds_config, seed=0).class_names == ('older square', 'older disc')


def test_a_cache_hit_imports_neither_tfds_nor_scikit_learn(tfds_config):
  before = data.load(tfds_config, seed=0)
  program = f"""
import json, sys
from ml_collections import ConfigDict
from bsjax import data
loaded = data.load(ConfigDict(json.loads({tfds_config.to_json()!r})), seed=0)
print(json.dumps([int(loaded.train.images.sum()), loaded.train.labels.tolist(),
  [name for name in ('tensorflow_datasets', 'sklearn', 'tensorflow') if name in sys.modules]]))
"""
  run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
  total, labels, imported = json.loads(run.stdout.splitlines()[-1])
  assert imported == []
  assert total == before.train.images.sum() and labels == before.train.labels.tolist()


def test_tfds_errors(tfds_config):
  data.load(tfds_config, seed=0)
  tfds_config.validation = 'tset'
  expect(tfds_config, "validation = 'tset'", "has no split 'tset'", "'test', 'train'", "'split'")
  tfds_config.validation = 'split'
  info = Path(tfds_config.path, 'tiny_shapes', '1.10.0', 'dataset_info.json')
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  expect(tfds_config, str(info.parent), 'tfrecord', "file_format='array_record'")


def test_tfds_features_are_named_where_they_do_not_fit(tfds_config):
  tfds_config.name = 'tiny_texts'
  with pytest.raises(data.DataError, match=r"label': Text.*integer 'label'.*npz"):
    data.load(tfds_config, seed=0)


def test_a_set_that_cannot_be_prepared(tfds_config):
  tfds_config.name = 'tiny_broken'
  with pytest.raises(data.DataError) as caught:
    data.load(tfds_config, seed=0)
  texts = ("No module named 'tensorflow'", tfds_config.path, 'pip install', 'tensorflow-cpu')
  for text in (*texts, "tfds.builder('tiny_broken'", 'download_and_prepare()', 'TFDS_DATA_DIR'):
    assert text in str(caught.value)


def test_a_set_that_cannot_be_downloaded_fails_at_once(configure, tmp_path, monkeypatch):
  def no_network(*_):
    raise socket.gaierror('no such host')

  monkeypatch.setattr(socket, 'getaddrinfo', no_network)
  monkeypatch.setattr('urllib.request.getproxies', dict)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'nowhere'))
  with pytest.raises(data.DataError) as caught:
    data.load(configure(source='tfds', name='mnist'), seed=0)
  for text in (
    str(tmp_path / 'nowhere'),
    'cannot find storage.googleapis.com',
    "tfds.builder('mnist'",
  ):
    assert text in str(caught.value)


def test_a_misspelt_set_is_corrected(configure, tmp_path):
  config = configure(source='tfds', name='cifar1', path=str(tmp_path))
  with pytest.raises(data.DataError, match=f"'cifar1' .*{tmp_path}.*did you mean 'cifar10'"):
    data.load(config, seed=0)


# The cache.


@pytest.fixture
def npz_config(configure, tmp_path):
  write_npz(tmp_path / 'a.npz', np.arange(40) % 4)
  return configure(source='npz', path=str(tmp_path / 'a.npz'))


def cached(config, pattern):
  return sorted(Path(config.cache_dir).glob(pattern))


def truncate(file):
  file.write_bytes(file.read_bytes()[:-7])


def flip_a_bit(file):
  content = bytearray(file.read_bytes())
  content[-1] ^= 1
  file.write_bytes(content)


@pytest.mark.parametrize('damage', [truncate, flip_a_bit, Path.unlink])
@pytest.mark.parametrize('file', ['a-train*/images.npy', 'a-train*/*.json', 'split-*/train.npy'])
def test_a_damaged_cache_is_rebuilt(npz_config, damage, file):
  before = data.load(npz_config, seed=0)
  expected = rows(before.train), rows(before.validation)
  (path,) = cached(npz_config, file)
  content = path.read_bytes()
  damage(path)
  after = data.load(npz_config, seed=0)
  assert (rows(after.train), rows(after.validation)) == expected
  assert path.read_bytes() == content
  assert len(cached(npz_config, '*')) == 2  # nothing left behind


def test_an_undamaged_cache_is_read_not_rebuilt(npz_config):
  data.load(npz_config, seed=0)
  times = [path.stat().st_mtime_ns for path in cached(npz_config, '*/*')]
  loaded = data.load(npz_config, seed=0)
  assert [path.stat().st_mtime_ns for path in cached(npz_config, '*/*')] == times
  assert len(times) == 6 and loaded.train.images.shape == (32, 4, 4, 3)


def test_changed_data_are_decoded_again(npz_config):
  before = data.load(npz_config, seed=0)
  state = os.stat(npz_config.path)
  write_npz(npz_config.path, np.arange(40) % 4, train_images=random_images(40, seed=1))
  os.utime(npz_config.path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
  assert rows(data.load(npz_config, seed=0).train) != rows(before.train)


def test_a_changed_image_is_decoded_again(configure, tmp_path):
  write_folder(tmp_path / 'set', random_images(8), [0, 1] * 4)
  config = configure(source='image_folder', path=str(tmp_path / 'set'), validation_share=0.5)
  before = data.load(config, seed=0)
  Image.new('RGB', (4, 4)).save(tmp_path / 'set' / 'train' / '5.png')
  after = data.load(config, seed=0)
  changed = rows(after.train) + rows(after.validation)
  assert (changed - rows(before.train) - rows(before.validation)).total() == 1


def test_racing_loaders_agree(npz_config):
  with ThreadPoolExecutor(8) as pool:
    loaded = list(pool.map(lambda _: data.load(npz_config, seed=0), range(16)))
  assert all(rows(one.train) == rows(loaded[0].train) for one in loaded)
  assert len(cached(npz_config, '*')) == 2


def test_cache_directory_that_cannot_be_written(npz_config, tmp_path):
  (tmp_path / 'file').write_text('')
  npz_config.cache_dir = str(tmp_path / 'file' / 'cache')
  with pytest.raises(data.DataError, match=r'cannot write.*file/cache.*config.data.cache_dir'):
    data.load(npz_config, seed=0)


def test_default_cache_directory(npz_config, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
  npz_config.cache_dir = ''
  data.load(npz_config, seed=0)
  assert len(list((tmp_path / 'xdg' / 'bsjax').iterdir())) == 2


def test_digits_need_no_cache(configure):
  config = configure()
  data.load(config, seed=0)
  assert not Path(config.cache_dir).exists()


# Errors say what is wrong, the bound, and the remedy.


def expect(config, *texts):
  """`problems` says all of it in one text, and `load` raises with that text."""
  found = [problem for problem in data.problems(config) if all(text in problem for text in texts)]
  assert len(found) == 1, data.problems(config)
  with pytest.raises(data.DataError) as caught:
    data.load(config, seed=0)
  assert found[0] in str(caught.value)


@pytest.mark.parametrize(
  'overrides, texts',
  [
    ({'source': 'digit'}, ["source = 'digit'", 'digits, image_folder, npz, tfds']),
    ({'validation_share': 0.0}, ['validation_share = 0.0', 'between 0 and 1', '0.2']),
    ({'validation_share': 1.0}, ['validation_share = 1.0', 'between 0 and 1', '0.2']),
    ({'train_examples': -1}, ['train_examples = -1', 'at least 0', '0 takes all']),
    ({'crop': -2}, ['crop = -2', 'at least 0', '0: no crop']),
    ({'validation': 'train'}, ["validation = 'train'", 'on the training data', "'split'"]),
    ({'validation': 'test'}, ["validation = 'test'", "'digits'", "'split'"]),
    ({'source': 'tfds'}, ['name is empty', "'cifar10'"]),
    ({'source': 'npz'}, ["path = ''", 'does not exist', '.npz']),
    ({'source': 'npz', 'path': '/no/such.npz'}, ["'/no/such.npz'", 'does not exist', '.npz']),
    ({'source': 'image_folder', 'path': '/no/such'}, ["'/no/such'", 'does not exist', 'CSV']),
  ],
)
def test_problems_of_the_keys(configure, overrides, texts):
  expect(configure(**overrides), *texts)


def test_all_problems_at_once_and_none_without(configure):
  assert data.problems(configure()) == []
  assert len(data.problems(configure(source='x', crop=-1, train_examples=-1))) == 3


@pytest.mark.parametrize(
  'overrides, pattern',
  [
    ({'crop': 8}, 'crop = 8 .*at most 7 .*8 x 8'),
    ({'train_examples': 1439}, 'train_examples = 1439 .*between 10.* 1428.* all 1438 '),
    ({'train_examples': 9}, 'train_examples = 9 .*between 10, one of each class'),
    ({'validation_share': 0.001}, 'share = 0.001 .*2 to validate.*10 classes.*between 0.00556'),
    ({'validation_share': 0.999}, 'share = 0.999 .*2 to train.*10 classes.*and 0.994'),
  ],
)
def test_errors_only_the_data_can_tell(configure, overrides, pattern):
  with pytest.raises(data.DataError, match=pattern):
    data.load(configure(**overrides), seed=0)


@pytest.mark.parametrize('train_examples', [10, 1428, 1438])
def test_every_bound_named_is_allowed(configure, train_examples):
  loaded = data.load(configure(train_examples=train_examples), seed=0)
  assert len(loaded.train.labels) == train_examples
  assert len(np.unique(loaded.train.labels)) == 10


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
def test_npz_errors(configure, tmp_path, arrays, pattern):
  write_npz(tmp_path / 'a.npz', **{'labels': [0, 1, 0, 1], **arrays})
  with pytest.raises(data.DataError, match=pattern):
    data.load(configure(source='npz', path=str(tmp_path / 'a.npz'), validation_share=0.5), seed=0)


def test_npz_validation_errors(configure, tmp_path):
  path = tmp_path / 'a.npz'
  config = configure(source='npz', path=str(path), validation='own')
  write_npz(path, [0, 1, 0, 1])
  expect(config, "['train_images', 'train_labels']", "'own_images'", "'split'")
  write_npz(path, [0, 1], own_images=random_images(3), own_labels=np.asarray([0, 5, 5]))
  with pytest.raises(data.DataError, match=r'2 of 3 examples .*none of the 2 .*: 5; correct'):
    data.load(config, seed=0)
  write_npz(path, [0, 1], own_images=np.zeros((1, 2, 2, 3), np.uint8), own_labels=np.zeros(1, int))
  with pytest.raises(data.DataError, match=r"'own' are \(2, 2, 3\).*\(4, 4, 3\)"):
    data.load(config, seed=0)
  path.write_text('no archive')
  expect(config, str(path), 'is no .npz file', 'np.savez')


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
def test_label_csv_problems(configure, tmp_path, table, texts):
  write_folder(tmp_path, random_images(4), [0, 1, 0, 1])
  (tmp_path / 'train.csv').write_text(table)
  expect(configure(source='image_folder', path=str(tmp_path)), "label_csv = 'train.csv'", *texts)


def test_label_csv_missing(configure, tmp_path):
  config = configure(source='image_folder', path=str(tmp_path), label_csv='labels.csv')
  expect(config, "label_csv = 'labels.csv'", 'cannot be read', 'name a CSV in the folder')


def test_image_folder_errors(configure, tmp_path):
  write_folder(tmp_path, random_images(8), [0, 1] * 4)
  config = configure(source='image_folder', path=str(tmp_path))
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


# Real data, where it is at hand.


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f'the aerial cactus archive is not in {SHARED}')
def test_aerial_cactus(configure, tmp_path):
  spec = importlib.util.spec_from_file_location('prepare', SHARED / 'prepare.py')
  prepare = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(prepare)
  prepare.prepare_aerial_cactus(tmp_path / 'aerial_cactus')
  config = configure(source='image_folder', path=str(tmp_path / 'aerial_cactus'))
  loaded = data.load(config, seed=0)
  assert loaded.class_names == ('0', '1') and loaded.image_shape == (32, 32, 3)
  assert len(loaded.train.labels) == 14_000 and len(loaded.validation.labels) == 3_500
  # 13,136 of the 17,500 images show a cactus.
  assert [loaded.train.labels.sum(), loaded.validation.labels.sum()] == [10_509, 2_627]


CIFAR10 = Path(os.environ.get('TFDS_DATA_DIR', '/nonexistent'), 'cifar10')


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR10.exists(), reason='TFDS_DATA_DIR holds no prepared cifar10')
def test_cifar10(configure):
  config = configure(source='tfds', name='cifar10')
  loaded = data.load(config, seed=0)
  assert loaded.class_names[:2] == ('airplane', 'automobile') and loaded.num_classes == 10
  np.testing.assert_array_equal(np.bincount(loaded.train.labels), [4_000] * 10)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [1_000] * 10)
  np.testing.assert_allclose(loaded.mean, [125.3, 122.95, 113.9], atol=0.5)
