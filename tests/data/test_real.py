"""Real data, where they are at hand: beside the repository, or CIFAR-10 in TFDS_DATA_DIR."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import data_config

from bsjax import data

ARCHIVES = Path(__file__).resolve().parents[3] / 'shared' / 'data'


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVES.exists(), reason=f'there are no archives in {ARCHIVES}')
def test_aerial_cactus(tmp_path):
  spec = importlib.util.spec_from_file_location('prepare', ARCHIVES / 'prepare.py')
  prepare = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(prepare)
  prepare.prepare_aerial_cactus(tmp_path / 'aerial_cactus')
  config = data_config(tmp_path, source='image_folder', path=str(tmp_path / 'aerial_cactus'))
  loaded = data.load(config, seed=0)
  assert loaded.class_names == ('0', '1') and loaded.image_shape == (32, 32, 3)
  assert len(loaded.train.labels) == 14_000 and len(loaded.validation.labels) == 3_500
  # 13,136 of the 17,500 images show a cactus.
  assert [loaded.train.labels.sum(), loaded.validation.labels.sum()] == [10_509, 2_627]


@pytest.fixture
def cifar10_dir(tmp_path):
  """The TFDS data directory of a prepared CIFAR-10; preparing it takes about two minutes."""
  prepared = Path(os.environ.get('TFDS_DATA_DIR', tmp_path / 'tfds'))
  if (prepared / 'cifar10').exists():
    return prepared
  if not ARCHIVES.exists():
    pytest.skip(f'TFDS_DATA_DIR holds no prepared cifar10, and there are no archives in {ARCHIVES}')
  if importlib.util.find_spec('tensorflow') is None:
    pytest.skip('TFDS_DATA_DIR holds no prepared cifar10, and preparing it needs tensorflow')
  subprocess.run([sys.executable, ARCHIVES / 'prepare.py', tmp_path], check=True)
  return tmp_path / 'tfds'


@pytest.mark.slow
def test_cifar10(tmp_path, cifar10_dir):
  config = data_config(tmp_path, source='tfds', name='cifar10', path=str(cifar10_dir))
  loaded = data.load(config, seed=0)
  assert loaded.class_names[:2] == ('airplane', 'automobile') and loaded.num_classes == 10
  np.testing.assert_array_equal(np.bincount(loaded.train.labels), [4_000] * 10)
  np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [1_000] * 10)
  np.testing.assert_allclose(loaded.mean, [125.3, 122.95, 113.9], atol=0.5)
