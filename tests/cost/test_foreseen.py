"""Programs for accelerators that are not here: all lower; what is foreseen; what is said."""

import dataclasses
import os
import re
import subprocess
import sys

import jax
import pytest
from helpers.small import small_config

from bsjax import data, format
from bsjax.config.errors import ConfigError
from bsjax.cost import foreseen, targets
from bsjax.engine import arithmetic, fed_data
from bsjax.engine.strategies import STRATEGIES
from bsjax.models import convolution
from bsjax.plan import plan
from bsjax.report.text import foreseen as text
from bsjax.study import Study

GIVEN = {'model__name': 'cnn', 'noise_scale__exact_examples': 4}


@pytest.fixture(scope='module')
def foreseer():
  """Of a small CNN, with the devices at hand in place of those that are not."""
  config = small_config(**GIVEN)
  config.execution.replicate = 'shard_map'
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  target = targets.TARGETS['H100']
  return foreseen.Foreseer(config, dataset, study, target, jax.devices()[:1])


@pytest.mark.parametrize('name', ['vmap-im2col', 'map-native'])
def test_every_program_lowers_for_accelerators(foreseer, name):
  group = foreseer.study.groups[0]
  calls = foreseen.calls(foreseer, group, STRATEGIES[name])
  beside = {'init', 'evaluate', 'probe', 'begin_window', 'watch', 'copy', 'finite', 'choose'}
  assert set(calls) == {'train', *beside}
  for program in ('train', *sorted(beside)) if name == 'vmap-im2col' else ['train']:
    function, *arguments = calls[program]
    traced = function.trace(*arguments)
    for platform in ('cuda', 'tpu'):
      lowered = traced.lower(lowering_platforms=(platform,)).as_text()
      assert 'callback' not in lowered
      assert ('stablehlo.dot_general' in lowered) or program not in ('train', 'watch', 'evaluate')


@pytest.mark.parametrize('form', ['native', 'im2col', 'canonical', 'pallas'])
def test_arithmetic_of_a_convolution_and_its_gradients_is_the_same_in_every_form(form):
  images = jax.ShapeDtypeStruct((5, 2, 8, 8, 16), 'f4')
  kernel = jax.ShapeDtypeStruct((5, 3, 3, 16, 32), 'f4')

  def loss(images, kernel):
    convolved = convolution.conv(form)(
      images, kernel, (1, 1), 'SAME', dimension_numbers=convolution.LAYOUT
    )
    return (convolved**2).sum()

  def three_times(images, kernel):
    grads = jax.vmap(jax.grad(loss, (0, 1)))
    return jax.lax.scan(lambda operands, _: (grads(*operands), None), (images, kernel), length=3)

  forward = 2 * 5 * 2 * 8 * 8 * 9 * 16 * 32
  program = jax.make_jaxpr(three_times)(images, kernel).jaxpr
  assert arithmetic.flops(program) == 3 * 3 * forward


def test_devices_that_share_lanes_and_data_that_are_fed_are_foreseen(foreseer, monkeypatch):
  """A device computes its share, and holds a window instead of the data."""
  config = foreseer.config.copy_and_resolve_references()
  config.execution.devices_per_lane, config.execution.data = 2, 'host'
  dataset, devices = foreseer.dataset, jax.devices()[:2]
  monkeypatch.setattr(foreseen.targets, 'find', lambda name: (foreseer.target, devices))
  study = plan.make_plan(config, len(dataset.train))
  monkeypatch.setattr(fed_data, 'WINDOW_BYTES', 2 * 40 * (64 + 4))  # two trials, one block
  shared = foreseen.foreseer(config, dataset, study, 'H100')
  assert shared.devices.shape == (1, 2)
  flops, group = [], study.first.groups[0]
  for one in (foreseer, shared):
    function, *arguments = foreseen.calls(one, group, STRATEGIES['map-native'])['train']
    flops.append(arithmetic.flops(function.trace(*arguments).jaxpr.jaxpr))
  assert flops[1] == flops[0] / 2
  fed = fed_data.FedData(dataset, config, study.first)
  held, _ = fed.at(0)
  shapes = jax.tree.map(lambda x: (x.shape, x.dtype), held)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), arguments[2]) == shapes


@pytest.mark.parametrize('online', [True, False])
def test_arithmetic_of_a_tick_is_that_of_a_gradient_whether_noise_is_measured_or_not(online):
  """Of an MLP: each weight is multiplied twice, and those of later layers three times."""
  config = small_config(model__depth=2, noise_scale__online=online)
  config.execution.replicate = 'shard_map'
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  device, group = jax.devices()[:1], study.groups[0]
  of_study = foreseen.Foreseer(config, dataset, study, targets.TARGETS['H100'], device)
  function, *arguments = foreseen.calls(of_study, group, STRATEGIES['map-native'])['train']
  flops = arithmetic.flops(function.trace(*arguments).jaxpr.jaxpr)
  per_example = 2 * (2 * 64 * 12 + 3 * (12 * 12 + 12 * 10))
  examples = group.block_ticks * group.micro_batch * len(group.lanes)
  assert flops == per_example * examples


class Compiled:
  """What the compiler of an accelerator would give for so many lanes."""

  def __init__(self, lanes, gib_per_lane):
    self.temp_size_in_bytes = int(lanes * gib_per_lane * format.GIB)
    self.argument_size_in_bytes = self.output_size_in_bytes = 2**20
    self.alias_size_in_bytes = 2**20

  def memory_analysis(self):
    return self

  def as_text(self):
    return HLO


HLO = """ENTRY %main (x: f32[]) -> f32[] {
  ROOT %x = f32[] parameter(0)
}
"""


class Function:
  """A program that a stand-in for a compiler compiles, or has no room for."""

  def __init__(self, lanes, gib_per_lane, says_so):
    self.compiled, self.says_so = Compiled(lanes, gib_per_lane), says_so
    self.jaxpr = jax.make_jaxpr(lambda x: x)(0.0)

  def trace(self, *arguments):
    return self

  def lower(self, lowering_platforms):
    return self

  def compile(self):
    if self.says_so and self.compiled.temp_size_in_bytes > targets.TARGETS['v5e'].memory:
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm.')
    return self.compiled


@pytest.mark.parametrize('says_so', [True, False], ids=['compiler says so', 'memory says so'])
@pytest.mark.parametrize(
  ('how', 'gib_per_lane', 'parts', 'fits'),
  [
    ('vmap-native', 1.0, 1, True),
    ('vmap-native', 3.0, 4, True),
    ('vmap-native', 20.0, 12, False),  # not even one
    ('map-native', 3.0, 1, False),  # one at a time whatever the parts
  ],
)
def test_lanes_without_room_are_cut_into_parts(
  foreseer, monkeypatch, how, gib_per_lane, parts, fits, says_so
):
  states = foreseen.calls(foreseer, foreseer.study.groups[0], STRATEGIES['map-native'])['train'][1]

  def calls(_, group, strategy):
    return {'train': (Function(len(group.lanes), gib_per_lane, says_so), states)}

  monkeypatch.setattr(foreseen, 'calls', calls)
  v5e = dataclasses.replace(foreseer, target=targets.TARGETS['v5e'])
  row = v5e.row(foreseer.study.groups[0], STRATEGIES[how])
  assert (row['lanes'], row['parts'], row['fits']) == (12, parts, fits)
  text.table('cnn', 'v5e:2x2', [row])


def test_other_errors_of_a_compiler_are_raised(foreseer, monkeypatch):
  def fail(*_):
    raise jax.errors.JaxRuntimeError('INTERNAL: something else')

  monkeypatch.setattr(Function, 'compile', fail)
  monkeypatch.setattr(foreseen, 'calls', lambda *_: {'train': (Function(1, 1.0, False), None)})
  with pytest.raises(jax.errors.JaxRuntimeError, match='something else'):
    foreseer.part(foreseer.study.groups[0], STRATEGIES['map-native'])


@pytest.mark.parametrize(
  ('name', 'said'),
  [
    ('H300', r'H300 is unknown; choose H100, H200, v5e:2x2 or v6e:2x2'),
    ('H100:2x2', 'is unknown'),
    ('H100', r"JAX's plugin for CUDA must be installed: pip install 'bsjax\[compile-for\]'"),
    ('v5e:2x2', r"libtpu must be installed: pip install 'bsjax\[compile-for\]'"),
  ],
)
def test_what_is_missing_is_said_in_words(name, said, monkeypatch, tmp_path):
  monkeypatch.setattr(targets, '_installed', lambda platform: False)
  with pytest.raises(ConfigError, match=said):
    Study(small_config(), tmp_path / 'study').run(dry_run=True, target=name)
  assert not (tmp_path / 'study').exists()


def test_a_target_without_a_dry_run_is_refused(tmp_path):
  with pytest.raises(ConfigError, match='add --dry_run'):
    Study(small_config(), tmp_path / 'study').run(target='H100')


def test_peaks_follow_the_type_and_the_form():
  h100, v5e = targets.TARGETS['H100'], targets.TARGETS['v5e']
  native, pallas = STRATEGIES['vmap-native'], STRATEGIES['vmap-pallas']
  assert h100.peak('float32', native) < h100.peak('float32', pallas) < h100.peak('tf32', native)
  assert v5e.peak('bfloat16', native) == 6 * v5e.peak('float32', native) == 197e12


@pytest.mark.slow
@pytest.mark.parametrize('name', ['H200', 'v5e:2x2'])
@pytest.mark.parametrize('model', ['mlp', 'cnn'])
def test_models_compile_for_accelerators_that_are_not_here(name, model, tmp_path):
  """In a process of its own: a compiler that is loaded leaves its mark on all others."""
  if not targets._installed(targets.TARGETS[name.partition(':')[0]].platform):
    pytest.skip(f'there is no compiler for {name}: {targets.EXTRA}')
  code = f"""
from helpers.small import small_config
from bsjax.study import Study
config = small_config(model__name={model!r}, batch_sizes=(8, 16), execution__strategy='map-native')
Study(config, {str(tmp_path / 'study')!r}).run(dry_run=True, target={name!r})
"""
  environment = os.environ | {'PYTHONPATH': '.:tests', 'JAX_PLATFORMS': 'cpu', 'COLUMNS': '200'}
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, env=environment
  )
  assert done.returncode == 0, done.stderr
  row = next(line for line in done.stdout.splitlines() if line.startswith('│ map-native'))
  assert 'MiB' in row
  assert not re.search(r'│\s+0 ', row)  # kernels, bytes and arithmetic are all above 0
