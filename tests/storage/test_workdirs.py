"""A workdir belongs to one study: no key that changes what is computed may differ."""

from pathlib import Path

import pytest
from helpers.builders import data_config, random_images, write_image_folder

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.config.keys import base_config
from bsjax.storage import records, workdirs

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


def test_what_could_be_added_is_offered_where_nothing_else_differs(tmp_path):
  workdirs.write_config(tmp_path, base_config())
  config = base_config()
  config.trials += 1
  for width, offered in ((config.model.width, True), (config.model.width + 1, False)):
    config.model.width = width
    with pytest.raises(ConfigError, match='holds another study') as error:
      workdirs.refuse_another(tmp_path, config)
    assert ('--extend' in str(error.value)) == offered
    assert 'another version of bsjax' not in str(error.value)
  stored = records.read_json(tmp_path / 'config.json')
  del stored['seed']
  records.write_json(tmp_path / 'config.json', stored)
  with pytest.raises(ConfigError, match=r'seed: None there.*\n.*\n\(it was begun by another ver'):
    workdirs.refuse_another(tmp_path, config)


@pytest.mark.parametrize(
  ('known', 'moves'),
  [
    ({'.': True}, True),
    ({'arms/a': True, 'arms/b': True}, True),
    ({'arms/a': True, 'arms/b': False}, False),
    ({'.': False}, False),
    ({}, False),
  ],
)
def test_data_may_move_where_all_that_was_begun_knows_them(known, moves, tmp_path):
  workdirs.write_config(tmp_path, base_config())
  for folder, fingerprint in known.items():
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    facts = {'examples': 8} | ({'fingerprint': 'abc'} if fingerprint else {})
    records.write_json(tmp_path / folder / 'data.json', facts)
  config = base_config()
  config.data.path = 'elsewhere'
  assert ('data.path' in workdirs.differences(tmp_path, config)) != moves


def test_a_stored_config_says_nothing_of_how_this_machine_is_to_run_it(tmp_path):
  config = base_config()
  config.execution.devices, config.seed = 7, 5
  workdirs.write_config(tmp_path, config)
  read = workdirs.read_config(tmp_path)
  assert read.seed == 5 and read.execution == base_config().execution


def test_an_empty_workdir_takes_any_study(tmp_path):
  workdirs.refuse_another(tmp_path / 'new', base_config())


def test_a_path_with_a_colon_is_no_url_and_a_cache_is_no_bucket(tmp_path, monkeypatch):
  assert workdirs.local('a:b/c') == Path('a:b/c')
  assert workdirs.local('C:/b') == Path('C:/b')
  monkeypatch.chdir(tmp_path)
  config = data_config(tmp_path, source='image_folder', path='set', cache_dir='gs://b/x')
  write_image_folder(tmp_path / 'set', random_images(4), [0, 1, 0, 1])
  with pytest.raises(ConfigError, match=r'data\.cache_dir=gs://b/x is no folder of this machine'):
    data.load(config, 0)
  assert [file.name for file in tmp_path.iterdir()] == ['set']
