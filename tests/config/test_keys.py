"""The table of keys: what it builds, which values it refuses, and what changes nothing."""

import json
import math
import re

import pytest
from helpers.small import small_config

from bsjax.config import bounds
from bsjax.config.errors import ConfigError
from bsjax.config.key import Key
from bsjax.config.keys import BY_NAME, KEYS, base_config, computes
from bsjax.config.stage_keys import STAGE
from bsjax.engine.validate import NAMES, validate
from bsjax.models import MODELS
from bsjax.models.small_images import STRIDES
from bsjax.plan import stages
from bsjax.storage import workdirs

OPEN_BELOW = {'learning_rates', 'epochs', 'data.validation_share', 'schedule.factor'}
OPEN_BELOW |= {'report.epochs', 'stages.epochs', 'stages.data_share', 'decide.error'}
OPEN_BELOW |= {'halving.rungs', 'halving.keep'}
OPEN_ABOVE = {'data.validation_share', 'data.sampler_beta', 'decide.error'}
OPEN_ABOVE |= {'halving.rungs', 'halving.keep'}
OPEN_ABOVE |= {f'optimizer.{name}' for name in ('momentum', 'b1', 'b2')}
OPEN_ABOVE |= {f'optimizer.rmsprop_{name}' for name in ('decay', 'momentum')}
OPEN_ABOVE |= {name.replace('optimizer.', 'axes.') for name in OPEN_ABOVE if 'optimizer' in name}
LOWS = {  # of those that begin elsewhere than at 0
  **dict.fromkeys(('batch_sizes', 'trials', 'evaluations', 'evaluation.at'), 1),
  **dict.fromkeys(('scaling.base_batch_size', 'evaluation.batch_size', 'data.imbalance_factor'), 1),
  **{
    'noise_scale.every': 1,
    'native_cost.batch_sizes': 1,
    'native_cost.repeats': 5,
    'transfer.lane': -1,
    'stages.crop': -1,
    'decide.most_trials': 2,
  },
}
NUMBERS = [key for key in KEYS if key.kind in (int, float) and not isinstance(key.default, tuple)]


def refusal(config):
  with pytest.raises(ConfigError) as error:
    validate(config)
  return str(error.value)


def test_every_key_is_in_the_table_once_and_says_what_it_means():
  for table in (KEYS, STAGE):
    assert len({key.name for key in table}) == len(table)
  assert all(key.doc.endswith('.') for key in (*KEYS, *STAGE))
  assert all((key.low is None) != (key.above is None) for key in NUMBERS if not key.choices)


def test_the_config_has_the_defaults_of_the_table_and_their_types():
  config = base_config()
  for key in KEYS:
    value = bounds.at(config, key.name)
    assert (dict(value) if key.name == 'pretrain' else value) == key.default, key.name
  with pytest.raises(TypeError):
    config.trials = 'three'
  with pytest.raises(TypeError):
    config.data.flip = 2.5
  for micro_batch in ('batch', 8):
    config.micro_batch = micro_batch
  with pytest.raises(AttributeError):
    config.trails = 3


def test_the_bounds_of_the_table():
  keys = {key.name: key for key in KEYS} | {f'stages.{key.name}': key for key in STAGE}
  assert {name for name, key in keys.items() if key.above is not None} == OPEN_BELOW
  assert {name for name, key in keys.items() if key.below is not None} == OPEN_ABOVE
  assert {name: key.low for name, key in keys.items() if key.low} == LOWS
  assert {name: key.high for name, key in keys.items() if key.high is not None} == {
    'stages.data_share': 1,
    'seed': 2**32 - 1,  # what a key of JAX tells apart
    'trials': 10_000,
    'evaluations': 100_000,
    'model.width': 65_536,
    'model.depth': 1_000,
    'decide.most_trials': 10_000,
  }
  assert {key.above for key in keys.values()} == {None, 0}
  assert {key.below for key in keys.values()} == {None, 0.5, 1}


@pytest.mark.parametrize('key', NUMBERS, ids=lambda key: key.name)
def test_bounds_are_where_the_table_has_them(key):
  """The bound itself is allowed exactly where it is not open, and what lies beyond never."""
  if key.choices:
    return
  step = 1 if key.kind is int else 1e-9
  for bound, is_open, outwards in (
    (key.low, False, -step),
    (key.above, True, -step),
    (key.high, False, step),
    (key.below, True, step),
  ):
    if bound is None:
      continue
    at_bound = bounds.wrong(nested(key.name, key.kind(bound)), [key])
    assert bool(at_bound) == is_open
    beyond = bounds.wrong(nested(key.name, bound + outwards), [key])
    inside = bounds.wrong(nested(key.name, bound - outwards), [key])
    assert beyond and not inside


def nested(name, value):
  *path, last = name.split('.')
  tree = {last: value}
  for part in reversed(path):
    tree = {part: tree}
  return tree


@pytest.mark.parametrize('key', KEYS, ids=lambda key: key.name)
def test_a_value_of_a_wrong_type_is_named_with_its_remedy(key):
  """None, truth values, texts, NaN and infinities, where a key is of another type."""
  if key.kind is object or key.default == {}:
    return
  several = isinstance(key.default, tuple)
  wrong = {
    bool: (None, 1, 'no'),
    str: (None, True, 3),
    int: (None, True, 'three', 2.5, math.nan, math.inf, (3,)),
    float: (None, True, 'three', math.nan, math.inf, -math.inf, (3.0,)),
  }[key.kind]
  for value in ((value,) for value in wrong) if several else wrong:
    (sentence,) = bounds.wrong(nested(key.name, value), [key]).values()
    assert sentence.startswith(f'{key.name}={value!r}')
    if key.kind in (int, float):
      assert re.search('number|one of|finite|at least|above|between', sentence)
    if key.default not in ((), '') and not several:
      assert 'the usual is' in sentence or key.remedy in sentence
  for value in (None, 3, 'abc') if several else ():
    (sentence,) = bounds.wrong(nested(key.name, value), [key]).values()
    assert sentence.startswith(f'{key.name}={value!r}: give ')


def test_whole_numbers_too_large_for_a_float_are_whole_numbers():
  assert not bounds.wrong({'data': {'train_examples': 10**400}}, [BY_NAME['data.train_examples']])


def test_what_an_assignment_lets_through_is_refused_without_a_traceback():
  """The types of a config let None and True pass for numbers, and tuples hold anything."""
  config = small_config(
    trials=None,
    seed=True,
    epochs=float('nan'),
    batch_sizes=(8, None),
    learning_rates=(True, 'high'),
    schedule__boundaries=('half',),
    schedule__name='step',
    data__source=None,
    data__crop=True,
    noise_scale__exact_examples=None,
    execution__devices=None,
  )
  text = refusal(config)
  for part in (
    'trials=None must be a whole number, at least 1 and at most 10000; the usual is 3',
    'seed=True must be a whole number, at least 0',
    'epochs=nan must be finite and above 0',
    'batch_sizes=(8, None): give one or more whole numbers, each at least 1',
    "learning_rates=(True, 'high'): give one or more numbers, each finite and above 0",
    "schedule.boundaries=('half',): give numbers",
    'data.source=None must be a text',
    'data.crop=True must be a whole number, at least 0; 0: no crop',
    'noise_scale.exact_examples=None',
    'execution.devices=None must be a whole number, at least 0; 0: all there are',
  ):
    assert part in text, part
  assert text.startswith('10 problem(s)') and text.count('\n  - ') == 10


@pytest.mark.parametrize('key', STAGE, ids=lambda key: key.name)
def test_wrong_keys_of_stages_are_named_with_their_stage(key):
  config = small_config()
  value = (None,) if isinstance(key.default, tuple) else None
  stages.add(config, 'only', **{key.name: value})
  assert f'stages.only.{key.name}={value!r}' in refusal(config)
  assert '1 problem' in refusal(config)


def test_a_rule_given_twice_and_a_key_that_is_missing():
  config = small_config()
  stages.add(config, 'only', batch_size=('keep', 'keep'))
  assert 'names a rule twice' in refusal(config)
  with config.unlocked():
    del config.stages.only['crop']
  assert 'stages.only.crop is missing; make stages with stages.add' in refusal(config)


def test_choices_of_the_table_are_those_of_the_models():
  assert set(BY_NAME['model.small_stride'].choices) == {0, *STRIDES}
  assert all(name in BY_NAME for name in NAMES)


@pytest.mark.parametrize('stride', [-1, 3, 64])
def test_small_strides_are_powers_of_two_up_to_32(stride):
  text = refusal(small_config(model__name='mobilenet_v2', model__small_stride=stride))
  assert f'model.small_stride={stride} must be one of 0, 1, 2, 4, 8, 16, 32' in text


def test_wrong_models_are_reported_all_at_once():
  text = refusal(
    small_config(
      model__name='resnet81',
      model__normalization='groop',
      model__dtype='float16',
      model__width=-1,
      model__depth=-2,
    )
  )
  assert all(name in text for name in MODELS)
  for part in ("did you mean 'resnet8'", "did you mean 'group'", 'bfloat16, float32, tf32'):
    assert part in text
  assert "model.width=-1 must be at least 0 and at most 65536; 0 is the model's usual width" in text
  assert 'model.depth=-2 must be at least 0 and at most 1000; 0 is a linear classifier' in text
  assert text.startswith('5 problem(s)')


@pytest.mark.parametrize('name', MODELS)
def test_the_usual_models_have_no_problems(name):
  validate(small_config(model__name=name, model__normalization='group'))
  validate(small_config(model__name=name, model__small_stride=8))


def test_which_keys_change_what_is_computed():
  quiet = {'writers', 'execution', 'native_cost', 'checkpoint', 'report', 'decide'}
  for key in KEYS:
    expected = key.name.partition('.')[0] not in quiet and key.name != 'data.cache_dir'
    assert key.computes == computes(key.name) == expected, key.name
    assert computes(f'arms.wide.{key.name}') == computes(f'pretrain.{key.name}') == expected
  assert computes('stages.head.epochs') and computes('data.some_older_key')
  assert not computes('execution.some_older_key') and computes('an_older_key')


@pytest.mark.parametrize('key', KEYS, ids=lambda key: key.name)
def test_a_study_goes_on_only_with_keys_that_compute_nothing(tmp_path, key):
  stored = json.loads(base_config().to_json())
  if key.name == 'pretrain':
    stored['pretrain'] = {'epochs': 2.0}
  else:
    node = bounds.at(stored, key.name.rpartition('.')[0]) if '.' in key.name else stored
    node[key.name.rpartition('.')[2]] = 'another'
  (tmp_path / 'config.json').write_text(json.dumps(stored))
  if key.computes:
    with pytest.raises(ConfigError, match=key.name):
      workdirs.refuse_another(tmp_path, base_config())
  else:
    workdirs.refuse_another(tmp_path, base_config())


def test_the_sentence_of_a_bound():
  key = Key('share', 0.5, 'A share.', above=0, high=1)
  assert bounds.wrong({'share': 0.0}, [key], 'stages.a.') == {
    'stages.a.share': 'stages.a.share=0.0 must be above 0 and at most 1; the usual is 0.5'
  }
