"""Problems of a configuration are said with the line of the config file, or the flag, of each."""

import pytest

from bsjax.config import places
from bsjax.config.errors import ConfigError

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


@pytest.mark.parametrize(
  ('sentence', 'place'),
  [
    ('trials=0 must be', 'FILE:9: '),  # the last of two
    ('epochs=-1.0 must be', 'FILE:9: '),
    ('model.depth=True must be', 'FILE:8: '),
    ('data.crop=None must be', 'FILE:11: '),
    ("batch_sizes=('a',): give", 'FILE:11: '),
    ("schedule.name='x' is unknown", 'FILE:13: '),
    ('stages.head.crop=True must be', 'FILE:15: '),
    ('stages.head.examples=0 must be', 'FILE:14: '),  # where the stage is added
    ('arms.wide: model.width=None must be', 'FILE:17: '),
    ('arms.wide: trials=0 must be', 'FILE:9: '),  # which all arms share
    ('seed=None must be', 'FILE: '),  # that of another config
    ('checkpoint.seconds=-1 must be', 'FILE: '),
    ('optimizer.name=3 must be', 'flag --config.optimizer.name: '),
    ('arms.wide: seed=-1 must be', 'flag --config.arms.wide.seed: '),
    ('arms.wide: optimizer.name=3 must be', 'flag --config.optimizer.name: '),
    ('arms.wide: optimizer.nesterov=3 must be', 'FILE:17: '),  # which a flag sets for all arms
    ('arms.wide: checkpoint.seconds=-1 must be', 'FILE: '),  # and not where the arm is added
    ('epochs=2.0 is high', 'FILE:22: '),
    ('epochs=2.05 is high', 'FILE: '),  # which no line of the text has set
    ('batch_sizes=(8,) is low', 'FILE:22: '),
    ('micro_batch=0 is low', 'FILE:18: '),
    ('optimizer is odd', 'flag --config.optimizer.name: '),
    ('--shard=3: there is', ''),
    ('the workdir holds another study', ''),
  ],
)
def test_a_problem_is_said_with_its_place(sentence, place, tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(FILE)
  flags = ['optimizer.name', 'model.dtype', 'arms.wide.seed', 'optimizer.nesterov']
  for error in (ConfigError('all', [sentence]), ValueError(sentence)):
    said = places.said(error, str(file), flags).replace(str(file), 'FILE')
    assert said == place + sentence


def test_each_of_several_problems_has_its_place(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(FILE)
  sentences = ['trials=0 is low', 'nothing that is known', 'model.depth=True is odd']
  said = places.said(ConfigError('all', sentences), str(file), {'trials'})
  assert said.splitlines() == [
    '3 problems in the configuration:',
    '  - flag --config.trials: trials=0 is low',
    '  - nothing that is known',
    f'  - {file}:8: model.depth=True is odd',
  ]


@pytest.mark.parametrize('content', ['def get_config(:\n', '\x00', 'get_config = 3\n', ''])
def test_a_file_whose_text_shows_nothing_has_no_lines(content, tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(content)
  assert places.lines(file) == places.lines(tmp_path / 'none.py') == {}
