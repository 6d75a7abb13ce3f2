"""The paragraph on method says every key that changes what is computed, as its entry has it."""

import json

import pytest

from bsjax.config.keys import BY_NAME, KEYS, base_config
from bsjax.config.stage_keys import STAGE
from bsjax.data.sampling import SAMPLERS
from bsjax.optim.entries import OPTIMIZERS, SCHEDULES
from bsjax.plan import arms, stages
from bsjax.plan.plan import lane_rows, make_plan
from bsjax.report.text import method_measured
from bsjax.report.text.methodology import as_text, joined_arms, paragraph, topics

STEP = {'schedule.name': 'step'}
WEIGHTED = {'data.sampler': 'effective_number'}
ADAM, RMSPROP, LARS = ({'optimizer.name': name} for name in ('adam', 'rmsprop', 'lars'))
EXACT = {'noise_scale.exact_examples': 64}
FOLDER = {'data.source': 'image_folder', 'data.path': '/data/leaves'}

# Key -> two values, and other keys with which it matters.
VALUES = {
  'seed': (0, 1),
  'batch_sizes': ((8, 16), (8, 32)),
  'learning_rates': ((0.1,), (0.2,)),
  'trials': (2, 3),
  'rounds': ((), (((8, 16), (0.1,), 2), ((8,), (0.2,), 2)), {'learning_rates': (0.1, 0.2)}),
  'epochs': (4.0, 5.0),
  'evaluations': (3, 4),
  'evaluation.at': ((), (1600, 3200)),
  'evaluation.positions': ('matched', 'even'),
  'micro_batch': (4, 8),
  'data.source': ('npz', 'image_folder', {'data.path': '/data/leaves'}),
  'data.name': ('cifar10', 'mnist', {'data.source': 'tfds'}),
  'data.path': ('/data/a.npz', '/data/b.npz', {'data.source': 'npz'}),
  'data.label_csv': ('train.csv', 'fine.csv', FOLDER),
  'data.label_column': ('', 'kind', FOLDER),
  'data.validation': ('split', 'test'),
  'data.validation_share': (0.2, 0.1),
  'data.train_examples': (0, 500),
  'data.imbalance_factor': (1.0, 20.0),
  'data.max_per_class': (0, 100),
  'data.sampler': ('uniform', 'inverse_frequency'),
  'data.sampler_beta': (0.9999, 0.99999999, WEIGHTED),
  'data.crop': (0, 2),
  'data.flip': (False, True),
  'model.name': ('mlp', 'cnn'),
  'model.width': (0, 32),
  'model.depth': (2, 3),
  'model.small_stride': (0, 16, {'model.name': 'vit_tiny'}),
  'model.normalization': ('group', 'none'),
  'model.dtype': ('float32', 'bfloat16'),
  'optimizer.name': ('sgd', 'lion'),
  'optimizer.momentum': (0.9, 0.8),
  'optimizer.nesterov': (False, True),
  'optimizer.b1': (0.9, 0.8, ADAM),
  'optimizer.b2': (0.999, 0.99, ADAM),
  'optimizer.rmsprop_decay': (0.9, 0.8, RMSPROP),
  'optimizer.rmsprop_momentum': (0.0, 0.5, RMSPROP),
  'optimizer.eps': (1e-8, 1e-6, ADAM),
  'optimizer.trust_coefficient': (0.001, 0.02, LARS),
  'optimizer.weight_decay': (0.0, 0.1),
  'optimizer.decay_all': (False, True, {'optimizer.weight_decay': 0.1}),
  'axes.momentum': ((), (0.8, 0.9)),
  'axes.b1': ((), (0.8, 0.9), ADAM),
  'axes.b2': ((), (0.9, 0.99), ADAM),
  'axes.rmsprop_decay': ((), (0.8, 0.9), RMSPROP),
  'axes.rmsprop_momentum': ((), (0.0, 0.5), RMSPROP),
  'axes.eps': ((), (1e-8, 1e-6), ADAM),
  'axes.trust_coefficient': ((), (0.001, 0.02), LARS),
  'axes.weight_decay': ((), (0.0, 0.1)),
  'averaging.half_life': (0.0, 500.0),
  'schedule.name': ('constant', 'cosine'),
  'schedule.warmup_epochs': (0.0, 1.0),
  'schedule.boundaries': ((0.5,), (0.5, 0.75), STEP),
  'schedule.factor': (0.1, 0.2, STEP),
  'scaling.rule': ('linear', 'sqrt'),
  'scaling.base_batch_size': (8, 16, {'scaling.rule': 'sqrt'}),
  'scaling.hyperparameters': ('keep', 'keep,half_life'),
  'stages.order': (('a',), ('a', 'b')),
  'transfer.workdir': ('', 'runs/lender'),
  'transfer.lane': (-1, 3, {'transfer.workdir': 'runs/lender'}),
  'pretrain': ({}, {'epochs': 2.0}),
  'arms.order': (('narrow',), ('narrow', 'wide')),
  'noise_scale.online': (True, False),
  'noise_scale.every': (32, 16),
  'noise_scale.probe_every': (32, 0),
  'noise_scale.exact_examples': (0, 64),
  'noise_scale.curvature_blocks': (0, 8, EXACT),
  'evaluation.batch_size': (1024, 512),
  'evaluation.subset': (0, 64),
  'halving.rungs': ((), (0.5,)),
  'halving.keep': (0.5, 0.25, {'halving.rungs': (0.5,)}),
  'stages.b.epochs': (1.0, 2.0),
  'stages.b.examples': (0, 1600),
  'stages.b.trainable': ((), ('Dense_1',)),
  'stages.b.frozen_batch_norm': ('running', 'batch'),
  'stages.b.batch_size': (('keep',), ('multiply:2',)),
  'stages.b.smallest_batch_size': (0, 4, {'stages.b.batch_size': ('cabs',)}),
  'stages.b.largest_batch_size': (16, 32, {'stages.b.batch_size': ('grow:2',)}),
  'stages.b.learning_rate_factor': (1.0, 0.5),
  'stages.b.reset_optimizer': (False, True),
  'stages.b.image_size': (0, 4),
  'stages.b.data_share': (1.0, 0.5),
  'stages.b.crop': (-1, 2),
  'stages.b.flip': (0, 1),
}


def configured(keys):
  """A small study, of two stages or two arms where the keys are of these."""
  config = base_config()
  config.batch_sizes, config.trials, config.epochs = (8, 16), 2, 4.0
  if any(key.startswith('stages') for key in keys):
    stages.add(config, 'a')
    stages.add(config, 'b')
  if any(key.startswith('arms') for key in keys):
    arms.add(config, 'narrow', {'model': {'width': 8}})
    arms.add(config, 'wide', {'model': {'width': 16}})
  with config.unlocked():
    for key, value in keys.items():
      *path, name = key.split('.')
      node = config
      for part in path:
        node = node[part]
      node[name] = value
  return config


def text(config):
  """The method of a study, or of the arms of one, as it would be written."""
  if config.arms.order:
    methods = {name: topics(*facts(arm)) for name, arm in arms.configs(config).items()}
    return as_text(joined_arms(methods))
  return paragraph(*facts(config))


def facts(config):
  """What a workdir holds of a study before it is trained."""
  return json.loads(config.to_json()), lane_rows(make_plan(config, 1000)), {}


def test_every_key_that_computes_is_tried_here_and_no_other():
  computing = {key.name for key in KEYS if key.computes}
  assert set(VALUES) == computing | {f'stages.b.{key.name}' for key in STAGE}


@pytest.mark.parametrize('name', VALUES)
def test_a_key_that_computes_changes_the_paragraph(name):
  first, second, *context = VALUES[name]
  keys = context[0] if context else {}
  assert text(configured({**keys, name: first})) != text(configured({**keys, name: second}))


@pytest.mark.parametrize('name', [key.name for key in KEYS if not key.computes])
def test_a_key_that_computes_nothing_does_not(name):
  default = BY_NAME[name].default
  other = {bool: True, int: 7, float: 7.5, str: 'other'}.get(type(default), (8,))
  other = not default if isinstance(default, bool) else other
  assert text(configured({name: other})) == text(configured({}))


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_an_optimizer_is_described_from_its_entry(name):
  entry = OPTIMIZERS[name]
  decoupled = {'adamw', 'lamb', 'lion', 'signum', 'muon', 'adafactor'}
  found = text(configured({'optimizer.name': name, 'optimizer.weight_decay': 0.05}))
  kind = 'decoupled weight decay' if name in decoupled else 'L2 weight decay'
  assert f'{kind} 0.05 of arrays of two axes or more only' in found
  assert ('L2' in found) == (name not in decoupled)
  assert set(entry.shown) == set(entry.hyperparameters.values()) - {'weight_decay'}
  for key, label in entry.shown.items():
    assert f'{label} {BY_NAME[f"optimizer.{key}"].default:g}' in found


def test_axes_and_rules_are_described():
  keys = {'optimizer.name': 'adamw', 'axes.b2': (0.9, 0.99), 'scaling.base_batch_size': 8}
  keys['scaling.hyperparameters'] = 'keep,half_life+decay_time'
  found = text(configured(keys))
  assert 'β2 0.9 or 0.99, ε 1e-08' in found
  assert (
    'Hyperparameters of the optimizer are those at batch size 8, and were carried to others in 2 '
    'ways: all kept; averages changed to forget equally many examples at all batch sizes and '
    'weight decay changed to shrink weights over equally many examples at all batch sizes.'
  ) in found


def test_a_long_tail_and_its_sampler_are_described():
  found = text(
    configured(
      {
        'data.sampler': 'inverse_frequency',
        'data.imbalance_factor': 20.0,
        'data.max_per_class': 100,
      }
    )
  )
  assert (
    'Of the data to train on we kept a long tail, exponential in the order of labels, whose first '
    'class has 20 times the examples of the last and at most 100 examples of each class.'
  ) in found
  assert 'drawn with replacement, every class as often as any other' in found
  assert 'visited each training example once' not in found


@pytest.mark.parametrize('keys', [{'transfer.workdir': 'runs/x'}, {'pretrain': {'epochs': 2.0}}])
def test_lent_weights_do_not_differ_in_initialization(keys):
  assert 'which differ in initialization and example order' in text(configured({}))
  found = text(configured(keys))
  assert 'which differ in initialization of the last layer and example order' in found
  assert 'All runs began with the weights of the run of the highest validation accuracy of' in found
  assert ('the study in runs/x' in found) != ('trained first, with epochs=2.0;' in found)
  assert 'weights of lane 3 of' in text(configured({**keys, 'transfer.lane': 3}))


def test_keys_that_compute_nothing_are_no_part_of_the_pretraining_described():
  quiet = {'pretrain': {'epochs': 2.0, 'execution': {'devices': 1}}}
  assert text(configured(quiet)) == text(configured({'pretrain': {'epochs': 2.0}}))


@pytest.mark.parametrize(('section', 'entries'), [('data', SAMPLERS), ('schedule', SCHEDULES)])
def test_what_entries_say_names_keys_of_their_section(section, entries):
  names = {key.name.partition('.')[2]: 'x' for key in KEYS if key.name.startswith(f'{section}.')}
  texts = [entry.method.format_map(names) for entry in entries.values()]
  assert len(set(texts)) == len(entries) and all(texts)


def test_what_decays_of_a_transformer_includes_its_position_embeddings():
  """They have a row, a column and a channel, so that the mask of arrays takes them."""
  decay = {'optimizer.weight_decay': 0.05}
  words = 'two axes or more only, position embeddings included'
  assert words in text(configured({**decay, 'model.name': 'vit_tiny'}))
  assert words not in text(configured({**decay, 'model.name': 'cnn'}))
  everything = {**decay, 'model.name': 'vit_tiny', 'optimizer.decay_all': True}
  assert 'position embeddings' not in text(configured(everything))


@pytest.mark.parametrize(
  'micro, said',
  [
    ({8: 8, 16: 16}, 'whole batches;'),
    ({8: 8, 16: 8}, 'micro-batches of 8 examples;'),  # whole ones at one size alone
    ({8: 4, 16: 16}, 'micro-batches of 4 and 16 examples;'),
  ],
)
def test_batch_norm_is_over_whole_batches_where_all_are(micro, said):
  rows = [{'batch_size': size, 'micro_batch': taken} for size, taken in micro.items()]
  found = method_measured.batch_norm({'model': {'normalization': 'batch'}}, rows)
  assert found.startswith(f'BatchNorm normalized over {said}')
  assert not method_measured.batch_norm({'model': {'normalization': 'group'}}, rows)
