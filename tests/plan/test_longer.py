"""Studies that get more epochs or evaluations: what changes, who is trained again, and why."""

import json

import pytest
from helpers.small import small_config
from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.plan import plan, stages
from bsjax.plan.longer import Longer, longer

EXAMPLES = 160


def study(parts=(), **overrides):
  """Batches of up to 16 of 160 examples, evaluated twice at equal distances in two epochs."""
  keys = {'batch_sizes': (8, 16), 'evaluation__positions': 'even', **overrides}
  config = small_config(**keys)
  for name, epochs in parts:
    stages.add(config, name, epochs=epochs)
  return config


def stored(config):
  """As it is read from config.json."""
  return ConfigDict(json.loads(config.to_json()))


def found(old, new):
  return longer(stored(old), new, EXAMPLES)


def marks(config):
  return [mark for part in plan.make_plan(config, EXAMPLES).stages for mark in part.evaluations]


TWICE = {'epochs': 4.0, 'evaluations': 4}  # with the same distances


def test_where_all_is_as_it_was_up_to_the_end_lanes_go_on():
  assert marks(study()) == [0, 160, 320] and marks(study(**TWICE)) == [0, 160, 320, 480, 640]
  assert found(study(), study(**TWICE)) == Longer(('epochs', 'evaluations'), '')
  boxes = (((8, 16), (0.05, 0.1), 2), ((8,), (0.2,), 1))
  rounds = {'rounds': boxes, 'learning_rates': (0.05, 0.1, 0.2)}
  assert found(study(**rounds), study(**rounds, **TWICE)).again == ''


@pytest.mark.parametrize(
  ('both', 'now', 'again'),
  [
    ({}, {**TWICE, 'trials': 3}, 'settings'),
    ({}, {**TWICE, 'learning_rates': (0.05, 0.1, 0.2)}, 'settings'),
    ({'evaluation__subset': 64}, TWICE, 'subset'),
    ({}, {'evaluations': 4}, 'positions'),  # at 80 too
    ({}, {'epochs': 4.0}, 'positions'),  # none at 160
    ({'schedule__name': 'cosine'}, TWICE, 'schedule'),
    ({'schedule__name': 'step'}, TWICE, 'schedule'),
    ({'schedule__name': 'cosine'}, {**TWICE, 'trials': 3}, 'settings'),  # the first that is so
  ],
)
def test_why_all_lanes_are_trained_again(both, now, again):
  assert found(study(**both), study(**both, **now)).again == again


def test_what_is_not_longer_is_none():
  assert found(study(), study()) is None
  assert found(study(), study(trials=3)) is None
  at = {'evaluation__at': (160,)}
  assert found(study(**at), study(**at)) is found(study(**at), study()) is None
  assert found(study(**at), study(evaluation__at=(80,))) is None  # not those and more
  assert found(study(**at), study(evaluation__at=(160, 320))) is None  # the end is one already
  one, two = study([('a', 1.0)]), study([('b', 2.0)])
  assert found(one, two) is None  # stages of other names are another study


def test_more_positions_that_are_given_are_more_evaluations():
  there = study(evaluation__at=(160,))
  more = study(evaluation__at=(80, 160))
  assert found(there, more) == Longer(('evaluation.at',), 'positions')
  both = study(evaluation__at=(160, 320, 480), epochs=4.0)
  assert found(there, both) == Longer(('epochs', 'evaluation.at'), '')


def test_stages_that_end_later_move_those_after_them():
  there = study([('a', 1.0), ('b', 1.0)])
  last = study([('a', 1.0), ('b', 3.0)], evaluations=4)
  assert marks(there) == [0, 160, 320] and marks(last) == [0, 160, 320, 480, 640]
  assert found(there, last) == Longer(('evaluations', 'stages.b.epochs'), '')
  both = study([('a', 2.0), ('b', 2.0)], evaluations=4)
  assert marks(both) == marks(last)
  assert found(there, both).again == 'positions'  # the first ended at 160
  by_examples = study([('a', 1.0), ('b', 1.0)], evaluations=4)
  by_examples.stages.b.examples = 480
  assert found(there, by_examples) == Longer(('evaluations', 'stages.b.examples'), '')


@pytest.mark.parametrize(
  ('old', 'new', 'said'),
  [
    (study(), study(epochs=1.0), 'epochs=1.0, and the study there has 2.0: nothing is taken away'),
    (study(), study(evaluations=1), 'evaluations=1, and the study there has 2: nothing'),
    (study(), study(epochs=4.0, evaluations=1), 'evaluations=1, and the study there has 2'),
    (
      study([('a', 1.0), ('b', 2.0)]),
      study([('a', 2.0), ('b', 1.0)]),
      'stages.b.epochs=1.0, and the study there has 2.0: nothing is taken away',
    ),
    (study(), study(epochs=2.01), 'epochs=2.01 changes neither where the study there ends nor'),
    (study(evaluations=50), study(evaluations=60), 'evaluations=60 changes neither'),
    (
      study(evaluation__at=(80, 160)),
      study(epochs=4.0, evaluation__at=(320,)),
      'is evaluated 4 times up to 320 examples, and this one would be 3 times up to 640',
    ),
  ],
)
def test_nothing_is_taken_away_and_something_changes(old, new, said):
  with pytest.raises(ConfigError, match=said):
    found(old, new)


def test_a_length_that_does_not_count_may_be_less():
  """Of a stage whose examples are given the epochs say nothing."""
  there, now = study([('a', 2.0)]), study([('a', 1.0)])
  for config, examples in ((there, 320), (now, 480)):
    config.stages.a.examples = examples
  assert set(found(there, now).keys) == {'stages.a.epochs', 'stages.a.examples'}
