"""The cache of decoded images: read when whole, rebuilt when damaged or out of date."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import (
  data_config,
  npz_config,
  random_images,
  rows,
  write_image_folder,
  write_npz,
)
from PIL import Image

from bsjax import data


def cached(config, pattern):
  return sorted(Path(config.cache_dir).glob(pattern))


def truncate(file):
  file.write_bytes(file.read_bytes()[:-7])


def flip_a_bit(file):
  content = bytearray(file.read_bytes())
  content[-1] ^= 1
  file.write_bytes(content)


@pytest.mark.parametrize('damage', [truncate, flip_a_bit, Path.unlink])
@pytest.mark.parametrize('file', ['images.npy', 'labels.npy', 'fingerprints.json'])
def test_a_damaged_cache_is_rebuilt(tmp_path, capfd, damage, file):
  config = npz_config(tmp_path)
  before = data.load(config, seed=0)
  expected = rows(before.train), rows(before.validation)
  (path,) = cached(config, f'a-train-*/{file}')
  content = path.read_bytes()
  damage(path)
  capfd.readouterr()
  after = data.load(config, seed=0)
  assert 'is damaged' in capfd.readouterr().err
  assert (rows(after.train), rows(after.validation)) == expected
  assert path.read_bytes() == content
  assert len(cached(config, '*')) == 1  # nothing left behind


def test_an_undamaged_cache_is_read_not_rebuilt(tmp_path, capfd):
  config = npz_config(tmp_path)
  data.load(config, seed=0)
  (folder,) = cached(config, '*')
  said = f'decoding {config.path} train, once; cached in {folder}\n'
  assert capfd.readouterr().err == said
  times = [path.stat().st_mtime_ns for path in cached(config, '*/*')]
  loaded = data.load(config, seed=0)
  assert [path.stat().st_mtime_ns for path in cached(config, '*/*')] == times
  assert len(times) == 3 and loaded.train.images.shape == (32, 4, 4, 3)
  assert capfd.readouterr().err == ''


def test_changed_data_are_decoded_again(tmp_path):
  config = npz_config(tmp_path)
  before = data.load(config, seed=0)
  state = os.stat(config.path)
  write_npz(config.path, np.arange(40) % 4, train_images=random_images(40, seed=1))
  os.utime(config.path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
  assert rows(data.load(config, seed=0).train) != rows(before.train)


def test_a_changed_image_is_decoded_again(tmp_path):
  write_image_folder(tmp_path / 'set', random_images(8), [0, 1] * 4)
  config = data_config(tmp_path, source='image_folder', path=str(tmp_path / 'set'))
  config.validation_share = 0.5
  before = data.load(config, seed=0)
  Image.new('RGB', (4, 4)).save(tmp_path / 'set' / 'train' / '5.png')
  after = data.load(config, seed=0)
  changed = rows(after.train, after.validation) - rows(before.train, before.validation)
  assert changed.total() == 1


def test_racing_loaders_agree(tmp_path):
  config = npz_config(tmp_path)
  with ThreadPoolExecutor(8) as pool:
    loaded = list(pool.map(lambda _: data.load(config, seed=0), range(16)))
  assert all(rows(one.train) == rows(loaded[0].train) for one in loaded)
  assert len(cached(config, '*')) == 1


def test_cache_directory_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  config = npz_config(tmp_path, cache_dir=str(tmp_path / 'file' / 'cache'))
  with pytest.raises(data.DataError, match=r'cannot write.*file/cache.*data.cache_dir'):
    data.load(config, seed=0)


def test_a_full_default_cache_is_said_and_not_needed(tmp_path, monkeypatch, capfd):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
  config = npz_config(tmp_path, cache_dir='')
  expected = rows(data.load(config, seed=0).train)
  shutil.rmtree(tmp_path / 'xdg' / 'bsjax')
  capfd.readouterr()

  def full(path, _):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

  monkeypatch.setattr(np, 'save', full)
  assert rows(data.load(config, seed=0).train) == expected
  said = capfd.readouterr().err.splitlines()
  assert len(said) == 2 and 'No space left' in said[1] and 'set data.cache_dir' in said[1]
  config.cache_dir = str(tmp_path / 'named')
  with pytest.raises(data.DataError, match=r'cannot write.*named.*data.cache_dir'):
    data.load(config, seed=0)


def test_default_cache_directory(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
  data.load(npz_config(tmp_path, cache_dir=''), seed=0)
  assert len(list((tmp_path / 'xdg' / 'bsjax').iterdir())) == 1


def test_digits_need_no_cache(tmp_path):
  config = data_config(tmp_path)
  data.load(config, seed=0)
  assert not Path(config.cache_dir).exists()
