"""Plans: which lanes there are, where they update, and what is refused."""

import io
import math

import pytest
from helpers.small import small_config
from rich.console import Console

from bsjax.config.errors import ConfigError
from bsjax.plan import plan, stages, table


def test_every_combination_is_a_lane():
  config = small_config(batch_sizes=(32, 8), learning_rates=(0.1, 0.05), trials=3)
  lanes = plan.make_plan(config, 150).lanes
  assert [lane.lane for lane in lanes] == list(range(12))
  settings = {(lane.batch_size, lane.learning_rate, lane.trial) for lane in lanes}
  assert settings == {(b, r, t) for b in (8, 32) for r in (0.05, 0.1) for t in range(3)}
  assert all(lane.accumulation * lane.micro_batch == lane.batch_size for lane in lanes)


@pytest.mark.parametrize(
  'sizes, micro, expected',
  [
    ((8, 16, 32), 'auto', {8: 8, 16: 8, 32: 8}),
    ((256, 512), 'auto', {256: 32, 512: 32}),
    ((48, 72), 'auto', {48: 24, 72: 24}),
    ((8, 16), 4, {8: 4, 16: 4}),
    ((8, 16), 'batch', {8: 8, 16: 16}),
  ],
)
def test_micro_batch(sizes, micro, expected):
  study = plan.make_plan(small_config(batch_sizes=sizes, micro_batch=micro, epochs=10.0), 500).first
  assert {lane.batch_size: lane.micro_batch for lane in study.lanes} == expected
  assert len(study.groups) == len(set(expected.values()))
  for group in study.groups:
    assert group.block_ticks * group.micro_batch == study.block_examples


def test_evaluations_fall_where_every_lane_has_just_updated():
  config = small_config(
    batch_sizes=(8, 24, 32), epochs=7.3, evaluations=5, evaluation__positions='even'
  )
  study = plan.make_plan(config, 701).first
  assert study.block_examples == 96
  assert study.evaluations[0] == 0
  assert len(study.evaluations) == 6
  assert all(mark % size == 0 for mark in study.evaluations for size in config.batch_sizes)
  assert abs(study.total_examples - 7.3 * 701) <= 48
  for i, mark in enumerate(study.evaluations):
    assert abs(mark - study.total_examples * i / 5) <= 48


def test_fewer_evaluations_are_announced():
  config = small_config(evaluations=1000)
  study = plan.make_plan(config, 150)
  assert len(study.first.evaluations) == 1 + study.total_examples // 32
  assert 'evaluations=1000' in ' '.join(table.notes(config, study))


@pytest.mark.parametrize(
  'rule, expected', [('none', 0.1), ('linear', 0.1 * 32 / 8), ('sqrt', 0.1 * 2)]
)
def test_scaling_rules(rule, expected):
  config = small_config(
    batch_sizes=(8, 32), learning_rates=(0.1,), scaling__rule=rule, scaling__base_batch_size=8
  )
  rates = {lane.batch_size: lane.learning_rate for lane in plan.make_plan(config, 150).lanes}
  assert math.isclose(rates[8], 0.1)
  assert math.isclose(rates[32], expected)


@pytest.mark.parametrize(
  'overrides, words',
  [
    ({'batch_sizes': (512,)}, ('512', '300', 'more epochs')),
    ({'batch_sizes': (7, 11, 13)}, ('1001', '300', 'powers of two')),
    ({'batch_sizes': (200,), 'epochs': 1.8, 'schedule__warmup_epochs': 1.6}, ('240', '200')),
    ({'epochs': 2e7}, ('2147483647', 'fewer epochs')),
  ],
)
def test_impossible_plans_name_value_bound_and_remedy(overrides, words):
  with pytest.raises(ConfigError) as error:
    plan.make_plan(small_config(**overrides), 150)
  assert all(word in str(error.value) for word in words)


def test_batch_norm_says_how_many_examples_it_sees():
  config = small_config(model__normalization='batch')
  ghost = table.notes(config, plan.make_plan(config, 150))
  assert 'micro-batches of 8 examples' in ghost[0]
  config.micro_batch = 'batch'
  whole = table.notes(config, plan.make_plan(config, 150))
  assert 'whole batches, of 8, 16, 32' in whole[0]


def test_a_share_of_the_data_shortens_epochs_and_begins_another_stream():
  config = small_config(batch_sizes=(8, 16), evaluations=4)
  stages.add(config, 'half', epochs=2.0, data_share=0.5)
  stages.add(config, 'whole', epochs=1.0)
  stages.add(config, 'larger', epochs=1.0, batch_size=('multiply:2',))
  study = plan.make_plan(config, 160)
  assert study.train_examples == 160
  parts = study.stages
  assert [part.train_examples for part in parts] == [80, 160, 160]
  assert [part.epoch_examples for part in parts] == [80, 80, 80]
  assert [(part.start, part.end) for part in parts] == [(0, 160), (160, 320), (320, 480)]
  assert [(part.stream, part.origin) for part in parts] == [(0, 0), (1, 160), (1, 160)]
  assert [part.epoch(part.end) for part in parts] == [2.0, 3.0, 4.0]
  assert [sorted({lane.batch_size for lane in part.lanes}) for part in parts] == [
    [8, 16],
    [8, 16],
    [16, 32],
  ]
  assert all(part.possible_sizes == {8, 16, 32} for part in parts)
  assert all(part.block_examples == 32 for part in parts)
  row = plan.lane_rows(study)[0]
  assert (row['updates'], row['examples'], row['epochs']) == (20 + 20 + 10, 480, 4.0)


def test_regrouping_changes_groups_and_nothing_else():
  config = small_config()
  study = plan.make_plan(config, 150)
  micro_batches = {8: 8, 16: 8, 32: 32}
  assert plan.regroup(config, study, study.micro_batches) == study
  assert plan.regroup(config, study, micro_batches) == plan.make_plan(config, 150, micro_batches)
  assert [g.micro_batch for g in plan.regroup(config, study, micro_batches).first.groups] == [8, 32]


def test_table_shows_what_will_happen():
  config = small_config()
  study = plan.make_plan(config, 150)
  console = Console(width=200, record=True, file=io.StringIO())
  console.print(table.table(config, study, {0: 3 * 2**20}))
  text = console.export_text()
  assert '12 lanes' in text
  assert '288 examples' in text
  for word in ('0.05 0.1', '36', '9', '3.0'):
    assert word in text


def test_the_table_of_stages_has_the_updates_of_the_first():
  config = small_config(epochs=4.0)
  stages.add(config, 'first', epochs=1.0)
  stages.add(config, 'last', epochs=3.0)
  study = plan.make_plan(config, 150)
  columns = {column.header: list(column.cells) for column in table.table(config, study).columns}
  assert study.first.end == 160 and study.total_examples == 608
  assert columns['updates'] == ['20', '10', '5']
  assert columns['updates/epoch'] == ['18.8', '9.4', '4.7']


def test_rows_of_plan_csv():
  study = plan.make_plan(small_config(), 150)
  row = plan.lane_rows(study)[-1]
  assert row == {
    'lane': 11,
    'group': 0,
    'batch_size': 32,
    'learning_rate': 0.1,
    'trial': 1,
    'branch': '',
    'micro_batch': 8,
    'accumulation': 4,
    'updates': 9,
    'examples': 288,
    'epochs': 288 / 150,
  }


def told(**overrides):
  config = small_config(batch_sizes=(16, 1024), **overrides)
  return ' '.join(table.notes(config, plan.make_plan(config, 1438)))


def test_a_training_much_shorter_than_asked_for_is_told():
  assert 'epochs=1 became 0.71: all batch sizes update together only' in told(epochs=1.0)
  assert 'epochs=30' not in told(epochs=30.0)


def test_evaluations_that_become_fewer_are_told():
  """Batch size 1024 updates every 1,024 examples, so 4,314 examples have 4 such moments."""
  assert 'evaluations=50 became 4: all lanes have just updated only' in told(
    epochs=3.0, evaluations=50
  )
  assert 'became' not in told(epochs=30.0, evaluations=2)


def test_given_positions_are_not_said_to_have_become_fewer():
  keys = {'evaluations': 9, 'evaluation__at': (96,)}
  assert 'became' not in ' '.join(table.notes(*planned(small_config(**keys))))


def planned(config):
  return config, plan.make_plan(config, 150)


@pytest.mark.parametrize('sizes, said', [((3, 6), 'trains on only 3 example(s)'), ((4, 8), '')])
def test_ticks_of_few_examples_are_told(sizes, said):
  notes = ' '.join(table.notes(*planned(small_config(batch_sizes=sizes))))
  assert said in notes and ('example(s), which is slow' in notes) == bool(said)


def test_a_stage_that_is_longer_than_asked_for_is_told_in_its_unit():
  config = small_config(batch_sizes=(64,))
  stages.add(config, 'short', examples=100)
  stages.add(config, 'long', epochs=1.0)
  notes = table.notes(*planned(config))
  assert any(note.startswith('stage short: examples=100 became 128: all') for note in notes)
  assert any(note.startswith('stage long: epochs=1 became 0.85: all') for note in notes)


def test_a_warm_up_that_is_shorter_than_a_batch_is_told_however_long_the_training():
  """A batch that begins in it is lost whole."""
  assert 'the warm-up of 1,023 examples' in told(epochs=60.0, schedule__warmup_epochs=1023 / 1438)
  assert 'warm-up' not in told(epochs=60.0, schedule__warmup_epochs=1024 / 1438)


def test_groups_are_in_order_of_batch_sizes_however_these_are_given():
  lanes = planned(small_config(batch_sizes=(32, 8), micro_batch='batch'))[1].lanes
  assert [(lane.group, lane.batch_size) for lane in lanes[::4]] == [(0, 8), (1, 32)]


def test_a_warm_up_that_costs_batch_sizes_differently_is_told():
  """Updates at 0 of 719: size 1024 loses its first of 4, size 16 its share under the ramp."""
  text = told(epochs=3.0, schedule__warmup_epochs=0.5)
  ramp = sum(1 - 16 * k / 719 for k in range(45)) * 16 / 4096
  assert f'{ramp:.1%} of batch size 16 and 25.0% of batch size 1024' in text
  assert 'warm-up' not in told(epochs=60.0, schedule__warmup_epochs=5.0)
  assert 'warm-up' not in told(epochs=3.0)


def test_batch_norm_over_one_example_is_refused():
  norm = {'batch_sizes': (15, 16), 'model__normalization': 'batch'}
  with pytest.raises(ConfigError, match='BatchNorm over one example'):
    plan.make_plan(small_config(**norm), 1438)
  plan.make_plan(small_config(**norm, micro_batch='batch', epochs=4.0), 1438)
  plan.make_plan(small_config(batch_sizes=(15, 16)), 1438)
