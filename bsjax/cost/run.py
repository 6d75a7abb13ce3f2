"""Measures the batch sizes of a study, each run alone on one device; writes native_cost.json."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from bsjax.autotune import timer
from bsjax.cost import memory
from bsjax.cost import step as steps
from bsjax.cost.meter import Limits, Meter, Row, count
from bsjax.data import Dataset
from bsjax.format import GIB
from bsjax.plan.lanes import StagePlan, StudyPlan
from bsjax.storage import provenance, records

FILE = 'native_cost.json'  # in a workdir


def measure_study(
  config: ConfigDict,
  dataset: Dataset,
  study_plan: StudyPlan,
  say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
  """Returns the content of native_cost.json, of the batch sizes of the study's stages.

  `dataset` is that of the study, with all examples; `say` takes sentences for a person. Where a
  stage changes batch sizes these are the ones foreseen, and `native_cost.batch_sizes`, if given,
  takes the place of all.

  {'hardware', 'device_memory_gib' (null: not known), 'model', 'parameters', 'rows'}. A row:

  - 'stage' ('' of a study without), 'batch_size', and 'trained_parameters', how many numbers the
    optimizer updates;
  - 'memory_bytes': what a step takes, see `memory.of_step`, and 'fits'; null if it did not compile;
  - 'examples_per_second': {'median', 'low', 'high', 'n'} over repetitions; null if it was not run;
  - 'seconds_per_epoch': the stage's training examples, by those rates, as {'median', 'low',
    'high'}; and 'seconds', the examples of the whole stage;
  - 'compile_seconds': tracing and compiling, found in no cache;
  - 'cores_busy': on a CPU, the cores that the process kept busy meanwhile;
  - 'suggestion': where it does not fit, the largest micro-batch that does, {'micro_batch',
    'accumulation', 'memory_bytes', 'examples_per_second', 'seconds_per_epoch', 'seconds'},
    compiled and run as such; else null;
  - 'problem': a sentence, or null.

  What does not fit is not run, and running out of memory is a row's problem and not an error. A
  step alone is one device's: of an accelerator one, of a CPU all cores that XLA uses for a step.
  """
  device = jax.local_devices()[0]
  bound = memory.limit(device, config.native_cost.memory)
  limits = Limits(device, bound, config.native_cost.repeats)
  measured: dict[tuple[Any, ...], dict[int, Row]] = {}  # by program, of stages that share it
  parameters = 0
  for program in dict.fromkeys(map(_program, study_plan.stages)):
    sharing = [stage for stage in study_plan.stages if _program(stage) == program]
    meter = Meter(steps.create(config, dataset, sharing[0]), limits, say)
    parameters = count(meter.shapes.params)
    sizes = sorted({size for stage in sharing for size in _sizes(config, stage)})
    measured[program] = {row['batch_size']: row for row in meter.rows(sizes)}
  return {
    'hardware': _hardware(device),
    'device_memory_gib': None if bound is None else bound / GIB,
    'model': config.model.name,
    'parameters': parameters,
    'rows': [
      _with_seconds(measured[_program(stage)][size], stage)
      for stage in study_plan.stages
      for size in _sizes(config, stage)
    ],
  }


def _program(stage_plan: StagePlan) -> tuple[Any, ...]:
  """What tells apart the steps of stages, other than their batch sizes."""
  stage = stage_plan.stage
  return stage.trainable, stage.frozen_batch_norm, stage.image_size, stage.crop, stage.flip


def _sizes(config: ConfigDict, stage_plan: StagePlan) -> list[int]:
  return sorted(config.native_cost.batch_sizes or {lane.batch_size for lane in stage_plan.lanes})


def _with_seconds(row: Row, stage_plan: StagePlan) -> Row:
  """The row of a stage: it and its suggestion with the times beside every rate."""
  row = {'stage': stage_plan.stage.name, **row}
  if row['suggestion']:
    row['suggestion'] = _timed(row['suggestion'], stage_plan)
  return _timed(row, stage_plan)


def _timed(row: Row, stage_plan: StagePlan) -> Row:
  rates = row['examples_per_second']
  epoch = _seconds(rates, stage_plan.train_examples)
  whole = _seconds(rates, stage_plan.end - stage_plan.start)
  return {**row, 'seconds_per_epoch': epoch, 'seconds': whole}


def _seconds(rates: Row | None, examples: int) -> Row | None:
  """The time that so many examples take, longest where the rate is lowest."""
  if rates is None:
    return None
  return {
    'median': examples / rates['median'],
    'low': examples / rates['high'],
    'high': examples / rates['low'],
  }


def _hardware(device: jax.Device) -> str:
  """For people, such as '2 CPU cores (Intel Xeon)' or '1 x NVIDIA H200'."""
  if device.platform != 'cpu':
    return f'1 x {device.device_kind}'
  return f'{provenance.cores()} CPU cores ({timer.processor() or "of unknown kind"})'


def write(workdir: str | Path, measured: Mapping[str, Any]) -> Path:
  """Writes native_cost.json into a workdir and returns its path."""
  path = Path(workdir) / FILE
  records.write_json(path, measured)
  return path
