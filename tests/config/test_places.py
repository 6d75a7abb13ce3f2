"""Problems of a configuration are said with the line of the config file, or the flag, of each."""

import pickle

import pytest
from helpers.small import put, small_config
from ml_collections import ConfigDict

from bsjax.config import places
from bsjax.config.errors import ConfigError, Problem
from bsjax.config.keys import KEYS
from bsjax.config.stage_keys import STAGE
from bsjax.data import DataError
from bsjax.engine.validate import problems
from bsjax.plan import arms, stages
from bsjax.train.study_run import StudyRun

NOT_THERE = object()
HEAD = """from bsjax.config import base_config
def get_config():
  config = base_config()
"""
FILE = """
from bsjax.config import base_config
from bsjax.plan import arms, stages
def get_config():
  config, other = base_config(), base_config()
  config.trials = 3
  other.seed = None
  config.model.depth = True
  config.trials, config['epochs'] = 0, -1.0
  config.update({'data': {
    'crop': None}}, batch_sizes=('a',))
  schedule = config.schedule
  schedule.name = 'x'
  stages.add(config, 'head', epochs=1.0,
             crop=True)
  arms.add(config, 'wide', {'model': {
    'width': None}, 'optimizer': {'nesterov': 3}})
  config.micro_batch = config.trials
  return config
def smaller():
  config = get_config()
  config.epochs, config.batch_sizes = 2.0, (8,)
  return config
"""


def loose(values):
  """A config of any values, by dotted keys."""
  config = ConfigDict()
  for name, value in values.items():
    *path, last = name.split('.')
    node = config
    for part in path:
      node[part] = node.get(part, ConfigDict())
      node = node[part]
    node[last] = value
  return config


@pytest.mark.parametrize(
  ('keys', 'value', 'place'),
  [
    ('trials', 0, 'FILE:9: '),  # the last of two
    ('epochs', -1.0, 'FILE:9: '),
    ('model.depth', True, 'FILE:8: '),
    ('model.depth', 1, 'FILE: '),  # which is not True
    ('data.crop', None, 'FILE:11: '),
    ('batch_sizes', ('a',), 'FILE:11: '),
    ('schedule.name', 'x', 'FILE:13: '),
    ('stages.head.crop', True, 'FILE:15: '),
    ('stages.head.examples', 0, 'FILE:14: '),  # where the stage is added
    ('arms.wide.model.width', None, 'FILE:17: '),
    ('arms.wide', {'model': {'width': None}}, 'flag --config.arms.wide.seed: '),  # in the section
    ('arms.wide.trials', NOT_THERE, 'FILE:9: '),  # which all arms share
    ('seed', None, 'FILE: '),  # that of another config
    ('checkpoint.seconds', -1.0, 'FILE: '),
    ('optimizer.name', 3, 'flag --config.optimizer.name: '),
    ('arms.wide.seed', -1, 'flag --config.arms.wide.seed: '),
    ('arms.wide.optimizer.name', NOT_THERE, 'flag --config.optimizer.name: '),
    ('arms.wide.optimizer.nesterov', 3, 'FILE:17: '),  # which a flag sets for all arms
    ('arms.wide.checkpoint.seconds', -1, 'FILE: '),  # and not where the arm is added
    ('epochs', 2.0, 'FILE:22: '),
    ('epochs', 2.05, 'FILE: '),  # which no line of the text has set
    ('batch_sizes', (8,), 'FILE:22: '),
    ('micro_batch', 0, 'FILE:18: '),  # computed there
    ('optimizer', {'name': 'x'}, 'flag --config.optimizer.name: '),
    ('evaluation.at epochs', NOT_THERE, 'FILE:9: '),  # the first of them that is set
    ('decide.margin evaluation.at', NOT_THERE, 'FILE: '),
    ('', NOT_THERE, ''),
  ],
)
def test_a_problem_is_said_with_its_place(keys, value, place, tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(FILE)
  keys = keys.split()
  values = {'trials': 0, 'epochs': -1.0} | ({keys[0]: value} if value is not NOT_THERE else {})
  config = loose(values)
  flags = ['optimizer.name', 'model.dtype', 'arms.wide.seed', 'optimizer.nesterov']
  for error in (ConfigError('It is wrong.', *keys), DataError('It is wrong.', *keys)):
    said = places.said(error, str(file), config, flags).replace(str(file), 'FILE')
    assert said == f'{place}It is wrong.'


def test_an_error_that_knows_no_keys_is_said_as_it_is(tmp_path):
  assert places.said(OSError(2, 'trials=0 is low'), str(tmp_path), ConfigDict(), []) == (
    '[Errno 2] trials=0 is low'
  )


def test_each_of_several_problems_has_its_place(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(FILE)
  problems = [
    Problem('That is low', 'trials'),
    Problem('nothing that is known'),
    Problem('odd', 'model.depth').within('arm wide: ', 'arms.wide'),
  ]
  config = loose({'trials': 0, 'model.depth': True})
  said = places.said(ConfigError.of(problems), str(file), config, {'trials'})
  assert said.splitlines() == [
    '3 problems in the configuration:',
    '  - flag --config.trials: That is low',
    '  - nothing that is known',
    f'  - {file}:8: arm wide: odd',
  ]


def test_keys_of_problems_pass_between_processes():
  error = pickle.loads(pickle.dumps(ConfigError.of([Problem('a', 'x'), Problem('b', 'y', 'z')])))
  assert str(error) == 'a\nb' and [one.keys for one in error.problems] == [('x',), ('y', 'z')]


@pytest.mark.parametrize('value', [None, (None,), {'no': 'value'}])
def test_every_key_that_is_wrong_by_itself_is_said_with_its_line(value, tmp_path):
  """Of each key of the table and of stages, in the study, an arm, and by a flag."""
  file = tmp_path / 'mine.py'
  for where, key in [('', x) for x in KEYS] + [('stages.head.', x) for x in STAGE]:
    name = where + key.name
    config = small_config()
    stages.add(config, 'head')
    put(config, name, value)
    found = [one for one in problems(config) if one.keys[0] == name]
    free = key.kind is object or isinstance(key.default, dict)
    assert len(found) == 1 or free, name
    path = ''.join(f'[{part!r}]' for part in name.split('.'))
    file.write_text(HEAD + f'  config.trials = 2\n  config{path} = {value!r}\n  return config\n')
    error = ConfigError.of(found)
    for problem in found:
      assert f'{file}:5: {problem}' in places.said(error, str(file), config, [])
      flag = f'flag --config.{name}: {problem}'
      assert flag in places.said(error, str(file), config, [name])


@pytest.mark.parametrize(
  ('overrides', 'keys'),
  [
    (
      {'trials': 10_000, 'learning_rates': tuple(range(1, 100))},
      'trials batch_sizes learning_rates',
    ),
    ({'batch_sizes': (8, 1024)}, 'batch_sizes epochs'),
    ({'batch_sizes': (7, 64)}, 'batch_sizes epochs'),
    ({'model__width': 60_000, 'model__depth': 900}, 'model.width model.depth model.name'),
    ({'data__crop': 8}, 'data.crop'),
    ({'data__train_examples': 9_999}, 'data.train_examples'),
    ({'evaluation__at': (7,)}, 'evaluation.at'),
    ({'axes__b1': (0.5, 0.9)}, 'axes.b1 optimizer.name'),
    ({'decide__question': 'trend', 'axes__momentum': (0.5,)}, 'axes.momentum decide.question'),
    ({'decide__question': 'best_learning_rate', 'decide__margin': 0.5}, 'decide.margin'),
  ],
)
def test_what_several_keys_or_the_data_make_wrong_names_its_keys(overrides, keys, tmp_path):
  """In the study, and in an arm of it."""
  config = small_config(**overrides)
  whole = small_config()
  changes = {}
  for name, value in overrides.items():
    put_into(changes, name.split('__'), value)
  arms.add(whole, 'wide', changes)
  for study, where in ((config, ''), (whole, 'arms.wide.')):
    with pytest.raises((ConfigError, DataError)) as error:
      StudyRun(study, tmp_path / 'study').check()
    assert [where + key for key in keys.split()] in [list(x.keys) for x in error.value.problems]


def put_into(tree, path, value):
  """Sets a value in nested dicts."""
  for part in path[:-1]:
    tree = tree.setdefault(part, {})
  tree[path[-1]] = value


@pytest.mark.parametrize('content', ['def get_config(:\n', '\x00', 'get_config = 3\n', ''])
def test_a_file_whose_text_shows_nothing_has_no_lines(content, tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(content)
  assert places.lines(file) == places.lines(tmp_path / 'none.py') == {}
