"""Small data sets on disk, and what the tests of data say about them."""

import collections

import numpy as np
import pytest
from PIL import Image

from bsjax import data
from bsjax.config.keys import base_config


def data_config(folder, **overrides):
  """A `data` config that caches under the test's own folder."""
  config = base_config().data
  config.cache_dir = str(folder / 'cache')
  config.update(overrides)
  return config


def random_images(count, seed=0, shape=(4, 4, 3)):
  return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_npz(path, labels, **more):
  labels = np.asarray(labels)
  arrays = {'train_images': random_images(len(labels)), 'train_labels': labels, **more}
  np.savez(path, **arrays)
  return arrays


def npz_config(folder, **overrides):
  """The config of `folder`/a.npz, written with 40 images of 4 classes unless it is there."""
  path = folder / 'a.npz'
  if not path.exists():
    write_npz(path, np.arange(40) % 4)
  return data_config(folder, source='npz', path=str(path), **overrides)


def write_image_folder(path, images, labels, subfolder='train'):
  (path / subfolder).mkdir(parents=True)
  for index, image in enumerate(images):
    Image.fromarray(image).save(path / subfolder / f'{index}.png')
  rows = [f'{index}.png,{label}' for index, label in enumerate(labels)]
  (path / 'train.csv').write_text('\n'.join(['id,has_cactus', *rows]) + '\n')


def rows(*splits):
  """The examples of the splits as a multiset."""
  return collections.Counter(
    (image.tobytes(), int(label))
    for split in splits
    for image, label in zip(split.images, split.labels, strict=True)
  )


def expect_problem(config, *texts):
  """`wrong` says all of it in one text, and `load` raises with that text."""
  matching = [problem for problem in data.wrong(config) if all(text in problem for text in texts)]
  assert len(matching) == 1, data.wrong(config)
  with pytest.raises(data.DataError) as caught:
    data.load(config, seed=0)
  assert matching[0] in str(caught.value)
