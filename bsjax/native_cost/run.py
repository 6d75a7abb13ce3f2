"""Measures the batch sizes of a study, each run alone on one device; writes native_cost.json."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from bsjax import calibrate, records
from bsjax.data import Dataset
from bsjax.memory import GIB
from bsjax.native_cost import memory
from bsjax.native_cost import step as steps
from bsjax.native_cost.meter import Limits, Meter, Row, count

FILE = 'native_cost.json'  # in a workdir


@dataclasses.dataclass(frozen=True)
class Work:
  """What a row is measured of; those that differ in batch size alone are best given in a row."""

  batch_size: int
  stage: str = ''  # for a person
  trainable: tuple[str, ...] = ()  # patterns of the paths of parameters; (): all
  image_size: int = 0  # pixels a side; 0: that of the data


def works(config: ConfigDict) -> list[Work]:
  """The batch sizes to measure: `native_cost.batch_sizes`, or those of the study."""
  return [Work(size) for size in sorted(config.native_cost.batch_sizes or config.batch_sizes)]


def measure_study(
  config: ConfigDict,
  dataset: Dataset,
  of: Sequence[Work] | None = None,
  say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
  """Returns the content of native_cost.json, of `works(config)` or of those given.

  {'hardware', 'device_memory_gib' (null: not known), 'model', 'parameters', 'rows'}. A row:

  - 'batch_size', 'stage', and 'trained_parameters', how many numbers the optimizer updates;
  - 'memory_bytes': what a step takes, see `memory.of_step`, and 'fits'; null if it did not compile;
  - 'examples_per_second': {'median', 'low', 'high', 'n'} over repetitions; null if it was not run;
  - 'seconds_per_epoch': the training examples, by those rates; as {'median', 'low', 'high'};
  - 'compile_seconds': tracing and compiling, found in no cache;
  - 'cores_busy': on a CPU, the cores that the process kept busy meanwhile;
  - 'suggestion': where it does not fit, the largest micro-batch that does, {'micro_batch',
    'accumulation', 'memory_bytes', 'examples_per_second', 'seconds_per_epoch'}, compiled and run as
    such; else null;
  - 'problem': a sentence, or null.

  What does not fit is not run, and running out of memory is a row's problem and not an error. A
  step alone is one device's: of an accelerator one, of a CPU all cores that XLA uses for a step.
  """
  device = jax.local_devices()[0]
  limits = Limits(
    device, memory.limit(device, config.native_cost.memory), config.native_cost.repeats
  )
  key = lambda work: (work.stage, work.trainable, work.image_size)
  rows: list[Row] = []
  parameters = 0
  for (stage, *rest), group in itertools.groupby(works(config) if of is None else of, key):
    meter = Meter(steps.create(config, dataset, *rest), limits, say)
    parameters = count((meter.shapes.trained, meter.shapes.frozen))
    for row in meter.rows([work.batch_size for work in group]):
      rows.append(_with_seconds({**row, 'stage': stage}, len(dataset.train.labels)))
  return {
    'hardware': _hardware(device),
    'device_memory_gib': None if limits.memory is None else limits.memory / GIB,
    'model': config.model.name,
    'parameters': parameters,
    'rows': rows,
  }


def _with_seconds(row: Row, examples: int) -> Row:
  """The row and its suggestion with the time of an epoch beside every rate."""
  if row['suggestion']:
    row['suggestion'] = _timed(row['suggestion'], examples)
  return _timed(row, examples)


def _timed(row: Row, examples: int) -> Row:
  rates = row['examples_per_second']
  seconds = rates and {
    'median': examples / rates['median'],
    'low': examples / rates['high'],
    'high': examples / rates['low'],
  }
  return {**row, 'seconds_per_epoch': seconds}


def _hardware(device: jax.Device) -> str:
  """For people, such as '2 CPU cores (Intel Xeon)' or '1 x NVIDIA H200'."""
  if device.platform != 'cpu':
    return f'1 x {device.device_kind}'
  mine = getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count()))  # not on macOS
  return f'{len(mine(0))} CPU cores ({calibrate.processor() or "of unknown kind"})'


def write(workdir: str | Path, found: Mapping[str, Any]) -> Path:
  """Writes native_cost.json into a workdir and returns its path."""
  path = Path(workdir) / FILE
  records.write_json(path, found)
  return path
