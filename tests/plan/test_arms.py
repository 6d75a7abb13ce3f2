"""Studies made of studies: what each of them has of the whole one."""

import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.engine.validate import problems
from bsjax.plan import arms, stages


def test_a_lender_has_positions_of_its_own_and_neither_stages_nor_rounds_nor_a_question():
  """Positions given for the whole study may lie beyond the end of a shorter one."""
  config = small_config(evaluation__at=(96, 192), rounds=(((8,), (0.1,), 2),), trials=2)
  config.decide.question, config.decide.rounds = 'best_batch_size', ((('all', 'all', 2),),)
  config.transfer.workdir = 'elsewhere'
  stages.add(config, 'only', epochs=1.0)
  for changes, at in ({'epochs': 0.64}, ()), ({'evaluation': {'at': (64,)}}, (64,)):
    with config.unlocked():
      config.pretrain = changes
    lender = arms.pretraining(config)
    assert lender.evaluation.at == at
    assert lender.rounds == lender.stages.order == lender.arms.order == ()
    assert not lender.pretrain and lender.trials == 2
    assert lender.decide.question == '' and lender.decide.rounds == ()  # nor its budget
    assert lender.transfer.workdir == ''  # it begins with weights of its own
  assert config.evaluation.at == (96, 192) and config.stages.order == ('only',)
  assert config.transfer.workdir == 'elsewhere'


def lending(**changes):
  config = small_config()
  with config.unlocked():
    config.pretrain = changes
  return config


def test_what_is_wrong_with_a_lender_is_said_once_with_its_name():
  config, said = lending(trials=0), 'pretrain: trials=0 must be at least 1'
  (found,) = problems(config)
  assert found.startswith(said) and found.keys == ('pretrain.trials',)
  arms.add(config, 'wide', {})  # which has the lender
  (found,) = problems(config)
  assert found.startswith(f'arms.wide: {said}') and found.keys == ('arms.wide.pretrain.trials',)
  assert not problems(lending(trials=1))


def test_an_arm_may_give_a_value_of_another_type_where_the_key_takes_any():
  config = small_config(micro_batch=8)
  arms.add(config, 'kept', {})
  arms.add(config, 'whole', {'micro_batch': 'batch'})
  assert {name: arm.micro_batch for name, arm in arms.configs(config).items()} == {
    'kept': 8,
    'whole': 'batch',
  }


@pytest.mark.parametrize(
  ('order', 'said'),
  [
    (('one', 'one'), 'names an arm twice'),
    (('one', 'other'), "arms.order='other' is unknown; .*known: one"),
  ],
)
def test_names_of_arms_that_cannot_be_meant_are_refused(order, said):
  config = small_config()
  arms.add(config, 'one', {})
  config.arms.order = order
  with pytest.raises(ConfigError, match=said):
    arms.configs(config)


def test_a_question_is_about_one_study():
  """Rounds extend the study in a workdir, and arms are several."""
  config = small_config(decide__question='trend')
  assert not problems(config)
  arms.add(config, 'one', {})
  (found,) = problems(config)
  assert found.startswith('arms.order is set: rounds of decide.question=')
  assert found.keys == ('arms.order', 'decide.question')
