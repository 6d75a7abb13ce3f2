"""How long stages may be for their batches, how many lanes there may be, and what is refused."""

import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.plan import batch_size_paths, plan, stages

RULES = ('keep', 'multiply:2', 'set:64')


def staged(keys, **overrides):
  config = small_config(**overrides)
  stages.add(config, 'only', **keys)
  return config


@pytest.mark.parametrize(
  ('keys', 'rules', 'lanes'),
  [
    ({'learning_rates': tuple(range(1, 11))}, ('keep',), None),  # as many as there may be
    ({'learning_rates': tuple(range(1, 12))}, ('keep',), '110,000'),
    ({'scaling__rule': 'none,sqrt,linear'}, ('keep',), '150,000'),
    ({'axes__momentum': (0.1, 0.2, 0.3)}, ('keep',), '150,000'),
    ({}, RULES, '150,000'),
    ({'batch_sizes': (8, 16, 32)}, ('keep',), '150,000'),
  ],
)
def test_lanes_are_counted_with_all_that_makes_several_of_one(keys, rules, lanes):
  small = {'trials': 10_000, 'batch_sizes': (8,), 'learning_rates': (1, 2, 3, 4, 5)}
  config = staged({'batch_size': rules}, **{**small, **keys})
  if lanes is None:
    batch_size_paths.refuse_too_many_lanes(config, stages.of(config))
  else:
    with pytest.raises(ConfigError, match=f'are {lanes} lanes'):
      batch_size_paths.refuse_too_many_lanes(config, stages.of(config))


@pytest.mark.parametrize(
  ('sizes', 'said'),
  [
    ((300,), None),  # one update of all that is trained on
    ((301,), 'batch size 301 is larger than the 300 examples of the whole training'),
    ((100, 150), None),
    ((100, 151), 'coincide only every 15100 examples'),
  ],
)
def test_a_training_has_one_block_or_more(sizes, said):
  config = small_config(batch_sizes=sizes, epochs=2.0)
  if said is None:
    assert plan.make_plan(config, 150).total_examples == 300
  else:
    with pytest.raises(ConfigError, match=said):
      plan.make_plan(config, 150)


def test_a_warm_up_is_shorter_than_training_in_whole_batches():
  """Of 270 examples in batches of 200 there is one, so training ends at 200."""
  keys = {'batch_sizes': (200,), 'epochs': 1.8}
  plan.make_plan(small_config(**keys, schedule__warmup_epochs=199 / 150), 150)
  with pytest.raises(ConfigError, match=r'is 200 examples, but training, .* has 200'):
    plan.make_plan(small_config(**keys, schedule__warmup_epochs=200 / 150), 150)


def test_an_epoch_of_the_warm_up_is_one_of_the_first_share():
  config = staged({'epochs': 2.0, 'data_share': 0.5}, schedule__warmup_epochs=1.5)
  plan.make_plan(config, 160)  # 120 of 160 examples, and 240 were it the whole set
  config.schedule.warmup_epochs = 2.0
  with pytest.raises(ConfigError, match=r'is 160 examples, but training, .* has 160'):
    plan.make_plan(config, 160)


@pytest.mark.parametrize(
  ('stage', 'length', 'keys'),
  [
    ({'epochs': 0.1}, '0.1 epochs of 160', 'stages.only.epochs stages.only.data_share'),
    ({'examples': 16}, 'as configured', 'stages.only.examples'),
  ],
)
def test_a_stage_that_is_too_short_is_named_with_its_keys(stage, length, keys):
  with pytest.raises(ConfigError) as error:
    plan.make_plan(staged(stage), 160)
  (problem,) = error.value.problems
  assert f"larger than the 16 examples of stage 'only' ({length})" in problem
  assert problem.keys == ('batch_sizes', *keys.split())


def test_the_last_block_fits_the_clock():
  """Positions are integers of 32 bits, and training may end a block later than was asked for."""
  most, sizes = 2**31 - 1 - 32, frozenset({8, 32})
  config = staged({'examples': most})
  batch_size_paths.check(config, stages.of(config), sizes, 150)
  config.stages.only.examples = most + 1
  with pytest.raises(ConfigError, match='but the clock ends at 2147483647') as error:
    batch_size_paths.check(config, stages.of(config), sizes, 150)
  assert error.value.problems[0].keys == ('stages.only.examples',)


def test_a_rule_that_leads_to_no_batch_size_is_named_with_its_stage():
  config = staged({})
  stages.add(config, 'last', batch_size=('multiply:0.3',))
  with pytest.raises(ConfigError, match=r'stages.last.batch_size: .* 2.4 examples of batch size 8'):
    plan.make_plan(config, 150)


def test_each_choice_of_rules_is_a_branch_and_a_lane_follows_its_own():
  config = small_config(batch_sizes=(8,))
  for name, rules in (('a', ('keep',)), ('b', ('keep', 'cabs')), ('c', ('set:16', 'multiply:4'))):
    stages.add(config, name, batch_size=rules, largest_batch_size=64)
  first, second, third = stages.of(config)
  names = ['b=keep c=set:16', 'b=keep c=multiply:4', 'b=cabs c=set:16', 'b=cabs c=multiply:4']
  assert batch_size_paths.branches([first, second, third]) == names
  assert batch_size_paths.branches([first]) == ['']
  assert [batch_size_paths.rule(part, names[1]) for part in (first, second, third)] == [
    'keep',
    'keep',
    'multiply:4',
  ]
  with pytest.raises(ValueError, match=r"chooses none of .* in 'c'"):
    batch_size_paths.rule(third, 'b=keep c=set:17')
