"""Several scaling rules in one study: which learning rates and lanes there are, what is refused."""

import itertools

import pytest
from helpers.small import small_config

from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.engine.validate import validate
from bsjax.plan import plan, scaling_rules


def several(rule, rates=(0.1, 0.2), **keys):
  return small_config(learning_rates=rates, scaling__rule=rule, scaling__base_batch_size=8, **keys)


def test_a_batch_size_gets_the_rates_of_all_rules_once_each():
  config = several('none, sqrt,linear')
  assert scaling_rules.learning_rates_of(config, 8) == [0.1, 0.2]
  assert scaling_rules.learning_rates_of(config, 32) == pytest.approx([0.1, 0.2, 0.4, 0.8])
  assert scaling_rules.learning_rates_of(config, 16) == pytest.approx(
    [0.1, 0.1 * 2**0.5, 0.2, 0.2 * 2**0.5, 0.4]
  )
  # 3 * 0.1 is not 0.3 in floating point: one lane all the same, at the number of the grid.
  config = several('linear,none', (0.1, 0.3), batch_sizes=(8, 24))
  assert 3 * 0.1 != 0.3
  assert scaling_rules.learning_rates_of(config, 24) == [0.1, 0.3, 3 * 0.3]


@pytest.mark.parametrize('rule', ['none', 'sqrt', 'linear'])
def test_one_rule_gives_what_it_gave_before_to_the_last_bit(rule):
  rates = (3 * 0.1, 0.1, 0.3)  # two of them differ by rounding only
  config = several(rule, rates, batch_sizes=(8, 24))
  exponent = {'none': 0.0, 'sqrt': 0.5, 'linear': 1.0}[rule]
  lanes = plan.make_plan(config, 150).lanes
  expected = [
    (size, rate * (size / 8) ** exponent, trial)
    for size, rate, trial in itertools.product((8, 24), sorted(rates), range(2))
  ]
  assert [(lane.batch_size, lane.learning_rate, lane.trial) for lane in lanes] == expected
  rule = config.scaling.rule
  single = [scaling_rules.scaled(rule, rate, 24, 8) for rate in sorted(rates)]
  assert scaling_rules.learning_rates_of(config, 24) == single


def test_the_plan_has_a_lane_for_every_rate_and_every_rule_finds_its_own():
  config = several('none,sqrt,linear')
  lanes = plan.make_plan(config, 150).lanes
  assert [lane.lane for lane in lanes] == list(range(2 * (2 + 5 + 4)))
  for rule, rate, size in itertools.product(('none', 'sqrt', 'linear'), (0.1, 0.2), (8, 16, 32)):
    value = scaling_rules.scaled(rule, rate, size, 8)
    mine = [
      lane.trial
      for lane in lanes
      if lane.batch_size == size and scaling_rules.same(lane.learning_rate, value)
    ]
    assert mine == [0, 1]


def test_timing_counts_the_lanes_of_the_plan(monkeypatch):
  seen = []
  monkeypatch.setattr(
    execution, 'candidates', lambda platform, convolutions, lanes: seen.append(lanes) or []
  )
  config = several('none,sqrt,linear', execution__strategy='auto', execution__devices=1)
  execution._names(config, False, [8, 16, 32])
  execution._names(config, False, [32])
  lanes = plan.make_plan(config, 150).lanes
  assert seen == [len(lanes), sum(lane.batch_size == 32 for lane in lanes)] == [22, 8]


@pytest.mark.parametrize(
  'rule, words',
  [
    ('none,lineer', ("scaling.rule='lineer'", "did you mean 'linear'")),
    ('none,', ("scaling.rule=''",)),
    ('sqrt,sqrt', ('twice',)),
  ],
)
def test_every_name_is_checked(rule, words):
  with pytest.raises(ConfigError) as error:
    validate(several(rule))
  assert all(word in str(error.value) for word in words)
  validate(several('none,sqrt,linear'))
