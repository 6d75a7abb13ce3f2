"""Studies made of studies: what each of them has of the whole one."""

from helpers.small import small_config

from bsjax.plan import arms, stages


def test_a_lender_has_positions_of_its_own_and_neither_stages_nor_rounds_nor_a_question():
  """Positions given for the whole study may lie beyond the end of a shorter one."""
  config = small_config(evaluation__at=(96, 192), rounds=(((8,), (0.1,), 2),), trials=2)
  config.decide.question, config.decide.rounds = 'best_batch_size', ((('all', 'all', 2),),)
  stages.add(config, 'only', epochs=1.0)
  for changes, at in ({'epochs': 0.64}, ()), ({'evaluation': {'at': (64,)}}, (64,)):
    with config.unlocked():
      config.pretrain = changes
    lender = arms.pretraining(config)
    assert lender.evaluation.at == at
    assert lender.rounds == lender.stages.order == lender.arms.order == ()
    assert not lender.pretrain and lender.trials == 2
    assert lender.decide.question == '' and lender.decide.rounds == ()  # nor its budget
  assert config.evaluation.at == (96, 192) and config.stages.order == ('only',)
