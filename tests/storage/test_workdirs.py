"""A workdir belongs to one study: no key that changes what is computed may differ."""

from pathlib import Path

import pytest
from helpers.builders import data_config, random_images, write_image_folder

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.config.keys import base_config
from bsjax.storage import workdirs

# How a study runs, and what is measured or shown beside it.
FREE = ('decide', 'execution', 'checkpoint', 'report', 'native_cost', 'writers')


def leaves(config, prefix=''):
  for key, value in config.items():
    if hasattr(value, 'items'):
      yield from leaves(value, f'{prefix}{key}.')
    else:
      yield prefix + key


def changed(config, key):
  """Another value of the same type."""
  *sections, last = key.split('.')
  node = config
  for name in sections:
    node = node[name]
  value = node[last]
  if isinstance(value, bool):
    node[last] = not value
  elif isinstance(value, str):
    node[last] = f'{value}x'
  elif isinstance(value, tuple):
    node[last] = (*value, *(value[:1] or ('x',)))
  else:
    node[last] = value + 1


@pytest.mark.parametrize('key', list(leaves(base_config())))
def test_a_key_that_is_computed_with_may_not_differ(tmp_path, key):
  workdirs.write_config(tmp_path, base_config())
  workdirs.refuse_another(tmp_path, base_config())  # the same is welcome
  config = base_config()
  with config.unlocked():
    changed(config, key)
  if key.split('.')[0] in FREE or key == 'data.cache_dir':
    workdirs.refuse_another(tmp_path, config)
    return
  with pytest.raises(ConfigError, match=key):
    workdirs.refuse_another(tmp_path, config)


def test_an_empty_workdir_takes_any_study(tmp_path):
  workdirs.refuse_another(tmp_path / 'new', base_config())


def test_a_path_with_a_colon_is_no_url_and_a_cache_is_no_bucket(tmp_path, monkeypatch):
  assert workdirs.local('a:b/c') == Path('a:b/c')
  monkeypatch.chdir(tmp_path)
  config = data_config(tmp_path, source='image_folder', path='set', cache_dir='gs://b/x')
  write_image_folder(tmp_path / 'set', random_images(4), [0, 1, 0, 1])
  with pytest.raises(ConfigError, match=r'data\.cache_dir=gs://b/x is no folder of this machine'):
    data.load(config, 0)
  assert [file.name for file in tmp_path.iterdir()] == ['set']
