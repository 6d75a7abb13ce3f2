"""Source 'tfds', on small sets that are prepared here without TensorFlow."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import data_config, expect_problem, random_images, rows
from PIL import Image

from bsjax import data

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
def tfds_config(tfds_builders, tmp_path):
  return data_config(tmp_path, source='tfds', name='tiny_shapes', path=str(tmp_path / 'tfds'))


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
  expect_problem(
    tfds_config, "validation='tset'", "has no split 'tset'", "'test', 'train'", "'split'"
  )
  tfds_config.validation = 'split'
  info = Path(tfds_config.path, 'tiny_shapes', '1.10.0', 'dataset_info.json')
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  expect_problem(tfds_config, str(info.parent), 'tfrecord', "file_format='array_record'")


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


def test_a_set_that_cannot_be_downloaded_fails_at_once(tmp_path, monkeypatch):
  def no_network(host, _):
    raise socket.gaierror(f'no network to find {host}')

  monkeypatch.setattr(socket, 'getaddrinfo', no_network)
  monkeypatch.setattr('urllib.request.getproxies', dict)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'nowhere'))
  with pytest.raises(data.DataError) as caught:
    data.load(data_config(tmp_path, source='tfds', name='mnist'), seed=0)
  for text in ('nowhere', 'no network to find storage.googleapis.com', "tfds.builder('mnist'"):
    assert text in str(caught.value)


def test_a_misspelt_set_is_corrected(tmp_path):
  config = data_config(tmp_path, source='tfds', name='cifar1', path=str(tmp_path))
  with pytest.raises(data.DataError, match=f"'cifar1' .*{tmp_path}.*did you mean 'cifar10'"):
    data.load(config, seed=0)


@pytest.mark.parametrize('damage', ['gone', 'cut', 'flipped', 'info', 'features'])
def test_a_set_that_is_damaged_is_named_with_the_remedy(tfds_config, damage):
  tfds_config.validation = 'test'
  data.load(tfds_config, seed=0)
  folder = Path(tfds_config.path, 'tiny_shapes', '1.10.0')
  (records,) = folder.glob('*-train.array_record*')
  content = bytearray(records.read_bytes())
  match damage:
    case 'gone':
      records.unlink()
    case 'cut':
      records.write_bytes(content[: len(content) // 2])
    case 'flipped':
      middle = slice(len(content) // 2, len(content) // 2 + 40)
      content[middle] = bytes(x ^ 255 for x in content[middle])
      records.write_bytes(content)
    case 'info':
      (folder / 'dataset_info.json').write_text('{"name": ')
    case 'features':
      (folder / 'features.json').write_text('{}')
  with pytest.raises(data.DataError) as caught:
    data.load(tfds_config, seed=0)
  said = str(caught.value)
  assert "data.name='tiny_shapes'" in said and str(folder) in said and 'remove that folder' in said
  assert '\n' not in said
