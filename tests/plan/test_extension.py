"""What an extended study takes over: the lanes there under new numbers, positions, and a lender."""

import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.plan import arms, extension, plan, stages

SETTING = 'batch_size', 'learning_rate', 'branch', 'trial'


def rows_of(config, **micro_batches):
  return plan.lane_rows(plan.make_plan(config, 150, **micro_batches))


def extended(new, rows, differing=(), lengths=()):
  return extension.extension(new, rows, 150, dict.fromkeys(differing, ('there', 'now')), lengths)


def small(**overrides):
  return small_config(**{'batch_sizes': (8, 32), 'learning_rates': (0.1,), **overrides})


def test_lanes_there_are_those_of_the_same_setting_and_the_others_are_missing():
  rows = rows_of(small())
  more = small(batch_sizes=(8, 16, 32), learning_rates=(0.05, 0.1), trials=3)
  made = extended(more, rows, ('batch_sizes', 'learning_rates', 'trials'))
  whole = {row['lane']: row for row in plan.lane_rows(made.plan)}
  assert len(whole) == 18 and len(made.numbers) == len(rows) == 4
  for row in rows:
    assert all(whole[made.numbers[row['lane']]][key] == row[key] for key in SETTING)
  assert made.missing == whole.keys() - {*made.numbers.values()} and len(made.missing) == 14
  again = extended(small(epochs=4.0), rows, ('epochs',), ('epochs',))
  assert again.numbers == {} and again.missing == {0, 1, 2, 3}  # positions are others


def test_branches_are_told_apart():
  config = small(batch_sizes=(8,), trials=1, axes__momentum=(0.5, 0.9))
  stages.add(config, 'first')
  stages.add(config, 'last', batch_size=('keep', 'multiply:2'))
  rows = rows_of(config)
  config.trials = 2
  made = extended(config, rows, ('trials',))
  assert made.numbers == {0: 0, 1: 2, 2: 4, 3: 6} and made.missing == {1, 3, 5, 7}


def test_lanes_that_would_come_in_another_order_are_refused():
  """Checkpoints hold lanes in the order of the plan."""
  rows = rows_of(small(batch_sizes=(16, 32)), micro_batches={16: 16, 32: 8})
  assert extended(small(batch_sizes=(16, 32), trials=3), rows).missing == {2, 5}
  with pytest.raises(ConfigError, match='grouped in another order; choose another --workdir'):
    extended(small(batch_sizes=(8, 16, 32)), rows)


def test_lanes_that_would_be_others_are_refused():
  with pytest.raises(
    ConfigError, match=r'lane 0 of the study there .* whose updates is 36 and not 20'
  ):
    extended(small(epochs=2.0), rows_of(small(epochs=1.0)))


@pytest.mark.parametrize(
  ('differing', 'lengths', 'refused'),
  [
    (('trials', 'optimizer.name'), (), 'optimizer.name'),
    (('rounds', 'evaluation.at', 'pretrain.trials', 'pretrain.epochs'), (), ''),
    (('epochs',), (), 'epochs'),
    (('epochs', 'evaluations'), ('epochs', 'evaluations'), ''),
    (('pretrain.rounds',), (), 'pretrain.rounds'),
  ],
)
def test_nothing_but_settings_and_lengths_may_differ(differing, lengths, refused):
  rows = rows_of(small())
  if refused:
    with pytest.raises(ConfigError, match=f"{refused}='now', and the study there has 'there': a"):
      extended(small(), rows, differing, lengths)
  else:
    extended(small(), rows, differing, lengths)


@pytest.mark.parametrize(
  ('keys', 'said'),
  [
    ({'batch_sizes': (8, 16)}, r'batch_sizes=\(8, 16\), and the study there has 32'),
    ({'trials': 1}, 'trials=1, and the study there has 2'),
    ({'learning_rates': (0.05,)}, 'give batch size 8 0 trials at learning rate 0.1'),
    (
      {'rounds': (((8, 32), (0.1,), 1), ((8,), (0.1,), 2))},
      'give batch size 32 1 trials at learning rate 0.1',
    ),
  ],
)
def test_nothing_is_taken_away(keys, said):
  with pytest.raises(ConfigError, match=said):
    extended(small(**keys), rows_of(small()))


def with_lender(changes, **overrides):
  config = small(**overrides)
  with config.unlocked():
    config.pretrain = changes
  return config


@pytest.mark.parametrize(
  ('there', 'now', 'expected'),
  [
    ({}, {}, {}),  # there is none
    ({'seed': 1}, {'seed': 1}, {'epochs': 2.0, 'trials': 2}),  # what it had in common
    ({'epochs': 4.0}, {'seed': 1}, {'epochs': 4.0, 'trials': 2}),  # or had of its own
    ({'seed': 1}, {'epochs': 9.0}, {'trials': 2}),  # what is given again is meant
    ({'evaluations': 2}, {'seed': 1}, {'epochs': 2.0, 'trials': 2, 'evaluations': 2}),
  ],
)
def test_a_lender_stays_what_it_was(there, now, expected):
  old, new = with_lender(there), with_lender(now, epochs=3.0, trials=5)
  assert extension.lent(old, new) == {f'pretrain.{key}': x for key, x in expected.items()}


def test_keys_are_set_in_a_copy_of_the_study_or_of_an_arm():
  config = small(evaluation__at=(96,))
  arms.add(config, 'one', {'trials': 3})
  keys = {'evaluation.at': (32,), 'pretrain.trials': 2}
  changed, of_arm = (extension.with_keys(config, keys, arm) for arm in ('', 'one'))
  assert changed.evaluation.at == (32,) and changed.pretrain.trials == 2
  assert changed.arms.one.to_dict() == {'trials': 3}
  assert of_arm.evaluation.at == config.evaluation.at == (96,) and not of_arm.pretrain
  assert of_arm.arms.one.evaluation.at == (32,) and of_arm.arms.one.pretrain.trials == 2
  assert config.arms.one.to_dict() == {'trials': 3}


@pytest.mark.parametrize(
  ('sizes', 'said'),
  [
    ((8, 32, 64), 'every 64 examples, and the runs there were evaluated at 96; .* divide 32,'),
    ((8, 32, 128), 'would end at 256 examples, and the runs there ended it at 192; .* divide 32,'),
    ((8, 16, 32), ''),
  ],
)
def test_batch_sizes_that_move_what_is_there_are_refused(sizes, said):
  old = small(epochs=1.28, evaluations=2)
  assert plan.make_plan(old, 150).first.evaluations == (0, 96, 192)
  new = small(epochs=1.28, evaluations=2, batch_sizes=sizes)
  if said:
    with pytest.raises(ConfigError, match=said):
      extension.taken_over(old, new, 150)
  else:
    assert extension.taken_over(old, new, 150) in ({}, {'evaluation.at': (96, 192)})
