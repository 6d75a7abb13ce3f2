"""Which lines of a config file's text set which keys, statement by statement."""

import pytest
from ml_collections import ConfigDict

from bsjax.config import places
from bsjax.config.errors import ConfigError

COMPUTED = places.COMPUTED


def lines(folder, *body):
  """What is found of these lines of a function, the first of which is line 3 of the file."""
  file = folder / 'mine.py'
  text = ''.join(f'  {line}\n' for line in body)
  file.write_text(f'def get_config():\n  config = base_config()\n{text}  return config\n')
  return places.lines(file)


@pytest.mark.parametrize(
  ('body', 'expected'),
  [
    (['config.trials = 3', 'config.trials = 5'], {'trials': [(3, 3), (4, 5)]}),
    (['config.trials: int = 3'], {'trials': [(3, 3)]}),
    (['config.trials = config.seed = 3'], {'trials': [(3, 3)], 'seed': [(3, 3)]}),
    (['config.trials = 3', 'config.trials += 1'], {'trials': [(3, 3), (4, COMPUTED)]}),
    (['config["data"]["crop"] = 2'], {'data.crop': [(3, 2)]}),
    (['config.data["crop"] = 2'], {'data.crop': [(3, 2)]}),
    (['config[name] = 2'], {}),
    (['config.batch_sizes = [8, 16]'], {'batch_sizes': [(3, (8, 16))]}),
    (['config.batch_sizes = tuple(sizes)'], {'batch_sizes': [(3, COMPUTED)]}),
    (['config.trials, config.seed = 3, 4'], {'trials': [(3, 3)], 'seed': [(3, 4)]}),
    (['config.trials, config.seed = two'], {'trials': [(3, COMPUTED)], 'seed': [(3, COMPUTED)]}),
    (
      ['config.trials, config.seed = 3, *rest, 5'],
      {'trials': [(3, COMPUTED)], 'seed': [(3, COMPUTED)]},
    ),
    (['data = config.data', 'data.crop = 2'], {'data.crop': [(4, 2)]}),
    (['other.trials = 3', 'other["seed"] = 3'], {}),
    (['config.pretrain = {"epochs": 2.0}'], {'pretrain': [(3, COMPUTED)]}),
    # In the order of the text, however deep a line is.
    (
      ['if fast:', '  config.trials = 1', 'config.trials = 2'],
      {'trials': [(4, 1), (5, 2)]},
    ),
    # One line, with values that have no order.
    (['config.update({"trials": 3}, trials=None)'], {'trials': [(3, None), (3, 3)]}),
    (
      ['config.update(trials=3, **more)', 'config.data.update({"crop": 2, name: 3})'],
      {'trials': [(3, 3)], 'data.crop': [(4, 2)]},
    ),
    (
      ['config.update({', '  "data": {', '    "crop": 2,', '    "flip": True}})'],
      {'data': [(4, COMPUTED)], 'data.crop': [(5, 2)], 'data.flip': [(6, True)]},
    ),
    (
      ['stages.add(config, "head", epochs=2.0,', '  trainable=("a",))'],
      {
        'stages.head': [(3, COMPUTED)],
        'stages.head.epochs': [(3, 2.0)],
        'stages.head.trainable': [(4, ('a',))],
      },
    ),
    (
      ['plan.arms.add(config, "wide", {"model": {"width": 3}})'],
      {
        'arms.wide': [(3, COMPUTED)],
        'arms.wide.model': [(3, COMPUTED)],
        'arms.wide.model.width': [(3, 3)],
      },
    ),
    (['arms.add(config, name, {"trials": 3})', 'seen.add(config)'], {}),
  ],
)
def test_each_way_to_set_a_key(body, expected, tmp_path):
  found = lines(tmp_path, *body)
  for places_of in found.values():
    places_of.sort(key=lambda place: (place[0], str(place[1])))  # of one line in any order
  for places_of in expected.values():
    places_of.sort(key=lambda place: (place[0], str(place[1])))
  assert found == expected


def test_the_order_of_lines_is_that_of_the_text(tmp_path):
  body = ['if fast:', '  if faster:', '    config.trials = 1', '  config.trials = 2']
  found = lines(tmp_path, *body, 'config.trials = 3')
  assert found == {'trials': [(5, 1), (6, 2), (7, 3)]}


def test_what_another_function_returns_is_another_config(tmp_path):
  file = tmp_path / 'mine.py'
  text = 'def other():\n  mine = base_config()\n  mine.trials = 3\n  return mine\n'
  file.write_text(f'{text}def get_config():\n  return base_config()\n')
  assert places.lines(file) == {}


@pytest.mark.parametrize(
  ('keys', 'flags', 'place'),
  [
    ('trials', [], 'FILE:5: '),  # the last of those with its value
    ('seed', [], 'FILE:6: '),  # counted up there, from what it was
    ('pretrain.epochs', [], 'FILE:7: '),  # as the study has it
    ('pretrain.seed', [], 'FILE:8: '),  # its own
    ('pretrain.trials', ['trials'], 'flag --config.trials: '),
    ('data.validation', ['data.validation_share'], 'FILE: '),  # which is another key
    ('data', ['data.validation_share'], 'flag --config.data.validation_share: '),
    ('data.crop seed', [], 'FILE:6: '),  # the first that is set anywhere
  ],
)
def test_a_problem_is_said_with_the_line_that_set_its_value(keys, flags, place, tmp_path):
  body = ['config.trials = 0', 'config.trials = 2', 'config.trials = 0', 'config.seed -= 1']
  lines(tmp_path, *body, 'config.epochs = -1.0', 'config.pretrain.update(seed=-2)')
  study = {'trials': 0, 'seed': -1, 'epochs': -1.0, 'pretrain': {'seed': -2}}
  config = ConfigDict({**study, 'data': {'validation': 'x', 'validation_share': 2.0, 'crop': 0}})
  file = str(tmp_path / 'mine.py')
  said = places.said(ConfigError('It is wrong.', *keys.split()), file, config, flags)
  assert said.replace(file, 'FILE') == f'{place}It is wrong.'
