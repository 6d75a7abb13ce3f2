"""Axes of hyperparameters and rules on batch size: values worked out by hand, what is refused."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.engine.validate import validate
from bsjax.optim import optimizers
from bsjax.plan import hyperparameters, plan, stages
from bsjax.plan.table import notes
from bsjax.storage import records


def adamw(rule='keep', **keys):
  keys = {'optimizer__name': 'adamw', 'scaling__base_batch_size': 8, **keys}
  return small_config(scaling__hyperparameters=rule, **keys)


def values(config, batch_size, branch=''):
  return hyperparameters.of_lane(config, branch, batch_size)


def test_without_axes_and_rules_nothing_differs():
  config = small_config()
  assert hyperparameters.branches(config) == [''] and not hyperparameters.varied(config)
  rows = plan.lane_rows(plan.make_plan(config, 150))
  assert {row['branch'] for row in rows} == {''} and set(rows[0]) == set(records.PLAN_COLUMNS)


@pytest.mark.parametrize('batch_size', [8, 16, 64, 2])
def test_half_lives_are_held_in_examples(batch_size):
  config = adamw('half_life', optimizer__b1=0.9, optimizer__b2=0.999)
  own = values(config, batch_size)
  assert set(own) == {'b1', 'b2'}
  for name, base in (('b1', 0.9), ('b2', 0.999)):
    half_life = batch_size * math.log(0.5) / math.log(own[name])  # in examples
    assert half_life == pytest.approx(8 * math.log(0.5) / math.log(base))


@pytest.mark.parametrize(('scaling', 'power'), [('none', 0), ('sqrt', 0.5), ('linear', 1)])
def test_the_time_scale_of_weight_decay_is_held_in_examples(scaling, power):
  config = adamw('decay_time', optimizer__weight_decay=0.1, scaling__rule=scaling)
  assert values(config, 8) == {'weight_decay': pytest.approx(0.1)}
  lanes = plan.make_plan(config, 150).lanes
  scales = {
    lane.batch_size / (lane.learning_rate * dict(lane.hyperparameters)['weight_decay'])
    for lane in lanes
    if lane.learning_rate / (lane.batch_size / 8) ** power < 0.07  # the first of two rates
  }
  assert max(scales) == pytest.approx(min(scales)) == pytest.approx(8 / (0.05 * 0.1))


def test_the_square_root_rule_of_adam():
  """Malladi et al. 2022, definition 2.3: 1 - b1 and 1 - b2 times k, eps over the root of k."""
  config = adamw('adam_sqrt', optimizer__b1=0.9, optimizer__b2=0.99, optimizer__eps=1e-6)
  assert values(config, 32) == pytest.approx({'b1': 0.6, 'b2': 0.96, 'eps': 0.5e-6})
  assert values(config, 2) == pytest.approx({'b1': 0.975, 'b2': 0.9975, 'eps': 2e-6})


def test_rules_are_put_together_and_compared():
  config = adamw('keep,half_life, half_life+decay_time', optimizer__weight_decay=0.1)
  validate(config)
  names = hyperparameters.branches(config)
  rules = ['keep', 'half_life', 'half_life+decay_time']
  assert names == [f'hyperparameters={rule}' for rule in rules]
  kept, held, both = (values(config, 16, name) for name in names)
  assert kept == {'b1': 0.9, 'b2': 0.999, 'weight_decay': 0.1}
  assert held == pytest.approx({'b1': 0.81, 'b2': 0.998001, 'weight_decay': 0.1})
  assert both == pytest.approx({**held, 'weight_decay': 0.2})
  alone = hyperparameters.of_branch(config, names[2])
  assert hyperparameters.rules(alone) == rules[2:] and values(alone, 16) == both


def test_every_combination_is_a_branch_of_lanes_in_one_group(tmp_path):
  config = adamw('keep,half_life', axes__b2=(0.9, 0.95), axes__eps=(1e-8, 0.3))
  validate(config)
  planned = plan.make_plan(config, 150)
  rows = plan.lane_rows(planned)
  assert len(rows) == 3 * 2 * 2 * 8 and len(planned.first.groups) == 1
  seen = {(row['branch'], row['optimizer.b2'], row['optimizer.eps']) for row in rows[:16]}
  expected = {
    (f'b2={b2} eps={eps} hyperparameters={rule}', b2, eps)
    for b2, eps, rule in itertools.product((0.9, 0.95), (1e-8, 0.3), ('keep', 'half_life'))
  }
  assert seen == expected  # at the base batch size
  records.write_plan(tmp_path / 'plan.csv', rows)
  assert records.read_plan(tmp_path / 'plan.csv') == rows
  assert 'b2 is 0.9 or 0.95 at batch size 8, 0.9, 0.81, 0.95 or 0.9025 at batch size 16' in (
    ' '.join(notes(config, planned))
  )
  alone = hyperparameters.of_branch(config, rows[0]['branch'])
  assert alone['optimizer']['eps'] == 1e-8 and not hyperparameters.axes(alone)


def test_rules_follow_batch_sizes_that_stages_change():
  config = adamw('keep,half_life', batch_sizes=(8, 16))
  stages.add(config, 'first')
  stages.add(config, 'last', batch_size=('keep', 'multiply:4'))
  validate(config)
  first, last = plan.make_plan(config, 150).stages
  assert first.lanes[2].branch == 'hyperparameters=keep last=multiply:4'
  by_branch = {lane.branch: dict(lane.hyperparameters)['b1'] for lane in last.lanes[:8]}
  assert by_branch == pytest.approx(
    {
      'hyperparameters=keep last=keep': 0.9,
      'hyperparameters=keep last=multiply:4': 0.9,
      'hyperparameters=half_life last=keep': 0.9,
      'hyperparameters=half_life last=multiply:4': 0.9**4,
    }
  )


REFUSED = [
  ({'axes__momentum': (0.9, 0.8)}, 'adamw takes no momentum'),
  ({'axes__b2': (0.9, 0.9)}, 'names one twice'),
  ({'axes__b2': (0.9, 1.0)}, 'below 1'),
  ({'rule': 'half_lif'}, 'did you mean'),
  ({'rule': 'keep,keep'}, 'names a rule twice'),
  ({'rule': 'half_life', 'optimizer__name': 'adafactor'}, 'takes none of them'),
  ({'rule': 'decay_time', 'scaling__rule': 'none,sqrt'}, 'give one'),
  ({'rule': 'adam_sqrt', 'batch_sizes': (8, 128)}, 'makes b1 -0.6 at batch size 128'),
]


@pytest.mark.parametrize(('keys', 'words'), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_is_refused(keys, words):
  with pytest.raises(ConfigError) as error:
    validate(adamw(**keys))
  assert words in str(error.value) and str(error.value).startswith('1 problem')


def test_a_rule_that_stages_lead_out_of_bounds_is_refused_with_the_plan():
  config = adamw('adam_sqrt', batch_sizes=(8, 16), epochs=8.0)
  stages.add(config, 'first')
  stages.add(config, 'last', batch_size=('multiply:8',), epochs=6.0)
  validate(config)
  with pytest.raises(ConfigError, match=r'makes b1 -0\.6 at batch size 128'):
    plan.make_plan(config, 1000)


@pytest.mark.parametrize('name', ['b2', 'hyperparameters'])
def test_a_stage_is_not_called_like_an_axis_or_the_word_of_rules(name):
  config = adamw(axes__b2=(0.9, 0.99))
  stages.add(config, name)
  with pytest.raises(ConfigError, match=f"the stage '{name}' is called like an axis"):
    validate(config)


@pytest.mark.parametrize('batch_size', [4, 8, 32])
def test_the_planted_time_scales_of_a_quadratic_are_recovered(batch_size):
  """From the path of weights, by optimizers of lanes: momentum's half-life, weight decay's scale.

  In one direction the quadratic is so flat that its slope stays the same, in the other it is level.
  """
  curvature = np.array([[1e-6, 0.0]], np.float32)

  def path(config, updates):
    own = values(config, batch_size)
    transform = optimizers.create(config.optimizer, hyperparameters.varied(config))
    names = optimizers.arguments(config.optimizer.name)
    lane = {names[key]: jnp.float32(value) for key, value in own.items()}
    params = np.ones((1, 2), np.float32)
    state, weights = transform.init(params), [params]
    for _ in range(updates):
      state = optimizers.with_learning_rate(state, jnp.float32(0.05), lane)
      steps, state = transform.update(curvature * weights[-1], state, weights[-1])
      weights.append(np.asarray(weights[-1] + steps, np.float64).astype(np.float32))
      moved.append(np.asarray(steps, np.float64)[0])
    return np.array(weights, np.float64)[:, 0]

  moved = []
  base = {'scaling__hyperparameters': 'half_life', 'scaling__base_batch_size': 8}
  path(small_config(optimizer__momentum=0.9, **base), 6)
  grown = np.diff(np.array(moved)[:, 0])  # of steps: by less each time, as the average fills
  half_life = batch_size * math.log(0.5) / np.log(grown[3] / grown[2])
  assert half_life == pytest.approx(8 * math.log(0.5) / math.log(0.9), rel=0.01)
  decayed = path(adamw('decay_time', optimizer__weight_decay=0.1), 20)[:, 1]
  scale = batch_size * 20 / np.log(decayed[0] / decayed[-1])  # in examples
  assert scale == pytest.approx(8 / (0.05 * 0.1), rel=0.02)


def test_averages_of_rmsprop_forget_equally_many_examples_too():
  keys = {'optimizer__rmsprop_decay': 0.9, 'optimizer__rmsprop_momentum': 0.5}
  config = small_config(
    optimizer__name='rmsprop',
    scaling__hyperparameters='half_life',
    scaling__base_batch_size=8,
    **keys,
  )
  expected = {'rmsprop_decay': 0.81, 'rmsprop_momentum': 0.25}
  assert values(config, 16) == pytest.approx(expected)


def test_a_decay_of_zero_is_within_its_bounds():
  config = adamw('adam_sqrt', batch_sizes=(8, 16), optimizer__b1=0.5)
  validate(config)
  assert values(config, 16)['b1'] == 0.0


def test_weight_decay_follows_a_rate_that_the_growth_of_batches_divides():
  """8 grows to 32 with the rate it has, and 16 to 32 with half of it: 0.1 * 4, and over a half."""
  config = adamw('decay_time', batch_sizes=(8, 16), optimizer__weight_decay=0.1)
  stages.add(config, 'first')
  stages.add(config, 'last', batch_size=('grow:4',), largest_batch_size=32)
  first, last = plan.make_plan(config, 160).stages
  decays = {
    before.batch_size: dict(after.hyperparameters)['weight_decay']
    for before, after in zip(first.lanes, last.lanes, strict=True)
  }
  assert decays == pytest.approx({8: 0.4, 16: 0.8})
