"""The choice of strategy and micro-batches: what is timed, chosen, remembered and kept."""

import collections
import dataclasses
import functools
from unittest import mock

import jax
import numpy as np
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.autotune import execution, guess, timer
from bsjax.autotune.grouping import Timing
from bsjax.engine import device_lanes, programs, stage_lanes, strategies
from bsjax.engine.device_data import DeviceData
from bsjax.engine.strategies import STRATEGIES
from bsjax.plan import plan, stages
from bsjax.storage import records


@pytest.fixture
def clocked(monkeypatch):
  """Puts made-up seconds per lane and tick in place of timing; gives what was timed."""
  calls = []

  def install(seconds, start=0.0):
    def measure(config, dataset, study, group, on_device, chosen, hopeless, *_):
      calls.append((group.micro_batch, chosen.name))
      return Timing(
        group.micro_batch, chosen.name, 1, seconds[chosen.name, group.micro_batch], start
      )

    monkeypatch.setattr(timer, 'measure', measure)
    monkeypatch.setattr(timer, 'SHORT', 0.0)
    return calls

  return install


def choose(config, folder, recorded=None):
  dataset = data.load(config.data, config.seed)
  study_plan = plan.make_plan(config, len(dataset.train.labels))
  return execution.choose(config, dataset, study_plan, recorded, lambda sentence: None, folder)


def auto_config(**keys):
  return small_config(execution__strategy='auto', **keys)


def test_ways_side_by_side_are_timed_where_some_device_has_two_lanes(clocked, tmp_path):
  """Three lanes on two devices: the fuller one decides."""
  calls = clocked(collections.defaultdict(lambda: 2.0, {('vmap-im2col', 8): 1.0}))
  for trials, side_by_side in (2, False), (3, True):
    keys = {'batch_sizes': (8,), 'learning_rates': (0.1,), 'micro_batch': 8}
    chosen = choose(auto_config(**keys, trials=trials, execution__devices=2), tmp_path)
    assert ((8, 'vmap-im2col') in calls) == side_by_side
    assert chosen.strategies[8].name == ('vmap-im2col' if side_by_side else 'map-canonical')


def test_the_fastest_strategy_is_taken_remembered_and_recorded(clocked, tmp_path):
  calls = clocked({('map-canonical', 8): 2.0, ('vmap-im2col', 8): 1.0})
  chosen = choose(auto_config(), tmp_path)
  assert chosen.strategies == {8: STRATEGIES['vmap-im2col']}
  assert calls == [(8, 'map-canonical'), (8, 'vmap-im2col')]
  assert choose(auto_config(), tmp_path) == chosen  # from the disk
  assert len(calls) == 2
  choose(auto_config(model__width=13), tmp_path)  # another model
  assert len(calls) == 4
  execution.write(tmp_path, chosen)
  assert execution.read(tmp_path) == chosen
  assert execution.read(tmp_path / 'nothing') is None
  assert 'micro-batch 8, vmap-im2col, 1e+03 ms' in chosen.lines()[0]


def test_total_time_is_that_of_the_chosen_strategy_or_not_timed(clocked, tmp_path):
  """12 lanes of 288 examples in ticks of 8; on D devices they take ceil(12 / D) turns."""
  config = auto_config()
  study_plan = plan.make_plan(config, 150)
  clocked({('map-canonical', 8): 2.0, ('vmap-im2col', 8): 1.0}, start=5.0)
  chosen = choose(config, tmp_path)
  devices = jax.local_device_count()
  turns = -(-len(study_plan.lanes) // devices)  # one lane was timed, alone on a device
  ticks = study_plan.total_examples / 8
  assert execution.training_seconds(config, study_plan, chosen) == 5.0 + ticks * turns
  fixed = small_config()
  known = choose(fixed, tmp_path)  # from the timings of the other study
  assert execution.training_seconds(fixed, study_plan, known) == 5.0 + 2.0 * ticks * turns
  untimed = choose(fixed, tmp_path / 'no timings')
  assert execution.training_seconds(fixed, study_plan, untimed) is None


def test_damaged_timings_are_taken_again(clocked, tmp_path):
  calls = clocked({('map-canonical', 8): 2.0, ('vmap-im2col', 8): 1.0})
  choose(auto_config(), tmp_path)
  (path,) = tmp_path.iterdir()
  for text in ('', '{"timings": 3}', path.read_text().replace('"key"', '"kex"')):
    path.write_text(text)
    calls.clear()
    assert choose(auto_config(), tmp_path).strategies == {8: STRATEGIES['vmap-im2col']}
    assert len(calls) == 2


@pytest.mark.parametrize('start, timed', [(200.0, 2), (300.0, 1)])
def test_a_study_shorter_than_a_start_or_two_is_not_held_up(start, timed, clocked, tmp_path):
  """12 lanes of 36 ticks of a second each are 432 seconds."""
  calls = clocked({('map-canonical', 8): 1.0, ('vmap-im2col', 8): 0.5}, start)
  for _ in range(2):
    choose(auto_config(), tmp_path)
    assert len(calls) == timed


@pytest.mark.parametrize('short, timed', [(5.0, 2), (6.0, 0)])
def test_a_short_study_begins_at_once_as_is_usual(short, timed, clocked, tmp_path, monkeypatch):
  """A guess of 5 seconds; what others have timed before serves it all the same."""
  calls = clocked({('map-canonical', 8): 1.0, ('vmap-im2col', 8): 0.5})
  monkeypatch.setattr(timer, 'SHORT', short)
  monkeypatch.setattr(guess, 'seconds', lambda *_: 5.0)
  chosen = choose(auto_config(), tmp_path)
  assert len(calls) == timed and len(chosen.timings) == timed
  assert chosen.strategies[8].name == ('vmap-im2col' if timed else 'map-canonical')
  assert set(chosen.micro_batches.values()) == {8}
  monkeypatch.setattr(timer, 'SHORT', 0.0)
  choose(auto_config(), tmp_path)
  monkeypatch.setattr(timer, 'SHORT', 6.0)
  assert choose(auto_config(), tmp_path).strategies[8].name == 'vmap-im2col'


def test_only_on_a_cpu_is_a_study_taken_for_short(clocked, tmp_path, monkeypatch):
  clocked({})
  monkeypatch.setattr(timer, 'SHORT', 1e9)
  config = auto_config()
  study = config, data.load(config.data, config.seed), plan.make_plan(config, 150)
  assert not timer.Timer(*study, print, tmp_path).pays(8, 12)
  monkeypatch.setattr(timer, 'devices', lambda _: [mock.Mock(platform='gpu', device_kind='')])
  assert timer.Timer(*study, print, tmp_path).pays(8, 12)


def test_nothing_is_timed_where_all_is_fixed(clocked, tmp_path):
  calls = clocked({})
  chosen = choose(small_config(execution__strategy='vmap-native'), tmp_path)
  assert chosen.strategies == {8: STRATEGIES['vmap-native']}
  assert calls == []


def test_large_batches_tick_at_what_is_faster(clocked, tmp_path):
  seconds = {('map-canonical', 8): 1.0, ('map-canonical', 32): 1.1, ('vmap-im2col', 8): 2.0}
  seconds |= {('map-canonical', 16): 1.4, ('vmap-im2col', 16): 2.0}
  clocked(seconds | {('vmap-im2col', 32): 1.0})
  keys = {'batch_sizes': (8, 128), 'epochs': 10.0, 'trials': 5}
  chosen = choose(auto_config(**keys), tmp_path)
  assert chosen.micro_batches == {8: 8, 128: 32}
  assert chosen.strategies == {8: STRATEGIES['map-canonical'], 32: STRATEGIES['vmap-im2col']}
  # What BatchNorm sees must not depend on a race, nor what the user has fixed.
  normed = choose(auto_config(**keys, model__normalization='batch'), tmp_path)
  fixed = choose(auto_config(**keys, micro_batch=8), tmp_path)
  assert normed.micro_batches == fixed.micro_batches == {8: 8, 128: 8}


def test_other_micro_batches_are_timed_with_the_ways_that_led_at_the_common_one(clocked, tmp_path):
  seconds = {'map-canonical': 3.0, 'map-im2col': 1.0, 'vmap-im2col': 2.0}
  calls = clocked({(name, micro): seconds[name] for name in seconds for micro in (8, 16, 32)})
  keys = {'batch_sizes': (8, 128), 'epochs': 10.0, 'trials': 5, 'model__name': 'cnn'}
  choose(auto_config(**keys), tmp_path)
  timed = [{name for at, name in calls if at == micro} for micro in (8, 16)]
  assert timed == [set(seconds), {'map-im2col', 'vmap-im2col'}]


def test_on_a_cpu_the_first_micro_batch_that_is_no_faster_is_the_last_that_is_timed(
  clocked, tmp_path
):
  ticks = {8: 1.0, 16: 1.5, 32: 3.0, 64: 1.0}  # by the example 16 is best, 32 as good, 64 untried
  calls = clocked({(name, m): t for m, t in ticks.items() for name in ('map-canonical',)})
  keys = {'batch_sizes': (8, 256), 'epochs': 100.0, 'execution__strategy': 'map-canonical'}
  chosen = choose(small_config(**keys), tmp_path)
  assert [micro for micro, _ in calls] == [8, 16, 32]
  assert chosen.micro_batches == {8: 8, 256: 16}


def test_timing_many_micro_batches_must_pay_too(clocked, tmp_path):
  """64 lane-ticks of a second are worth two starts of 11 s twice over, but not three."""
  calls = clocked({('map-canonical', m): m / 8 * (1 - m / 1000) for m in (8, 16, 32, 64)}, 11.0)
  keys = {'batch_sizes': (8, 256), 'learning_rates': (0.1,), 'trials': 1, 'epochs': 1.75}
  choose(small_config(**keys, execution__strategy='map-canonical'), tmp_path)
  assert [micro for micro, _ in calls] == [8, 16, 32]


def test_micro_batches_are_not_chosen_where_batch_sizes_will_change(clocked, tmp_path):
  """Lanes of 256 end with 16, which a micro-batch of 32 does not divide."""
  calls = clocked({('map-canonical', m): 1.0 for m in (8, 16, 32, 64)})
  keys = {'batch_sizes': (16, 256), 'epochs': 100.0, 'execution__strategy': 'map-canonical'}
  config = small_config(**keys)
  stages.add(config, 'a', epochs=50.0, batch_size=('keep',))
  stages.add(config, 'b', epochs=50.0, batch_size=('multiply:0.0625',))
  assert set(choose(config, tmp_path).micro_batches.values()) == {1}
  assert not calls
  config.stages.order = ('a',)
  assert choose(config, tmp_path / 'one').micro_batches == {16: 16, 256: 64}


def test_a_study_keeps_its_micro_batches_and_on_its_devices_its_strategies(clocked, tmp_path):
  calls = clocked({('map-canonical', 8): 2.0, ('vmap-im2col', 8): 1.0})
  recorded = execution.Execution(
    choose(small_config(), tmp_path).device, {8: 4, 16: 8}, {4: STRATEGIES['vmap-native']}, []
  )
  assert choose(auto_config(), tmp_path, recorded) is recorded
  assert calls == []
  elsewhere = dataclasses.replace(recorded, device='1 x H200', micro_batches={8: 8, 16: 8, 32: 8})
  chosen = choose(auto_config(), tmp_path, elsewhere)
  assert chosen.strategies == {8: STRATEGIES['vmap-im2col']}
  assert chosen.micro_batches == elsewhere.micro_batches
  fixed = choose(small_config(execution__strategy='map-im2col'), tmp_path, elsewhere)
  assert fixed.strategies == {8: STRATEGIES['map-im2col']}
  # What was found by running out of memory holds on the same devices, whatever the strategy.
  cut = dataclasses.replace(recorded, micro_batches={8: 8, 16: 8, 32: 8}, parts={0: 4})
  config = small_config(execution__strategy='map-im2col')
  assert choose(config, tmp_path, cut).parts == {0: 4}
  assert choose(config, tmp_path, dataclasses.replace(cut, device='1 x H200')).parts == {}


def test_a_strategy_that_was_fixed_is_chosen_anew_once_it_is_no_longer(clocked, tmp_path):
  """Nobody has timed whether what the config named is the fastest there is."""
  clocked({('map-canonical', 8): 2.0, ('vmap-im2col', 8): 1.0})
  fixed = choose(small_config(execution__strategy='map-canonical'), tmp_path)
  assert fixed.fixed and fixed.strategies == {8: STRATEGIES['map-canonical']}
  chosen = choose(auto_config(), tmp_path, fixed)
  assert not chosen.fixed and chosen.strategies == {8: STRATEGIES['vmap-im2col']}
  assert chosen.micro_batches == fixed.micro_batches


def test_a_study_without_a_record_of_it_keeps_the_micro_batches_of_its_plan(clocked, tmp_path):
  clocked({('map-canonical', 4): 1.0, ('vmap-im2col', 4): 2.0})
  study = plan.make_plan(small_config(), 150, {8: 4, 16: 4, 32: 4})
  records.write_plan(tmp_path / 'plan.csv', plan.lane_rows(study))
  assert execution.read(tmp_path) is None  # nobody's plan: written before there was a study
  (tmp_path / 'config.json').write_text('{}')
  chosen = choose(auto_config(), tmp_path / 'timings', execution.read(tmp_path))
  assert chosen.micro_batches == {8: 4, 16: 4, 32: 4}
  assert chosen.strategies == {4: STRATEGIES['map-canonical']}


def test_real_timings_tell_a_slow_strategy_from_a_fast_one(monkeypatch):
  """A tick made slow by a thousand matrix products takes longer, by the calibration's own clock."""
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, 150).first
  on_device = DeviceData(dataset, config, study)
  measure = functools.partial(timer.measure, config, dataset, study, study.groups[0], on_device)
  plain = measure(STRATEGIES['map-canonical'])
  tick = programs.tick

  def slow_tick(spec, any_lane, state, *rest):
    ones = np.ones((64, 64), np.float32) + 1e-9 * state.updates
    work = jax.lax.fori_loop(0, 1000, lambda _, x: x @ x / 64, ones)
    return tick(spec, any_lane, state.replace(count=state.count + (work[0, 0] > 2)), *rest)

  monkeypatch.setattr(programs, 'tick', slow_tick)
  slow = measure(STRATEGIES['map-canonical'])
  assert 0 < plain.seconds < slow.seconds / 3
  assert plain.start_seconds > plain.seconds
  assert plain.lanes == 6 or plain.lanes == 12


def test_lanes_that_are_timed_leave_no_seat_idle(monkeypatch):
  """Five lanes on two devices would take as long as six, and each would seem slower than it is."""
  monkeypatch.setattr(timer, '_timed', lambda *_: 1e9)
  monkeypatch.setattr(timer.memory, 'fit', lambda *_: None)
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, 150).first
  on_device = DeviceData(dataset, config, study)
  counted = {}
  for lanes in (1, 3, 10, 12):
    group = dataclasses.replace(study.groups[0], lanes=study.groups[0].lanes[:lanes])
    way = STRATEGIES['map-canonical']
    counted[lanes] = timer.measure(config, dataset, study, group, on_device, way).lanes
  assert counted == {1: 1, 3: 2, 10: 4, 12: 6}


def test_a_start_counts_what_the_program_takes_to_compile_wherever_that_happens(monkeypatch):
  """Where a device tells its memory, the program is compiled while it is fitted into it."""
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, 150).first
  clock = [0.0]
  monkeypatch.setattr(timer, 'now', lambda: clock[0])

  def fit(*_):
    clock[0] += 100.0

  def timed(run, on_device, blocks):
    clock[0] += 3.0
    return 3.0

  monkeypatch.setattr(timer.memory, 'fit', fit)
  monkeypatch.setattr(timer, '_timed', timed)
  on_device = DeviceData(dataset, config, study)
  way = STRATEGIES['vmap-native']
  timing = timer.measure(config, dataset, study, study.groups[0], on_device, way)
  assert timing.start_seconds == 103.0
  assert timing.seconds == 3.0 / 4  # a block is of four ticks


def test_a_strategy_without_room_is_never_taken(monkeypatch):
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, 150).first
  on_device = DeviceData(dataset, config, study)

  def advance(*_):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')

  monkeypatch.setattr(device_lanes.Lanes, 'advance', advance)
  found = timer.measure(
    config, dataset, study, study.groups[0], on_device, STRATEGIES['vmap-native']
  )
  assert found.seconds == np.inf


def test_candidates_are_what_suits_a_platform():
  def names(*arguments):
    return [s.name for s in strategies.candidates(*arguments)]

  assert names('cpu', True, 50) == ['map-canonical', 'map-im2col', 'vmap-im2col']
  assert names('cpu', False, 50) == ['map-canonical', 'vmap-im2col']
  assert names('cpu', True, 2)[-1] == 'unrolled-canonical'
  assert names('cpu', False, 1) == ['map-canonical']
  assert names('tpu', True, 100) == ['vmap-native', 'vmap-im2col', 'map-native']
  assert names('tpu', False, 8) == ['vmap-native', 'map-native', 'unrolled-native']
  assert names('nvidia', True, 100) == ['vmap-pallas', 'vmap-im2col', 'map-native']
  assert names('nvidia', False, 8) == ['vmap-pallas', 'map-native', 'unrolled-native']
  assert set(names('gpu', True, 8) + names('cpu', True, 2)) <= set(STRATEGIES)


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native'])
def test_lanes_in_turns_are_the_same_lanes(how):
  config = small_config(execution__strategy=how)
  _, (whole,), _ = trained(config)
  dataset = data.load(config.data, config.seed)
  stage_plan = plan.make_plan(config, 150).first
  (parts,) = stage_lanes.create(config, dataset, stage_plan)
  on_device = DeviceData(dataset, config, stage_plan)
  assert parts.split() and parts.split()
  assert [len(np.unique(part.order)) for part in parts.parts] == [3, 3, 3, 3]
  parts.advance(on_device, 99)
  assert parts.position == whole.position
  same = 0 if how == 'map-canonical' else 1e-5
  assert largest_difference(parts.to_host().params, whole.to_host().params) <= same
  looks = [vars(group.evaluate(on_device)()) for group in (parts, whole)]
  for a, b in zip(*map(jax.tree.leaves, looks), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
  while parts.split():
    pass
  assert len(parts.parts) == 12 // 2 or all(p.order.shape[1] == 1 for p in parts.parts)
