"""What a study has whose config says nothing, written once more: users and papers rely on it."""

import pytest

from bsjax.config.grid_keys import may_grow
from bsjax.config.keys import KEYS
from bsjax.config.listing import listing
from bsjax.config.stage_keys import STAGE

USUAL = {
  **{'batch_sizes': (8, 16, 32, 64, 128, 256), 'learning_rates': (0.1,), 'trials': 3},
  **{'epochs': 30.0, 'evaluations': 15, 'micro_batch': 'auto'},
  **{'data.source': 'digits', 'data.label_csv': 'train.csv', 'data.validation': 'split'},
  **{'data.validation_share': 0.2, 'data.imbalance_factor': 1.0, 'data.sampler': 'uniform'},
  **{'data.sampler_beta': 0.9999, 'model.name': 'mlp', 'model.depth': 2},
  **{'model.normalization': 'group', 'model.dtype': 'float32'},
  **{'optimizer.name': 'sgd', 'optimizer.momentum': 0.9, 'optimizer.b1': 0.9},
  **{'optimizer.b2': 0.999, 'optimizer.rmsprop_decay': 0.9, 'optimizer.eps': 1e-8},
  **{'optimizer.trust_coefficient': 0.001},
  **{'schedule.name': 'constant', 'schedule.boundaries': (0.5, 0.75), 'schedule.factor': 0.1},
  **{'scaling.rule': 'none', 'scaling.base_batch_size': 64, 'scaling.hyperparameters': 'keep'},
  **{'transfer.lane': -1},
  **{'noise_scale.online': True, 'noise_scale.every': 32, 'noise_scale.probe_every': 32},
  **{'evaluation.batch_size': 1024, 'evaluation.positions': 'matched'},
  **{'execution.replicate': 'shard_map', 'execution.strategy': 'auto', 'execution.data': 'auto'},
  **{'execution.frozen_features': True, 'native_cost.repeats': 5, 'checkpoint.seconds': 60.0},
  **{'decide.error': 0.05, 'decide.most_trials': 30, 'decide.budget_unit': 'lane_examples'},
  **{'halving.keep': 0.5},
}
OF_STAGE = {'epochs': 1.0, 'frozen_batch_norm': 'running', 'batch_size': ('keep',)}
OF_STAGE |= {'learning_rate_factor': 1.0, 'data_share': 1.0, 'crop': -1, 'flip': -1}
NO_REPETITION = {'batch_sizes', 'learning_rates', 'stages.order', 'native_cost.batch_sizes'}
NO_REPETITION |= {'halving.rungs'} | {key.name for key in KEYS if key.name.startswith('axes.')}


@pytest.mark.parametrize(('keys', 'usual'), [(KEYS, USUAL), (STAGE, OF_STAGE)])
def test_defaults_are_those_that_are_known(keys, usual):
  """All others are nothing: 0, False, '' or ()."""
  assert {key.name: key.default for key in keys if key.default} == usual


def test_a_study_without_a_key_did_what_is_its_default_but_for_these():
  before = {key.name: key.before for key in KEYS if key.before is not None}
  assert before == {'rounds': (), 'evaluation.positions': 'even', 'evaluation.at': ()}


def test_which_items_may_not_stand_twice_and_which_there_must_be():
  assert {key.name for key in KEYS if key.twice} == NO_REPETITION
  assert {key.name for key in KEYS if key.fewest} == {'batch_sizes', 'learning_rates'}
  assert [key.name for key in STAGE if key.twice] == ['batch_size']


def test_what_stands_in_lists_that_are_empty():
  kinds = {key.name: key.kind for key in KEYS if key.default == ()}
  axes = {name for name in kinds if name.startswith('axes.')}
  assert {kinds.pop(name) for name in axes} == {float} and len(axes) == 8
  assert kinds == {
    **{'rounds': object, 'decide.rounds': object, 'evaluation.at': int, 'report.epochs': float},
    **{'native_cost.batch_sizes': int, 'halving.rungs': float},
    **dict.fromkeys(('stages.order', 'arms.order', 'writers'), str),
  }


@pytest.mark.parametrize(
  ('name', 'may'),
  [
    *((name, True) for name in ('trials', 'rounds', 'epochs', 'evaluation.at')),
    *((name, True) for name in ('stages.head.epochs', 'stages.head.examples')),
    *((name, False) for name in ('pretrain.epochs', 'arms.wide.epochs', 'model.epochs')),
    *((name, False) for name in ('stages.head.crop', 'stages.order', 'evaluation.positions')),
  ],
)
def test_what_a_study_may_get_more_of(name, may):
  assert may_grow(name) == may


def test_all_keys_are_listed_by_section_as_flags_take_them():
  lines = listing().splitlines()
  assert max(map(len, lines)) <= 100
  named = [
    line.split('=')[0].removeprefix('  --config.') for line in lines if '  --config.' in line
  ]
  sections = [line for line in lines if line.endswith(':') and not line.startswith(' ')]
  assert sections == [
    'The study:',
    *sorted({f'{n.rpartition(".")[0]}:' for n in named if '.' in n}),
  ]
  for section in sections:
    of_section = '' if section == 'The study:' else section[:-1]
    mine = [name for name in named if name.rpartition('.')[0] == of_section]
    assert mine == [key.name for key in KEYS if key.name.rpartition('.')[0] == of_section]
  assert (
    '  --config.schedule.boundaries=0.5,0.75: step: shares of training where it drops.' in lines
  )
