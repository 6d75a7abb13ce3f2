"""Sums of a cost at their edges: what is held, what is free, rates and times, programs apart."""

import re
import types
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.cost import foreseen, hlo, memory, meter, run, targets, timing
from bsjax.data import Dataset
from bsjax.engine import arithmetic
from bsjax.engine.strategies import STRATEGIES
from bsjax.format import GIB
from bsjax.models import convolution
from bsjax.plan import plan, stages


def device(platform):
  return mock.Mock(spec=jax.Device, platform=platform)


def test_an_accelerator_that_tells_nothing_has_no_memory_that_is_known(monkeypatch):
  monkeypatch.setattr(memory, '_statistics', lambda _: {})
  assert memory.limit(device('gpu'), 0.0) is None and memory.free(device('gpu')) is None
  assert memory.limit(device('gpu'), 1.5) == 1.5 * GIB
  monkeypatch.setattr(memory, '_statistics', lambda _: {'bytes_limit': 100})
  assert memory.free(device('gpu')) == 100


def test_a_machine_without_proc_is_asked_for_its_pages(monkeypatch):
  def none(_):
    raise OSError

  monkeypatch.setattr(memory, '_statistics', lambda _: {})
  monkeypatch.setattr(Path, 'read_text', none)
  monkeypatch.setattr(memory.os, 'sysconf', {'SC_PHYS_PAGES': 1000, 'SC_PAGE_SIZE': 4096}.get)
  assert memory.limit(device('cpu'), 0.0) == 4_096_000 and memory.free(device('cpu')) is None


def bounded(total):
  return types.SimpleNamespace(limits=meter.Limits(device('cpu'), total, 5))


@pytest.mark.parametrize(
  'bound, free, why',
  [
    (100, 100, None),
    (None, None, None),
    (99, 200, r'^needs .* of .*: not run$'),
    (None, 99, r'are free at this moment: not run$'),
  ],
)
def test_a_step_that_takes_all_there_is_is_run(monkeypatch, bound, free, why):
  monkeypatch.setattr(memory, 'free', lambda _: free)
  said = meter.Meter._no_room(bounded(bound), 100)
  assert (said is None) == (why is None) and (why is None or re.search(why, said))


def test_throughput_is_the_median_with_the_range_of_rounds():
  own = timing.Timed({}, 8, mock.Mock(), rates=[5.0, 1.0, 9.0, 2.0, 8.5])
  assert own.throughput() == {'median': 5.0, 'low': 1.0, 'high': 9.0, 'n': 5}


def test_steps_of_stages_are_apart_where_their_program_is():
  config = small_config(batch_sizes=(8,), model__name='resnet8')
  changed = {
    **{'plain': {}, 'again': {'learning_rate_factor': 0.1, 'data_share': 0.5}},
    **{'head': {'trainable': ('Dense_0',)}, 'large': {'image_size': 16}},
    **{'cut': {'crop': 2}, 'turned': {'flip': 1}},
    'still': {'trainable': ('Dense_0',), 'frozen_batch_norm': 'update'},
  }
  for name, keys in changed.items():
    stages.add(config, name, epochs=1.0, **keys)
  programs = [run._program(one) for one in plan.make_plan(config, 160).stages]
  assert programs[0] == programs[1] and len(set(programs)) == len(changed) - 1


@pytest.mark.parametrize('strides', [(1, 1), (2, 2)])
def test_gradients_of_a_convolution_take_twice_what_it_takes_at_any_stride(strides):
  images, kernel = (
    jax.ShapeDtypeStruct((2, 8, 8, 16), 'f4'),
    jax.ShapeDtypeStruct((3, 3, 16, 32), 'f4'),
  )

  def loss(images, kernel):
    layout = convolution.LAYOUT
    return (
      convolution.conv('native')(images, kernel, strides, 'SAME', dimension_numbers=layout) ** 2
    ).sum()

  program = jax.make_jaxpr(jax.grad(loss, (0, 1)))(images, kernel).jaxpr
  out = 8 // strides[0]
  assert arithmetic.flops(program) == 3 * 2 * 2 * out * out * 9 * 16 * 32


def test_of_branches_the_cheapest_counts_and_of_loops_every_round():
  def rounds(x):
    def body(_, y):
      return jax.lax.cond(y.sum() > 0, lambda y: y @ y @ y, lambda y: y @ y, y)

    return jax.lax.scan(lambda y, _: (body(0, y), None), x, length=7)[0]

  program = jax.make_jaxpr(rounds)(jax.ShapeDtypeStruct((4, 4), 'f4')).jaxpr
  assert arithmetic.flops(program) == 7 * 2 * 4**3


LOOP = """%inner (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  ROOT %twice = f32[8]{0} add(%a, %a)
}

%other (o: f32[8]) -> f32[8] {
  %o = f32[8]{0} parameter(0)
  %one = f32[8]{0} add(%o, %o)
  ROOT %two = f32[8]{0} add(%one, %one)
}

%body (b: f32[8]) -> f32[8] {
  %b = f32[8]{0} parameter(0)
  %start = (f32[8]{0}, f32[8]{0}) copy-start(%b)
  %done = f32[8]{0} copy-done(%start)
  %called = f32[8]{0} call(%done), to_apply=%inner
  %flag = pred[] constant(true)
  ROOT %c = f32[8]{0} conditional(%flag, %called, %called), BRANCHES
}

%two_bounds (t: f32[8]) -> pred[] {
  %t = f32[8]{0} parameter(0)
  %three = s32[] constant(3)
  %five = s32[] constant(5)
  ROOT %less = pred[] compare(%three, %five), direction=LT
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  ROOT %loop = f32[8]{0} while(%x), condition=%two_bounds, body=%body
}
"""
LOOP = LOOP.replace('BRANCHES', 'true_computation=%inner, false_computation=%other')


def test_what_ends_a_copy_is_none_and_what_is_called_counts():
  """A copy, a call, a branch, the comparison: two bounds tell no number of rounds."""
  assert (hlo.work(LOOP).kernels, hlo.work(LOOP, max).kernels) == (4, 5)
  copied = (32 + 32) + 32  # what was copied is the array and its copy
  assert hlo.work(LOOP).bytes == copied + 2 * (32 + 32) + (4 + 4 + 1)


def test_peaks_and_memories_are_those_that_are_published():
  h100, h200, v5e = (targets.TARGETS[name] for name in ('H100', 'H200', 'v5e'))
  native, pallas = STRATEGIES['vmap-native'], STRATEGIES['vmap-pallas']
  assert h100.peak('float32', pallas) == 494.7e12 / 3 and h100.peak('bfloat16', pallas) == 989.4e12
  assert v5e.peak('float32', pallas) == pytest.approx(197e12 / 9)
  assert v5e.peak('float32', native) == pytest.approx(197e12 / 6)
  assert (h200.memory, v5e.memory) == (int(0.75 * 151397597184), 15.75 * GIB)
  assert (h200.bandwidth, v5e.launch_seconds, h100.launch_seconds) == (4.8e12, 0.0, 2.5e-6)


def foreseer(**changed):
  own = mock.Mock(spec=foreseen.Foreseer, **changed)
  own.target, own.config = targets.TARGETS['H100'], small_config()
  return own


def test_a_tick_takes_as_long_as_the_slowest_of_three():
  work = hlo.Work(kernels=1000, bytes=6.7e9)
  found = foreseen.Foreseer._times(foreseer(), 66.9e9, work, STRATEGIES['map-native'])
  assert found['seconds'] == pytest.approx({'arithmetic': 1e-3, 'memory': 2e-3, 'launches': 2.5e-3})
  assert found['roofline_seconds'] == pytest.approx(2.5e-3)


def test_a_device_holds_arguments_outputs_temporaries_a_copy_and_the_data_beside():
  stated = mock.Mock(argument_size_in_bytes=1000, temp_size_in_bytes=200, output_size_in_bytes=700)
  stated.alias_size_in_bytes = 600
  states = mock.Mock()
  states.replace.return_value = {'params': np.zeros(8, 'f4'), 'count': np.zeros(2, 'i1')}
  own = foreseer(devices=[1, 2])
  own._beside.return_value = 50
  compiled = mock.Mock(**{'memory_analysis.return_value': stated})
  found = foreseen.Foreseer._memory(own, compiled, states)
  copy = (4 * 8 + 2) // 2
  assert found == {
    'total': 1000 + 100 + 200 + copy + 50, 'arguments': 1000, 'temporaries': 200, 'copy': copy
  }  # fmt: skip
  states.replace.assert_called_with(grad_sum=())


@pytest.mark.parametrize(
  'total, temporaries, times', [(None, 0, 2), (90, 80, 2), (90, 40, 2), (290, 280, 8), (120, 5, 2)]
)
def test_parts_are_halved_until_their_temporaries_have_room(total, temporaries, times):
  own = foreseer()
  own.target = mock.Mock(memory=50)
  held = None if total is None else {'total': total, 'temporaries': temporaries}
  assert foreseen.Foreseer._factor(own, held) == times


def test_what_is_foreseen_is_for_as_many_devices_as_the_study_takes(monkeypatch):
  devices, grids = [object(), object(), object()], []
  monkeypatch.setattr(targets, 'find', lambda name: (targets.TARGETS['v5e'], devices))
  monkeypatch.setattr(
    foreseen.device_data, 'grid', lambda config, first, used: grids.append(used) or 'grid'
  )
  monkeypatch.setattr(foreseen, 'Foreseer', lambda *given: given)
  for count in (0, 2):
    config = small_config(execution__devices=count, execution__replicate='pmap')
    given = foreseen.foreseer.__wrapped__(config, mock.Mock(spec=Dataset), mock.Mock(), 'v5e:2x2')
    assert given[0].execution.replicate == 'shard_map' and given[4] == 'grid'
  assert grids == [devices, devices[:2]] and config.execution.replicate == 'pmap'


def test_a_tpu_without_a_number_of_chips_has_four(monkeypatch):
  asked = {}

  def described(platform, **given):
    asked.update(given, platform=platform)
    return types.SimpleNamespace(devices=(1, 2))

  from jax.experimental import topologies

  monkeypatch.setattr(targets, '_installed', lambda _: True)
  monkeypatch.setattr(topologies, 'get_topology_desc', described)
  assert targets.find('v5e')[1] == [1, 2] and asked['topology_name'] == 'v5e:2x2'
  targets.find('v6e:4x4')
  assert asked == {'topology_name': 'v6e:4x4', 'platform': 'tpu'}
  targets.find('H100')
  assert 'NVIDIA H100' in asked['target_config'] and asked['platform'] == 'cuda'

  def fail(platform, **given):
    raise RuntimeError('no\n such  topology')

  monkeypatch.setattr(topologies, 'get_topology_desc', fail)
  with pytest.raises(ConfigError, match=r'no compiler for v5e:9x9 \(no such topology\)'):
    targets.find('v5e:9x9')
