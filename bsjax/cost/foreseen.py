"""What a study would take on an accelerator that is not here, from its compiler alone."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax import models
from bsjax.cost import hlo, targets
from bsjax.cost.memory import tree_bytes
from bsjax.cost.targets import Target
from bsjax.data import Dataset, windows
from bsjax.engine import arithmetic, device_axis, device_data, fed_data, memory, programs, seats
from bsjax.engine.device_axis import AXIS, Devices
from bsjax.engine.device_data import DeviceSplit, reach
from bsjax.engine.lanes import Source, shapes_of
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.programs import Programs
from bsjax.engine.spec import lane_spec
from bsjax.engine.strategies import STRATEGIES, Strategy, candidates, kind
from bsjax.plan.lanes import Group, StagePlan, StudyPlan

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Foreseer:
  """Compiles the groups of the first stage of a study for devices that are not here."""

  config: ConfigDict
  dataset: Dataset
  study: StagePlan
  target: Target
  devices: Devices
  own: Own = CONFIGS

  def rows(self, names: Sequence[str] = (), say: Callable[[str], None] = print) -> list[Row]:
    """Returns what each strategy of each group takes; those that are worth timing, or `names`.

    Bytes, kernels, arithmetic and times are those of a device, the last three of a tick of all its
    lanes; where these are cut into parts, of a tick of one part.
    """
    rows = []
    for group in self.study.groups:
      for strategy in self._strategies(group, names):
        say(f'Compiling {strategy.name} at micro-batch {group.micro_batch} ...')
        rows.append(self.row(group, strategy))
    return rows

  def row(self, group: Group, strategy: Strategy) -> Row:
    """Returns what a group takes, cut into as few parts as have room on a device."""
    sizes = sorted({lane.batch_size for lane in group.lanes})
    known = {
      'micro_batch': group.micro_batch,
      'batch_sizes': sizes,
      'lanes': len(group.lanes),
      'devices': min(len(self.devices), len(group.lanes)) * device_axis.shares(self.devices),
      'strategy': strategy.name,
    }
    begun, parts = time.perf_counter(), 1
    while True:
      lanes = group.lanes[: -(-len(group.lanes) // parts)]
      measured = self.part(dataclasses.replace(group, lanes=lanes), strategy)
      alone = strategy.vectorize == 'map' or len(lanes) <= len(self.devices)
      if measured['fits'] or alone:
        seconds = round(time.perf_counter() - begun, 1)
        return known | {'parts': parts} | measured | {'compile_seconds': seconds}
      parts = min(parts * self._factor(measured['memory_bytes']), len(group.lanes))

  def _factor(self, held: Row | None) -> int:
    """How often parts are to be halved, by what they take; once where that is not known."""
    if held is None:
      return 2
    room = self.target.memory - held['total'] + held['temporaries']
    halves = math.ceil(math.log2(held['temporaries'] / room)) if room > 0 else 1
    return 2 ** max(1, halves)

  def part(self, group: Group, strategy: Strategy) -> Row:
    """Returns what lanes take that run in one call of a program."""
    function, states, *rest = calls(self, group, strategy)['train']
    traced = function.trace(states, *rest)
    try:
      compiled = traced.lower(lowering_platforms=(self.target.platform,)).compile()
    except jax.errors.JaxRuntimeError as error:
      if not memory.out_of_memory(error):
        raise
      return {'fits': False, 'memory_bytes': None}
    held = self._memory(compiled, states)
    ticks, text = group.block_ticks, compiled.as_text()
    least, most = (hlo.work(text, branch) * (1 / ticks) for branch in (min, max))
    flops = arithmetic.flops(traced.jaxpr.jaxpr) / ticks
    return {
      'fits': held['total'] <= self.target.memory,
      'memory_bytes': held,
      'flops': flops,
      'bytes': least.bytes,
      'kernels': [least.kernels, most.kernels],
    } | self._times(flops, least, strategy)

  def _memory(self, compiled: Any, states: PyTree) -> dict[str, int]:
    """Bytes on a device, with the copy of states that stays while they are trained."""
    stated, count = compiled.memory_analysis(), len(self.devices)
    arguments, temporaries = stated.argument_size_in_bytes, stated.temp_size_in_bytes
    outputs = stated.output_size_in_bytes - stated.alias_size_in_bytes
    copy = tree_bytes(states.replace(grad_sum=())) // count
    total = arguments + outputs + temporaries + copy + self._beside()
    return {'total': total, 'arguments': arguments, 'temporaries': temporaries, 'copy': copy}

  @property
  def fed(self) -> bool:
    """Whether the data would stay on the host."""
    return fed_data.is_fed(self.config, self.dataset, self.target.memory)

  def _beside(self) -> int:
    """Bytes of data on a device while it trains, besides those that it trains on."""
    if not self.fed:
      return tree_bytes(self.dataset.validation.images)
    examples = self.config.trials * _span(self).reach  # of the next window
    return examples * windows.example_bytes(self.dataset.train)

  def _times(self, flops: float, work: hlo.Work, strategy: Strategy) -> Row:
    """Seconds that a tick takes at least: arithmetic, memory and launches at the device's peaks."""
    times = {
      'arithmetic': flops / self.target.peak(self.config.model.dtype, strategy),
      'memory': work.bytes / self.target.bandwidth,
      'launches': work.kernels * self.target.launch_seconds,
    }
    return {'seconds': times, 'roofline_seconds': max(times.values())}

  def _strategies(self, group: Group, names: Sequence[str]) -> list[Strategy]:
    if self.config.execution.strategy != 'auto':
      names = [self.config.execution.strategy]
    if names:
      return [STRATEGIES[name] for name in names]
    convolves = self.own.model is None and models.MODELS[self.config.model.name].convolves
    fullest = -(-len(group.lanes) // len(self.devices))
    return candidates(kind(np.ravel(self.devices)[0]), convolves, fullest)


def foreseer(
  config: ConfigDict,
  dataset: Dataset,
  study_plan: StudyPlan,
  name: str,
  own: Own = CONFIGS,
) -> Foreseer:
  """Returns what compiles the first stage of a plan for a target, such as 'v5e:2x2'.

  It is compiled for as many of its devices as the study would use. Raises ConfigError where there
  is no compiler for it.
  """
  target, devices = targets.find(name)
  first = study_plan.first
  used = device_data.grid(config, first, devices[: config.execution.devices or None])
  config = config.copy_and_resolve_references()
  config.execution.replicate = 'shard_map'  # whose arguments may be shapes
  return Foreseer(config, dataset, first, target, used, own)


def calls(foreseer: Foreseer, group: Group, strategy: Strategy) -> dict[str, tuple[Any, ...]]:
  """Returns the programs of the lanes of a group by name, each with the shapes that it takes."""
  functions, states, lane_params, rows = _lanes(foreseer, group, strategy)
  source, number = _source(foreseer), _shape(foreseer, np.int32(0), shared=True)
  training = states, lane_params, source, number, number
  train, validation = (
    DeviceSplit(*(_on_all(foreseer, x) for x in (split.images, split.labels)))
    for split in (foreseer.dataset.train, foreseer.dataset.validation)
  )
  flags = _shape(foreseer, np.zeros(lane_params.trial.shape, bool))
  programs_of_lanes = {
    'train': (functions.train(rows), *training),
    'watch': (functions.watch(rows), *training),
    'init': (functions.init, lane_params, lane_params),
    'evaluate': (functions.evaluate, states, lane_params, train, validation),
    'begin_window': (functions.begin_window, states.noise, states.updates),
    'copy': (functions.copy, states),
    'finite': (functions.finite, states),
    'choose': (functions.choose, flags, states, states),
  }
  if functions.probed:
    programs_of_lanes['probe'] = (functions.probe, states, lane_params, train, number)
  return programs_of_lanes


def _lanes(
  foreseer: Foreseer, group: Group, strategy: Strategy
) -> tuple[Programs, PyTree, Any, int]:
  """The programs of lanes, the shapes of states and of what makes lanes themselves, and rows."""
  config, dataset = foreseer.config, foreseer.dataset
  devices = foreseer.devices
  spec = lane_spec(config, dataset, foreseer.study, group, strategy, foreseer.own)
  shape, ticks = dataset.image_shape, group.block_ticks
  functions = programs.build(spec, strategy, config, shape, ticks, devices)
  of_lanes = seats.params_of(group)
  order, rows = seats.seating(strategy, of_lanes.trial, len(devices))
  lane_params = jax.tree.map(lambda x: _shape(foreseer, x[order]), of_lanes)
  states = jax.eval_shape(functions.init, lane_params, lane_params)
  return functions, jax.tree.map(lambda x: _shape(foreseer, x), states), lane_params, rows


def _source(foreseer: Foreseer) -> Source:
  study, train, trials = foreseer.study, foreseer.dataset.train, foreseer.config.trials
  examples, length, read = (train.images, train.labels), study.train_examples, reach(study)
  if foreseer.fed:
    length, read = _span(foreseer)
    examples = shapes_of(examples, trials * read)
  orders = jax.ShapeDtypeStruct((trials, windows.epochs(length, read), length), np.int32)
  held = (*examples, orders, jax.ShapeDtypeStruct((), np.int32))
  return Source(*(_on_all(foreseer, tree) for tree in held))


def _span(foreseer: Foreseer) -> fed_data.Span:
  """The windows of data that are fed from the host."""
  study = foreseer.config, foreseer.dataset, foreseer.study
  return fed_data.span(*study, foreseer.target.memory)


def _on_all(foreseer: Foreseer, tree: PyTree) -> PyTree:
  """The shapes of arrays of which every device has a copy."""
  count = len(foreseer.devices)
  return jax.tree.map(
    lambda x: _shape(foreseer, jax.ShapeDtypeStruct((count, *x.shape), x.dtype)), tree
  )


def _shape(foreseer: Foreseer, array: Any, shared: bool = False) -> jax.ShapeDtypeStruct:
  """An array's shape, with a row for each device, or the same on all."""
  spec = PartitionSpec() if shared else PartitionSpec(AXIS)
  sharding = NamedSharding(device_axis.mesh(foreseer.devices), spec)
  return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
