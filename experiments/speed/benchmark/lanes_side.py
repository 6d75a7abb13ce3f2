"""All settings as lanes of bsjax's programs: the only file here that knows how they are driven."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from benchmark import jax_loop
from benchmark.jax_loop import Run, Sample, evaluator
from benchmark.protocol import Budget
from benchmark.works import Setting, Work
from bsjax import models
from bsjax.autotune import execution
from bsjax.autotune.execution import Execution
from bsjax.engine import device_lanes, stage_lanes, strategies
from bsjax.engine.device_axis import devices
from bsjax.engine.device_data import DeviceData
from bsjax.plan import plan

# Works are cut short to be measured often; how they run is chosen as for studies of usual length,
# in which compiling another program pays.
LONGER = 100
FEW_STEPS = 32  # of hundreds of lanes, on an accelerator


def lanes(work: Work, how: Execution) -> Run:
  """All settings as lanes that run as chosen."""
  groups, on_device = programs(work, how)
  initial = [group.to_host() for group in groups]
  loss = evaluator(work)

  def run(examples: int, which: Sequence[int] | None = None) -> Sample:
    if which is not None:
      raise ValueError('lanes are trained together: give no settings')
    for group, state in zip(groups, initial, strict=True):
      group.load(state, 0)
    on_device.at(0)
    wait(groups)
    begun, busy = time.perf_counter(), time.process_time()
    advance(groups, on_device, examples)
    wait(groups)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    return Sample(seconds, _losses(work, groups, loss), busy)

  return run


def noise_on_and_off(work: Work) -> tuple[Run, Run]:
  """The same lanes measuring the noise scale as bsjax does by default, and measuring none.

  Both run as is best for measuring none, so that nothing but the measurement differs.
  """
  how = chosen(work, LONGER)
  config = work.config.copy_and_resolve_references()
  config.noise_scale.online = True
  runs = lanes(dataclasses.replace(work, config=config), how), lanes(work, how)
  for run in runs:
    run(work.chunk, None)  # compiles
  return runs


def chosen(work: Work, times: int = 1) -> Execution:
  """Returns how bsjax runs a study `times` as long; timings are in the user's cache."""
  config = work.config.copy_and_resolve_references()
  config.epochs *= times
  study_plan = plan.make_plan(config, len(work.dataset.train.labels))
  return execution.choose(config, work.dataset, study_plan, say=lambda sentence: None, own=work.own)


def programs(work: Work, how: Execution) -> tuple[list[device_lanes.Lanes], DeviceData]:
  """Returns the groups of lanes of a study before their first tick, and its data on the devices."""
  config, dataset = work.config, work.dataset
  study = plan.make_plan(config, len(dataset.train.labels), how.micro_batches).first
  groups = stage_lanes.create(config, dataset, study, how.strategies, own=work.own)
  return groups, DeviceData(dataset, config, study)


def advance(groups: list[device_lanes.Lanes], on_device: DeviceData, examples: int) -> None:
  """Trains all lanes to a position; returns before the devices are done."""
  for group in groups:
    block = group.group.block_ticks * group.group.micro_batch
    while group.position < examples:
      group.advance(on_device, (examples - group.position) // block)


def wait(groups: list[device_lanes.Lanes]) -> None:
  """Waits until the devices have done what was asked of them."""
  for group in groups:
    group.wait()


def _losses(
  work: Work, groups: list[device_lanes.Lanes], loss: Callable[[dict], float]
) -> list[float]:
  """Losses in the order of the work's settings."""
  losses = {}
  for group in groups:
    params = group.to_host().params
    for i, lane in enumerate(group.group.lanes):
      setting = Setting(lane.batch_size, lane.learning_rate, lane.trial)
      losses[setting] = loss(jax.tree.map(lambda x, i=i: np.asarray(x[i]), params))
  return [losses[setting] for setting in work.settings]


def cost_of_lanes(
  work: Work, counts: Sequence[int], repeats: int, budget: Budget
) -> dict[int, dict[str, list[float]]]:
  """Returns seconds per lane and step, `repeats` samples each, for programs of so many lanes.

  In turns with the plain loops over steps, one lane at a time, that are compared with it. All lanes
  have a middle batch size of the work, on an accelerator the smallest and few steps, and learning
  rates of their own.
  """
  sizes = sorted(work.config.batch_sizes)
  size = sizes[0] if work.accelerator else sizes[(len(sizes) - 1) // 2]
  steps = min(work.examples // size, FEW_STEPS) if work.accelerator else work.examples // size
  work = dataclasses.replace(work, examples=steps * size, chunk=steps * size)
  alone = _of_one_batch_size(work, size, 1)
  loops = {'step': jax_loop.step_loop(alone), 'scan': jax_loop.scan_loop(alone)}
  seconds: dict[int, dict[str, list[float]]] = {}
  for count in counts:
    if budget.left < 0:
      break
    smaller = _of_one_batch_size(work, size, count)
    sides = {**loops, 'lanes': lanes(smaller, chosen(smaller, LONGER))}
    samples = [
      {name: side(work.examples, None).seconds / steps for name, side in sides.items()}
      for _ in range(repeats + 1)  # the first compiles
    ][1:]
    seconds[count] = {name: [sample[name] for sample in samples] for name in loops}
    seconds[count]['lanes'] = [sample['lanes'] / count for sample in samples]
  return seconds


def every_strategy(work: Work, repeats: int, budget: Budget) -> dict[str, dict[str, list[float]]]:
  """Returns seconds of the whole work for each strategy that could be chosen for it.

  In turns with the plain loops, as in `cost_of_lanes`; micro-batches are those chosen.
  """
  how = chosen(work, LONGER)
  available = devices(work.config.execution.devices)
  lanes_per_device = -(-len(work.settings) // len(available))
  convolves = work.own.model is None and models.MODELS[work.config.model.name].convolves
  loops = {'step': jax_loop.step_loop(work), 'scan': jax_loop.scan_loop(work)}
  seconds: dict[str, dict[str, list[float]]] = {}
  for way in strategies.candidates(strategies.kind(available[0]), convolves, lanes_per_device):
    if budget.left < 0:
      break
    execution_of_way = dataclasses.replace(how, strategies=dict.fromkeys(how.strategies, way))
    sides = {**loops, 'lanes': lanes(work, execution_of_way)}
    samples = [
      {name: side(work.examples, None).seconds for name, side in sides.items()}
      for _ in range(repeats + 1)  # the first compiles
    ][1:]
    seconds[way.name] = {name: [sample[name] for sample in samples] for name in sides}
  return seconds


def _of_one_batch_size(work: Work, size: int, lanes: int) -> Work:
  config = work.config.copy_and_resolve_references()
  config.batch_sizes, config.trials = (size,), 1
  config.learning_rates = tuple(0.001 * (1 + i) / lanes for i in range(lanes))
  return dataclasses.replace(work, config=config)
