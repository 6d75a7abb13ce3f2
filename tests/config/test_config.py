"""Configs: every key counts, and every problem is named before anything compiles."""

import re
from pathlib import Path

import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.config.keys import KEYS, base_config
from bsjax.engine.validate import validate
from bsjax.models import MODELS
from bsjax.optim.entries import OPTIMIZERS
from bsjax.plan import stages

_STEP = {'schedule__name': 'step'}
_CRITICAL = {'decide__question': 'critical_batch_size'}
PACKAGE = Path(__file__).parents[2] / 'bsjax'


def leaves(config, prefix=''):
  for key, value in config.items():
    if hasattr(value, 'items'):
      yield from leaves(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'


def test_the_base_config_is_valid():
  validate(base_config())


def test_all_problems_are_reported_at_once():
  config = small_config(
    batch_sizes=(8, 12, 8),
    learning_rates=(0.1, -1.0),
    trials=0,
    epochs=float('nan'),
    micro_batch=5,
    data__source='digit',
    model__name='mpl',
    optimizer__name='sdg',
    optimizer__momentum=1.0,
    schedule__name='cosin',
    schedule__factor=0.0,
    scaling__rule='square',
    execution__replicate='pmapp',
    execution__strategy='scan',
  )
  with pytest.raises(ConfigError) as error:
    validate(config)
  text = str(error.value)
  for part in (
    'batch_sizes=(8, 12, 8)',
    'learning_rates=(0.1, -1.0)',
    'trials=0',
    'epochs=nan',
    'micro_batch=5',
    "did you mean 'digits'",
    "did you mean 'mlp'",
    "did you mean 'sgd'",
    'optimizer.momentum=1.0',
    "did you mean 'cosine'",
    'schedule.factor=0.0',
    "scaling.rule='square'",
    "did you mean 'pmap'",
    'map-canonical, map-im2col',
  ):
    assert part in text, part
  count = int(text.split()[0])
  assert count == text.count('\n  - ')


@pytest.mark.parametrize(
  'overrides, words',
  [
    ({'batch_sizes': ()}, 'one or more'),
    ({'batch_sizes': (8, 0)}, 'at least 1'),
    ({'batch_sizes': (8.5, 16), 'micro_batch': 8}, 'whole numbers'),
    ({'learning_rates': (float('inf'),)}, 'finite'),
    ({'learning_rates': (0.1, 0.1)}, 'twice'),
    ({'micro_batch': 'btach'}, "'auto', 'batch'"),
    ({'micro_batch': 0}, 'does not divide'),
    ({'micro_batch': 16, 'batch_sizes': (8, 16)}, '[8]'),
    ({'seed': -1}, 'at least 0'),
    ({'epochs': 0.0}, 'above 0'),
    ({'evaluations': 0}, 'at least 1'),
    ({'noise_scale__probe_every': -1}, 'noise_scale.probe_every=-1'),
    ({'evaluation__batch_size': 0}, 'evaluation.batch_size=0'),
    ({'checkpoint__seconds': -1.0}, 'checkpoint.seconds'),
    ({'schedule__warmup_epochs': 2.0}, 'below epochs=2.0'),
    ({**_STEP, 'schedule__boundaries': (0.5, 1.5)}, 'below 1'),
    ({**_STEP, 'schedule__boundaries': (0.5, 0.5)}, 'rising'),
    ({**_STEP, 'schedule__boundaries': (0.1,), 'schedule__warmup_epochs': 1.0}, 'above 0.5'),
    ({'execution__devices': -1}, 'execution.devices=-1'),
    ({'execution__devices': 99}, 'at most 2'),
    ({'optimizer__weight_decay': -0.1}, 'optimizer.weight_decay=-0.1'),
    ({'scaling__base_batch_size': 0}, 'scaling.base_batch_size=0'),
    ({'model__normalization': 'layer'}, 'batch, group, none'),
    ({'model__dtype': 'float16'}, 'bfloat16, float32'),
  ],
)
def test_a_problem_names_value_and_bound(overrides, words):
  with pytest.raises(ConfigError) as error:
    validate(small_config(**overrides))
  assert words in str(error.value)
  assert str(error.value).startswith('1 problem')


def test_a_misspelt_key_says_did_you_mean():
  with pytest.raises((AttributeError, KeyError), match='learning_rates'):
    small_config().learning_rate = (0.1,)


def test_every_key_has_a_reader_and_every_reader_a_key():
  """Keys are read as attributes: an unread key or a read of a missing key is a silent lie."""
  code = '\n'.join(p.read_text() for p in PACKAGE.rglob('*.py') if p.parent.name != 'config')
  keys = list(leaves(base_config()))
  by_entry = {
    f'optimizer.{k}' for entry in OPTIMIZERS.values() for k in entry.hyperparameters.values()
  }
  by_entry |= {key.name for key in KEYS if key.name.startswith('axes.')}  # read by their names
  by_entry |= {f'model.{k}' for entry in MODELS.values() for k in entry.keys}
  # `trials`, `data.crop` and so on; parts of the config are also named `c` and `keys`.
  for key in keys:
    name = key.split('.')[-1]
    if key in by_entry:
      continue
    assert (
      re.search(rf'\b(config|c|keys|schedule|noise_scale|data|model)(\.\w+)*\.{name}\b', code)
      or f"decide']['{name}']" in code
      or f"decide['{name}']" in code
    ), key
  sections = {key.split('.')[0] for key in keys if '.' in key}
  for section, name in re.findall(r'config\.(\w+)\.(\w+)\b', code):
    if section in sections:
      assert f'{section}.{name}' in keys or name in ('items', 'to_json', 'NAME', 'get'), (
        f'{section}.{name}'
      )


@pytest.mark.parametrize(
  'overrides, words',
  [
    ({'decide__question': 'best_batch'}, 'give one of best_batch_size'),
    ({'decide__question': 'equivalent:8'}, "'equivalent:8': give one of"),
    ({'decide__question': 'trend:8,16'}, "'trend:8,16': give one of"),
    ({'decide__question': 'trend:all'}, "'trend:all': give one of"),
    ({'decide__question': 'equivalent:8,12'}, 'names [12]'),
    ({'decide__question': 'equivalent:8,8'}, 'twice'),
    ({'decide__question': 'trend', 'trials': 1}, '2 or more at first'),
    ({'decide__question': 'trend', 'trials': 3, 'decide__most_trials': 2}, 'decide.most_trials=2'),
    ({'decide__question': 'trend', 'decide__error': 0.5}, 'decide.error=0.5'),
    ({'decide__question': 'best_learning_rate', 'decide__margin': 1.0}, 'factor above 1'),
    (
      {**_CRITICAL, 'batch_sizes': (8, 16, 32), 'decide__margin': 1.0},
      'decide.margin=1.0: of critical_batch_size it is a factor above 1',
    ),
    ({**_CRITICAL, 'batch_sizes': (8, 16)}, 'takes three or more'),
    ({'decide__question': 'trend', 'batch_sizes': (8,)}, 'takes two or more'),
    (
      {'decide__question': 'trend', 'decide__budget': 9.0, 'decide__budget_unit': 'price'},
      'takes decide.price_per_hour',
    ),
    ({'decide__question': 'trend', 'scaling__rule': 'sqrt'}, 'scaling.rule is set'),
    ({'decide__question': 'trend', 'evaluation__subset': 64}, 'rows of a subset are not merged'),
  ],
)
def test_a_question_that_cannot_be_asked_is_refused(overrides, words):
  given = {'batch_sizes': (8, 16), 'trials': 2} | overrides
  with pytest.raises(ConfigError) as error:
    validate(small_config(**given))
  assert words in str(error.value)
  assert str(error.value).startswith('1 problem')


@pytest.mark.parametrize(
  'overrides',
  [
    {'decide__question': 'trend', 'trials': 2, 'decide__most_trials': 2},
    {'decide__question': 'trend', 'trials': 30, 'decide__most_trials': 30},
    {'decide__question': 'critical_batch_size', 'trials': 2, 'batch_sizes': (8, 16, 32)},
    {'decide__question': 'best_learning_rate', 'decide__margin': 1.001, 'batch_sizes': (8,)},
    {'decide__question': 'equivalent:8,16', 'batch_sizes': (8, 16)},
    {'noise_scale__exact_examples': 32, 'noise_scale__curvature_blocks': 4},
    {'noise_scale__exact_examples': 32, 'noise_scale__curvature_blocks': 32},
    {'halving__rungs': (0.25, 0.5), 'decide__question': 'best_batch_size'},
    {'halving__rungs': (0.25, 0.5), 'decide__question': 'trend'},
    {'halving__rungs': (0.25, 0.5), 'decide__question': 'equivalent:8,16'},
    {'decide__question': 'trend', 'decide__budget_unit': 'price'},  # of which none is bounded
    {'decide__question': 'trend', 'decide__margin': 0.001},  # a difference, and no factor
    {**_STEP, 'schedule__boundaries': (0.51, 0.99), 'schedule__warmup_epochs': 1.0},
    {'schedule__warmup_epochs': 1.999},
    {'micro_batch': 8, 'batch_sizes': (8, 16)},
  ],
  ids=str,
)
def test_what_is_just_within_the_bounds_of_several_keys_is_valid(overrides):
  validate(small_config(**overrides))


@pytest.mark.parametrize('overrides', [{'decide__question': 'trend'}, {'halving__rungs': (0.5,)}])
def test_questions_and_rungs_are_for_studies_without_stages(overrides):
  config = small_config(**overrides)
  stages.add(config, 'only')
  with pytest.raises(ConfigError, match=r'stages.order is set: .* leave one of both out'):
    validate(config)
