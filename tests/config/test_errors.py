"""Sentences on a configuration: names that cannot be, names that are unknown, what errors say."""

import pytest
from helpers.small import small_config

from bsjax.config import bounds
from bsjax.config.errors import ConfigError, Problem, misnamed, of_config, unknown
from bsjax.config.keys import base_config
from bsjax.engine.validate import validate


@pytest.mark.parametrize('name', ['a', '1', 'A-b_2', 'a' * 64])
def test_a_name_that_can_be_a_folder_is_one(name):
  assert not misnamed('arms.order', [name])


@pytest.mark.parametrize('name', ['', '-a', '_a', '.', 'a.b', 'a b', 'a/b', 'a=b', 'é', 'a' * 65])
def test_what_can_be_no_folder_or_word_is_no_name(name):
  (found,) = misnamed('arms.order', ['good', name])
  assert found.startswith(f'arms.order: {name!r} is no name; use up to 64 letters')
  assert found.keys == ('arms.order', f'arms.{name}')


def test_the_nearest_known_name_is_meant_and_all_are_named():
  known = ['sgd', 'adam', 'adamw']
  assert unknown('optimizer.name', 'adan', known) == (
    "optimizer.name='adan' is unknown; did you mean 'adam'? known: adam, adamw, sgd"
  )
  far = unknown('optimizer.name', 3, known)
  assert far == 'optimizer.name=3 is unknown; known: adam, adamw, sgd'
  assert far.keys == ('optimizer.name',)


def test_problems_are_listed_below_a_heading_or_stand_alone():
  problems = [Problem('one', 'a'), Problem('two', 'b')]
  assert str(ConfigError.of(problems, 'Wrong:')) == 'Wrong:\n  - one\n  - two'
  assert str(ConfigError.of(problems)) == 'one\ntwo'
  assert ConfigError('three', 'c').problems[0].keys == ('c',)
  assert ConfigError(problems[0]).problems[0].keys == ('a',)


def test_an_error_of_the_config_is_said_without_the_whole_config():
  config = base_config()
  with pytest.raises(AttributeError) as error:
    config.trails = 3
  said = of_config(error.value)
  assert '"trails"' in said and 'trials' in said and 'Other fields' not in said
  assert '\n' not in said and len(said) < 200
  assert of_config(KeyError(ValueError('two\n  lines'))) == 'two lines'
  assert of_config(OverflowError()) == ''


def test_a_key_that_is_missing_is_said_with_the_remedy():
  config = small_config()
  with config.unlocked():
    del config['trials']
    del config.data['crop']
  with pytest.raises(ConfigError) as error:
    validate(config)
  text = str(error.value)
  for key in ('trials', 'data.crop'):
    assert f'{key} is missing; begin with base_config()' in text
  assert text.startswith('2 problem')


@pytest.mark.parametrize(('length', 'cut'), [(198, False), (199, True)])
def test_a_long_value_is_cut_where_nobody_would_read_on(length, cut):
  """Of 200 characters and two quotes."""
  shown = bounds.shown_value('x' * length)
  assert shown == (f"'{'x' * 199}…" if cut else f"'{'x' * 198}'")
