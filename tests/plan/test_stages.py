"""Stages: what each has of the study's keys, which share a program, and what is refused."""

import dataclasses

import pytest
from helpers.small import small_config

from bsjax.config.stage_keys import STAGE
from bsjax.engine.validate import problems
from bsjax.plan import stages
from bsjax.plan.batch_size_rules import Bounds


def stage_of(config=None, **keys):
  config = config or small_config()
  stages.add(config, 'only', **keys)
  return stages.of(config)[-1]


@pytest.mark.parametrize(
  ('share', 'examples', 'expected'), [(1.0, 150, 150), (0.5, 151, 76), (0.001, 100, 1)]
)
def test_a_share_is_rounded_and_never_empty(share, examples, expected):
  assert stage_of(data_share=share).share(examples) == expected


def test_bounds_that_are_not_given_are_the_size_before_and_a_tenth_of_the_share():
  assert stage_of(data_share=0.5).bounds(8, 640) == Bounds(8, 32)
  given = stage_of(data_share=0.5, smallest_batch_size=4, largest_batch_size=256)
  assert given.bounds(8, 640) == Bounds(4, 256)


@pytest.mark.parametrize(
  ('crop', 'flip', 'expected'),
  [(-1, -1, (2, True)), (0, -1, (0, True)), (3, 0, (3, False)), (-1, 1, (2, True))],
)
def test_augmentation_is_that_of_the_data_unless_the_stage_has_its_own(crop, flip, expected):
  config = small_config(data__crop=2, data__flip=True)
  stage = stage_of(config, crop=crop, flip=flip)
  assert (stage.crop, stage.flip) == expected
  assert stage_of(flip=1).flip is True and stage_of().flip is False


# What a compiled program depends on; all else is data to it.
COMPILED = {'trainable', 'frozen_batch_norm', 'image_size', 'data_share', 'crop', 'flip'}
OTHER = {
  **{'epochs': 2.0, 'examples': 64, 'trainable': ('a',), 'frozen_batch_norm': 'batch'},
  **{'batch_size': ('cabs',), 'smallest_batch_size': 4, 'largest_batch_size': 64},
  **{'learning_rate_factor': 0.5, 'reset_optimizer': True, 'image_size': 4, 'data_share': 0.5},
  **{'crop': 1, 'flip': True},
}


@pytest.mark.parametrize('key', [key.name for key in STAGE])
def test_stages_share_a_program_unless_they_differ_in_what_is_compiled(key):
  stage = stage_of()
  other = dataclasses.replace(stage, index=1, name='other', **{key: OTHER[key]})
  assert stage.same_program(other) == other.same_program(stage) == (key not in COMPILED)


@pytest.mark.parametrize('rule', ['multiply:2', 'set:64', 'grow:2'])
def test_training_begins_with_the_batch_sizes_of_the_study(rule):
  config = small_config()
  stages.add(config, 'first', batch_size=(rule,))
  (found,) = problems(config)
  assert 'changes the batch size where training begins' in found
  assert found.keys == ('stages.first.batch_size',)
  config.stages.first.batch_size = ('keep', 'cabs')
  stages.add(config, 'last', batch_size=(rule,))
  assert not problems(config)


def test_gradients_of_all_parameters_are_not_those_of_a_stage_that_freezes_some():
  config = small_config(noise_scale__exact_examples=32)
  stages.add(config, 'first')
  assert not problems(config)
  stages.add(config, 'last', trainable=('Dense_1/*',))
  (found,) = problems(config)
  assert "measures gradients of all parameters, but stages ['last'] freeze some" in found
  assert found.keys == ('noise_scale.exact_examples', 'stages.last.trainable')


@pytest.mark.parametrize(
  ('order', 'said'),
  [
    (('only', 'onyl'), "stages.order='onyl' is unknown; did you mean 'only'"),
    (('only', 'a b'), "'a b' is no name"),
    (('only', 'only'), 'names a stage twice'),
  ],
)
def test_names_of_stages_that_cannot_be_meant_are_refused(order, said):
  config = small_config()
  stages.add(config, 'only')
  config.stages.order = order
  assert any(said in found for found in problems(config))


def test_a_key_that_is_none_of_a_stage_is_refused():
  with pytest.raises(KeyError, match='did you mean'):
    stages.stage_dict(epoch=1.0)
