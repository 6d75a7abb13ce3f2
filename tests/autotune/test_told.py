"""What is said, recorded and remembered of timings, and what a timing is made of."""

import json
import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.autotune import execution, timer
from bsjax.autotune.execution import Execution
from bsjax.autotune.grouping import Timing
from bsjax.engine import own
from bsjax.engine.strategies import STRATEGIES
from bsjax.models.own import adapted
from bsjax.plan import plan

WAYS = {8: STRATEGIES['map-canonical'], 32: STRATEGIES['vmap-im2col']}
CHOSEN = Execution(
  '2 CPU cores',
  {8: 8, 16: 8, 64: 8, 128: 32},
  WAYS,
  [
    Timing(8, 'vmap-im2col', 4, 0.008, 2.0),
    Timing(8, 'map-canonical', 2, 0.003, 1.0),
    Timing(8, 'map-im2col', 2, 0.005, 1.0),
    Timing(32, 'map-canonical', 2, 0.1, 1.0),
  ],
)


def test_each_group_is_a_line_with_the_ways_that_were_timed_in_order():
  assert CHOSEN.lines() == [
    'batch size 8 to 64: micro-batch 8, map-canonical, 1.5 ms per lane and tick on 2 CPU cores '
    '(vmap-im2col 2, map-im2col 2.5)',
    'batch size 128: micro-batch 32, vmap-im2col',  # which was not timed
  ]
  alone = Execution('', {16: 8}, WAYS, CHOSEN.timings[1:2])
  assert alone.lines() == [
    'batch size 16: micro-batch 8, map-canonical, 1.5 ms per lane and tick on '
  ]


@pytest.mark.parametrize(('shared', 'turns'), [(0, 6), (1, 6), (2, 12)])
def test_devices_that_share_lanes_take_as_many_turns_more(shared, turns):
  """12 lanes of 288 examples in ticks of 8, on two devices."""
  config = small_config(execution__devices=2, execution__devices_per_lane=shared)
  study_plan = plan.make_plan(config, 150)
  timed = [Timing(8, 'map-canonical', 1, 1.0, 5.0)]
  chosen = Execution('', study_plan.micro_batches, WAYS, timed)
  seconds = execution.training_seconds(config, study_plan, chosen)
  assert seconds == 5.0 + 36 * turns
  words = execution.total_time(config, study_plan, chosen)
  assert words.startswith(f'Total time: 0:0{seconds // 60:.0f}:{seconds % 60:02.0f} to compile')


def test_a_total_time_is_rounded_up_and_not_told_where_a_group_has_no_room():
  config = small_config()
  study_plan = plan.make_plan(config, 150)

  def told(seconds):
    timed = [Timing(8, 'map-canonical', 1, seconds, 0.0)]
    return execution.total_time(
      config, study_plan, Execution('', {8: 8, 16: 8, 32: 8}, WAYS, timed)
    )

  assert told(0.001).startswith('Total time: 0:00:01 to compile')
  assert told(math.inf) == 'Total time: not timed.'
  assert execution.total_time(
    config, study_plan, Execution('', {8: 8, 16: 8, 32: 8}, WAYS, [])
  ) == ('Total time: not timed.')


def test_what_had_no_room_is_not_recorded_and_parts_are(tmp_path):
  infinite = Timing(8, 'vmap-native', 4, math.inf, math.inf)
  whole = Execution('d', {8: 8}, {8: WAYS[8]}, [CHOSEN.timings[1], infinite], True, {0: 4})
  execution.write(tmp_path, whole)
  text = (tmp_path / execution.FILE).read_text()
  json.loads(text, parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
  read = execution.read(tmp_path)
  assert read.timings == CHOSEN.timings[1:2] and read.fixed and read.parts == {0: 4}
  timer._write(tmp_path / 'timings.json', {'k': 1}, [infinite, CHOSEN.timings[1]])
  assert timer._read(tmp_path / 'timings.json', {'k': 1}) == CHOSEN.timings[1:2]
  assert timer._read(tmp_path / 'timings.json', {'k': 2}) == []


def test_timings_that_cannot_be_kept_stop_nothing(tmp_path, monkeypatch):
  def full(*_):
    raise OSError('No space left on device')

  monkeypatch.setattr(timer.records, 'write_json', full)
  timer._write(tmp_path / 'timings.json', {}, CHOSEN.timings)


class Line(nn.Module):
  width: int = 10

  @nn.compact
  def __call__(self, x):
    return nn.Dense(10)(jnp.tanh(nn.Dense(self.width)(x.reshape(len(x), -1))))


def test_timings_are_of_what_they_depend_on_and_of_nothing_else(monkeypatch):
  dataset = data.load(small_config().data, 0)

  def key(parts=own.CONFIGS, **keys):
    return timer._key(small_config(**keys), dataset, parts)

  plain = key()
  monkeypatch.setenv('XLA_FLAGS', f'{plain["flags"]} --xla_other')
  assert key() != plain
  monkeypatch.setenv('XLA_FLAGS', plain['flags'])
  for same in ({}, {'epochs': 9.0}, {'evaluations': 7}, {'micro_batch': 8}, {'seed': 3}):
    assert key(**same) == plain, same
  others = (
    *({'model__width': 13}, {'optimizer__name': 'adam'}, {'noise_scale__every': 7}),
    *({'batch_sizes': (8, 16)}, {'learning_rates': (0.1,)}, {'trials': 3}),
    *({'data__crop': 1}, {'data__flip': True}, {'execution__replicate': 'pmap'}),
    *({'execution__devices': 1}, {'execution__devices_per_lane': 2}),
    {'averaging__half_life': 9.0},
  )
  keys = [json.dumps(key(**other), sort_keys=True) for other in others]
  models = [own.Own(model=adapted(Line(width))) for width in (10, 11)]
  keys += [json.dumps(key(parts), sort_keys=True) for parts in models]
  assert len({json.dumps(plain, sort_keys=True), *keys}) == 1 + len(others) + 2


@pytest.mark.parametrize(
  ('per_block', 'hopeless', 'least', 'blocks'),
  [
    ([9.0, 4.0, 6.0, 5.0], math.inf, 4.0, [1, 1, 1, 1]),
    ([9.0, 4.0, 3.0, 5.0], math.inf, 3.0, [1, 1, 1, 1]),
    ([9.0, 0.1, 0.2, 0.05], math.inf, 0.05, [1, 1, 2, 2]),  # in a quarter of a second
    ([9.0, 4.0, 3.0, 5.0], 0.08, 4.0, [1, 1]),  # 4 ticks of 12 lanes: 0.083 s for one of a lane
    ([9.0, 4.0, 3.0, 5.0], 0.09, 3.0, [1, 1, 1, 1]),
  ],
)
def test_a_timing_is_the_least_of_three_behind_a_first_or_of_one_that_is_hopeless(
  per_block, hopeless, least, blocks, monkeypatch
):
  left, asked = list(per_block), []

  def timed(run, on_device, count):
    asked.append(count)
    return left.pop(0)

  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, 150).first
  monkeypatch.setattr(timer, '_timed', timed)
  monkeypatch.setattr(timer.memory, 'fit', lambda *_: None)
  monkeypatch.setattr(timer, 'Lanes', lambda *_: None)
  monkeypatch.setattr(timer.programs, 'build', lambda *_: None)
  on_device = object.__new__(timer.DeviceData)
  on_device.devices = np.array([[0]])
  way = STRATEGIES['vmap-native']
  found = timer.measure(config, dataset, study, study.groups[0], on_device, way, hopeless)
  assert found.seconds == least / 4 and asked == blocks
