"""Malformed configs of every kind: a plan, or the project's error with one line per problem."""

import math
import re
import time

import hypothesis
import pytest
from helpers import many
from helpers.small import put, small_config
from hypothesis import strategies as st

from bsjax.config.errors import ConfigError
from bsjax.config.keys import KEYS
from bsjax.config.stage_keys import STAGE
from bsjax.data import DataError
from bsjax.engine.validate import NAMES as NAMES_OF
from bsjax.engine.validate import problems
from bsjax.plan import arms, stages
from bsjax.train.study_run import StudyRun
from bsjax.train.transfer import TransferError

REFUSED = (ConfigError, DataError, TransferError)
LONGEST = 30  # seconds until a plan or an error
NAMES = [key.name for key in KEYS]
ODD_NUMBERS = (0, 1, 2, 3, -1, 7, 10**3, 10**6, 2**31, 2**32, 10**9, 10**18, 10**400, 0.5, 1e-300)
ODD_NUMBERS += (-2.5, 1e9, 1e30, 1e308, math.nan, math.inf, -math.inf)
ODD_TEXTS = ('', ' ', 'x', '../x', '/', 'a$b^', '[/b]', '[red]', 'é∞', '\x00', '\n', 'a' * 300)
ODD_TEXTS += ('auto', 'batch', 'keep', 'cabs', 'multiply:2', 'grow:1e300', 'set:64', 'noise:1e-9')
ODD_TEXTS += ('sgd', 'adamw', 'cosine', 'step', 'linear', 'none', 'none,sqrt', 'test', 'npz', 'cnn')

SCALARS = st.one_of(
  st.none(), st.booleans(), st.sampled_from(ODD_NUMBERS), st.sampled_from(ODD_TEXTS)
)
VALUES = st.one_of(
  SCALARS,
  st.lists(SCALARS, max_size=4).map(tuple),
  st.lists(SCALARS, max_size=2),
  st.dictionaries(st.sampled_from(('a', 'order', 'name', '')), SCALARS, max_size=2),
  st.tuples(st.lists(SCALARS, max_size=2).map(tuple)),
)


def of_kind(key):
  """Values of the type of a key, some of them beyond all bounds."""
  numbers = [x for x in ODD_NUMBERS if key.kind is float or isinstance(x, int)]
  known = [*NAMES_OF.get(key.name, ()), *key.choices, *ODD_TEXTS]
  by_kind = {bool: (True, False), int: numbers, float: numbers, str: known}
  item = st.sampled_from(by_kind.get(key.kind, (*known, *numbers)))
  return st.lists(item, max_size=3).map(tuple) if isinstance(key.default, tuple) else item


def nested(item):
  """The changes of an arm that set one key."""
  name, value = item
  for part in reversed(name.split('.')):
    value = {part: value}
  return value


@st.composite
def configs(draw):
  """A small study in which a few keys, stages and arms are something else."""
  config = small_config()
  stage_names = draw(
    st.lists(st.sampled_from(('a', 'b', 'a', 'b', 'a b', '')), max_size=2, unique=True)
  )
  for name in stage_names:
    stages.add(config, name, epochs=1.0)
    if draw(st.booleans()):
      key = draw(st.sampled_from(STAGE))
      put(config.stages[name], key.name, draw(st.one_of(of_kind(key), VALUES)))
  several = draw(st.integers(0, 4)) == 0
  for name in several * draw(
    st.lists(st.sampled_from(('p', 'q', '/abs')), max_size=2, unique=True)
  ):
    arms.add(config, name, {})
    with config.unlocked(), config.ignore_type():
      config.arms[name] = draw(
        st.one_of(VALUES, st.tuples(st.sampled_from((*NAMES, 'model', 'data')), VALUES).map(nested))
      )
  for key in draw(st.lists(st.sampled_from(KEYS), max_size=3)):
    put(config, key.name, draw(st.one_of(of_kind(key), of_kind(key), VALUES)))
  if draw(st.integers(0, 14)) == 0:
    section = draw(st.sampled_from(('model', 'stages', 'arms', 'optimizer', 'unheard_of')))
    put(config, section, draw(VALUES))
  return config


def outcome(config, folder):
  """Plans a study as `--dry_run` does before it times anything; None, or what is wrong."""
  try:
    StudyRun(config, folder / 'study').check()
  except REFUSED as error:
    keyless = [str(problem) for problem in error.problems if not problem.keys]
    assert not keyless, keyless  # so each can be said with its line of the config file
    return str(error)
  return None


@many.many(120)
@hypothesis.given(config=configs())
def test_a_malformed_config_is_planned_or_refused_in_words(tmp_path, config):
  said = outcome(config, tmp_path)
  many.outcome(said is not None)
  assert not list(tmp_path.iterdir())
  if said is not None:
    assert said.strip() and 'Traceback' not in said
    assert len(said) < 20_000


@pytest.mark.parametrize('value', [None, False, (None,)])
def test_a_key_of_a_wrong_type_is_named_whatever_else_reads_it(value):
  for key in KEYS:
    config = small_config(decide__question='trend')
    put(config, key.name, value)
    found = problems(config)
    free = key.kind is object or isinstance(key.default, dict)
    # False is taken by keys of truth values, and made 0.0 by ml_collections where it is a number.
    assert any(key.name in sentence for sentence in found) or free or value is False, key.name


@pytest.mark.parametrize(
  'overrides, words',
  [
    ({'model__width': 65_536, 'model__depth': 1_000}, 'GiB, and the devices have'),
    ({'trials': 10_000, 'learning_rates': tuple(range(1, 100))}, '2,970,000 lanes'),
  ],
)
def test_what_no_machine_holds_is_refused_before_it_is_built(tmp_path, overrides, words):
  assert words in outcome(small_config(**overrides), tmp_path)


def test_many_evaluations_are_placed_in_seconds(tmp_path):
  began = time.monotonic()
  assert outcome(small_config(epochs=1e6, evaluations=50_000), tmp_path) is None
  assert time.monotonic() - began < LONGEST


@pytest.mark.parametrize('value', [None, 0.0, (), 'x', {'a': 1}])
@pytest.mark.parametrize('section', ['model', 'stages', 'arms', 'pretrain'])
def test_a_section_that_is_none_is_named(tmp_path, section, value):
  config = small_config()
  put(config, section, value)
  assert re.search(rf'\b{section}\b', outcome(config, tmp_path))


def test_problems_of_arms_are_named_in_a_line_each(tmp_path):
  config = small_config()
  arms.add(config, 'wide', {'trials': 0, 'epochs': -1.0})
  arms.add(config, 'none', {'trails': 1})
  assert 'arms.none changes a key that it cannot' in outcome(config, tmp_path)
  with config.unlocked():
    config.arms.order = ('wide',)
  first, *lines = outcome(config, tmp_path).splitlines()
  assert first == '2 problem(s) in the configuration:'
  assert all(line.startswith('  - arms.wide: ') for line in lines)
