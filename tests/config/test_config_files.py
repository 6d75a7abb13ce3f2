"""Config files that give parts of their own beside the config, and what is said of wrong ones."""

import pytest

from bsjax import cli
from bsjax.config import own
from bsjax.config.keys import base_config


def written(tmp_path, text):
  path = tmp_path / 'mine.py'
  path.write_text(f'from bsjax.config.keys import base_config as get_config\n{text}')
  return str(path)


def test_parts_are_what_the_function_gives_and_nothing_without_one(tmp_path):
  assert cli.parts(base_config(), written(tmp_path, '')) == {}
  file = written(tmp_path, 'def parts(config):\n  return {"model": config.seed, "writers": []}\n')
  config = base_config()
  config.seed = 7
  assert cli.parts(config, file) == {'model': 7, 'writers': []}


@pytest.mark.parametrize(
  ('code', 'said'),
  [
    ('return 3', 'parts() gave 3; give a dict of model, data'),
    ('return {"modle": 1}', 'parts() gave "keys [\'modle\']"; give a dict'),
    ('return undefined', "mine.py:3: NameError: name 'undefined' is not defined"),
  ],
)
def test_a_mistake_in_parts_is_one_line(tmp_path, code, said):
  file = written(tmp_path, f'def parts(config):\n  {code}\n')
  with pytest.raises(SystemExit) as error:
    cli.parts(base_config(), file)
  assert said in str(error.value) and '\n' not in str(error.value)


def test_parts_from_outside_that_are_not_given_are_named():
  config = {'own': {'model': {'name': 'mine'}, 'task': {'name': 'theirs'}}}
  assert own.lacking(config, {'model': 1, 'task': 2}) == own.lacking({}, {}) == ''
  assert own.lacking({'own': None}, {}) == ''
  assert 'has its task from outside' in own.lacking(config, {'model': 1})
  both = own.lacking(config, {})
  assert 'has its model and task from outside' in both
  assert 'bsjax.Study(config, workdir, model=..., task=...)' in both
