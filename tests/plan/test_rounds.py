"""Boxes of settings: what they span, the lanes they make, and what extended studies take over."""

import math

import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.engine.validate import validate
from bsjax.plan import extension, plan, rounds


def settings(config):
  """The number of trials by batch size and learning rate, as planned."""
  counts = {}
  for lane in plan.make_plan(config, 150).lanes:
    key = lane.batch_size, lane.learning_rate
    counts[key] = counts.get(key, 0) + 1
  return counts


def test_boxes_make_the_lanes_of_any_of_them_and_a_full_grid_is_none():
  config = small_config(batch_sizes=(16, 8), learning_rates=(0.1,))
  more = rounds.extended(config, [((8,), (0.2,), 1), ((16,), (0.1,), 4)])
  validate(more)
  assert more.rounds == (((16, 8), (0.1,), 2), ((8,), (0.2,), 1), ((16,), (0.1,), 4))
  assert settings(more) == {(8, 0.1): 2, (8, 0.2): 1, (16, 0.1): 4}
  assert (more.batch_sizes, more.learning_rates, more.trials) == ((16, 8), (0.1, 0.2), 4)
  assert rounds.extended(more, [((16,), (0.1,), 3)]).rounds == more.rounds  # it has these
  full = rounds.extended(more, [((8, 16), (0.1, 0.2), 4)])
  assert full.rounds == () and set(settings(full).values()) == {4}
  assert config.rounds == () and config.trials == 2


def test_a_setting_has_the_most_trials_of_its_boxes_whichever_comes_last():
  boxes = ((8,), (0.05, 0.1), 4), ((8, 16), (0.1,), 2)
  config = small_config(batch_sizes=(8, 16), learning_rates=(0.05, 0.1), trials=4, rounds=boxes)
  validate(config)
  assert settings(config) == {(8, 0.05): 4, (8, 0.1): 4, (16, 0.1): 2}
  assert rounds.extended(config, [((8,), (0.1,), 3)]).rounds == boxes  # it has these


def test_rates_of_boxes_are_scaled_as_those_of_the_grid():
  scaled = {'scaling__rule': 'none,linear', 'scaling__base_batch_size': 8}
  config = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), trials=1, **scaled)
  more = rounds.extended(config, [((16,), (0.2,), 3)])
  # 0.2 is a rate of its own, and what linear scaling makes of 0.1: one rate, of all trials.
  assert settings(more) == {(8, 0.1): 1, (16, 0.1): 1, (16, 0.2): 3, (16, 0.4): 3}


ODD = [
  *(((8,), (0.0,), 1), ((0,), (0.1,), 1), ((8,), (0.1,), 1.0), ((8.0,), (0.1,), 1)),
  *(((True,), (0.1,), 1), ((8,), (True,), 1), ((8,), (0.1,), True)),  # which are no numbers
  *(((8, 8), (0.1,), 1), ((8,), (0.1, 0.1), 1)),  # twice
]


@pytest.mark.parametrize('box', [(), ((8,), (0.1,)), ((8,), (0.1,), 0), ((8,), (), 1), 'box', *ODD])
def test_what_is_no_box_is_refused(box):
  with pytest.raises(ConfigError, match='is no box: give'):
    rounds.extended(small_config(), [box])
  with pytest.raises(ConfigError, match='is no box; give each as'):
    validate(small_config(rounds=(box,)))


def test_boxes_and_the_keys_that_span_them_agree():
  with pytest.raises(ConfigError, match=r'rounds have the batch sizes \(8,\), but batch_sizes='):
    validate(small_config(rounds=(((8,), (0.05, 0.1), 2),)))


def test_positions_are_taken_over_where_more_batch_sizes_would_move_them():
  old = small_config(batch_sizes=(8, 32), epochs=5.12, evaluations=4)
  marks = [mark for mark in plan.make_plan(old, 150).first.evaluations if mark]
  new = rounds.extended(old, [((16,), (0.1,), 2)])
  assert [*plan.make_plan(new, 150).first.evaluations[1:]] != marks  # or this would show nothing
  keys = extension.taken_over(old, new, 150)
  assert keys == {'evaluation.at': tuple(marks)}
  held = extension.with_keys(new, keys)
  validate(held)
  assert [*plan.make_plan(held, 150).first.evaluations] == [0, *marks]
  assert extension.taken_over(held, held, 150) == {}
  assert extension.taken_over(held, new, 150) == keys  # given without them once more
  with pytest.raises(ConfigError, match=r'evaluation.at=\(768,\), and the runs there were'):
    extension.taken_over(old, extension.with_keys(new, {'evaluation.at': (768,)}), 150)
  assert extension.taken_over(old, small_config(batch_sizes=(8, 32), trials=9), 150) == {}


def test_positions_between_updates_are_refused():
  config = small_config(batch_sizes=(8, 16), epochs=2.0, evaluation__at=(16, 24, 999))
  with pytest.raises(ConfigError, match=r'evaluation.at: 24 and 999: .* every 16 examples up to'):
    plan.make_plan(config, 150)


@pytest.mark.parametrize(
  ('sizes', 'held', 'keys', 'expected'),
  [
    ((8, 16, 64), {8: 8, 16: 8}, {}, {8: 8, 16: 8, 64: 8}),
    ((8, 32, 128), {8: 8, 32: 8, 128: 32}, {}, {8: 8, 32: 8, 128: 32}),
    ((8, 64, 128, 256), {8: 8, 128: 32}, {}, {8: 8, 64: 8, 128: 32, 256: 32}),
    ((4, 16), {16: 16}, {}, '4 needs a micro-batch of 4, and the runs there have 16'),
    ((8, 16), {16: 16}, {'model__normalization': 'batch'}, '16 needs a micro-batch of 8, and'),
    ((8, 16), {8: 8}, {'micro_batch': 'batch'}, {8: 8, 16: 16}),
  ],
)
def test_micro_batches_stay_and_new_batch_sizes_follow_them(sizes, held, keys, expected):
  config = small_config(batch_sizes=sizes, epochs=8.0, **keys)
  possible = plan.make_plan(config, 150).first.possible_sizes
  if isinstance(expected, dict):
    assert extension.micro_batches(config, held, possible) == expected
  else:
    with pytest.raises(ConfigError, match=expected):
      extension.micro_batches(config, held, possible)


def test_micro_batches_are_those_of_all_sizes_that_stages_lead_to():
  config, possible = small_config(batch_sizes=(8, 16)), frozenset({8, 16, 24})
  assert extension.micro_batches(config, {8: 8}, possible) == {8: 8, 16: 8}
  with pytest.raises(ConfigError, match='8 needs a micro-batch of 8, and the runs there have 4'):
    extension.micro_batches(config, {8: 4}, possible)
  assert extension.micro_batches(config, {8: 4}, frozenset({8, 16})) == {8: 4, 16: 4}


def test_a_share_has_the_program_of_the_whole_group():
  """Whether some lane updates in every tick is asked of all lanes, not of those of a share."""
  from bsjax import data
  from bsjax.engine.spec import lane_spec
  from bsjax.storage.shards import Shard

  config = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), trials=1, micro_batch=8)
  whole, dataset = plan.make_plan(config, 150), data.load(config.data, config.seed)
  parts = [plan.share(whole, Shard(index, 2)).first for index in (1, 2)]
  specs = [lane_spec(config, dataset, part, part.groups[0]) for part in (whole.first, *parts)]
  assert {spec.probe_every for spec in specs} == {16}
  assert not any(spec.every_tick for spec in specs)


@pytest.mark.parametrize(
  'keys, seconds',
  [
    ({'budget': 2.0, 'budget_unit': 'minutes'}, 120),
    ({'budget': 3.0, 'budget_unit': 'price', 'price_per_hour': 6.0}, 1800),
    ({'budget': 3.0, 'budget_unit': 'lane_examples', 'price_per_hour': 6.0}, math.inf),
    ({'budget': 0.0, 'budget_unit': 'minutes'}, math.inf),
  ],
)
def test_a_budget_in_seconds(keys, seconds):
  assert rounds.budget_seconds(small_config().decide.to_dict() | keys) == pytest.approx(seconds)
