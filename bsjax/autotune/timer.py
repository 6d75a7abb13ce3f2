"""Times ticks of a study's own lanes on its own devices, and remembers the result on disk."""

import dataclasses
import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from bsjax.autotune import guess
from bsjax.autotune.grouping import Timing
from bsjax.console import now
from bsjax.data import Dataset
from bsjax.data.dataset import leaves
from bsjax.engine import fed_data, memory, programs
from bsjax.engine.device_axis import devices
from bsjax.engine.device_data import DeviceData
from bsjax.engine.device_lanes import Lanes
from bsjax.engine.own import CONFIGS, Own, fingerprints
from bsjax.engine.spec import lane_spec
from bsjax.engine.strategies import STRATEGIES, Strategy
from bsjax.plan import plan
from bsjax.plan.lanes import Group, Lane, StagePlan, StudyPlan
from bsjax.storage import records, user_cache

# Raised when the programs change so much that old timings mean nothing.
FORMAT = 3
BLOCK_TICKS = 4  # of the programs that are timed
MEASURE_SECONDS = 0.25
MEASUREMENTS = 3
WORTH = 2.0  # starts that training must last for another strategy to be tried
# Seconds of training on a CPU below which not even one strategy is timed: a start takes 3 to 19 s.
SHORT = 15.0
HOPELESS = 1.5  # times the best so far: not measured again
# Lanes a device runs one after the other while timed: more would take longer and say the same.
LANES_IN_TURN = 4


class Timer:
  """Times strategies at micro-batches; what was timed before, here or on disk, is not repeated."""

  def __init__(
    self,
    config: ConfigDict,
    dataset: Dataset,
    study_plan: StudyPlan,
    say: Callable[[str], None],
    folder: Path | None,
    own: Own = CONFIGS,
  ):
    self.own = own
    self.config, self.dataset, self.plan, self.say = config, dataset, study_plan, say
    key = _key(config, dataset, own)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    self._path = (folder or user_cache.folder('timings')) / f'{digest}.json'
    self._key = key
    self.timings = _read(self._path, key)

  def time(self, micro_batches: dict[int, int], micro: int, names: Sequence[str]) -> list[Timing]:
    """Times strategies on the lanes that tick at `micro`; returns the timings there are of them.

    A study that would end before another strategy is compiled has only the first one timed, and a
    short one not even that.
    """
    wanted = [name for name in names if not self._find(micro, name)]
    if wanted:
      first = plan.regroup(self.config, self.plan, micro_batches).first
      group = next(group for group in first.groups if group.micro_batch == micro)
      if self.pays(micro, len(group.lanes)):  # otherwise no data go to the devices
        self._time(first, group, wanted)
    return [known for name in names if (known := self._find(micro, name))]

  def _time(self, first: StagePlan, group: Group, names: Sequence[str]) -> None:
    """Times strategies in turn while that pays, and writes what is known then."""
    micro, on_device = group.micro_batch, fed_data.create(self.config, self.dataset, first)
    for name in names:
      if not self.pays(micro, len(group.lanes)):
        break
      self.say(f'Timing {name} at micro-batch {micro} ...')
      best = min((t.per_lane for t in self._of(micro)), default=np.inf)
      strategy, hopeless = STRATEGIES[name], HOPELESS * best
      timing = measure(
        self.config, self.dataset, first, group, on_device, strategy, hopeless, self.own
      )
      self.timings.append(timing)
    _write(self._path, self._key, self.timings)

  def pays(self, micro: int, lanes: int, again: bool = False) -> bool:
    """Whether training so many lanes at `micro` takes long enough to time more than was timed.

    It must last a few starts of a program; with `again`, a few times all starts there were. Where
    none is known it must be no short study.
    """
    best = min(self._of(micro), key=lambda timing: timing.per_lane, default=None)
    if best is None:
      return bool(self.timings) or not self._short
    starts = sum(timing.start_seconds for timing in self.timings) if again else best.start_seconds
    return lanes * self.plan.total_examples / micro * best.per_lane > WORTH * starts

  @functools.cached_property
  def _short(self) -> bool:
    """Whether training should take less than it takes to time anything; asked of CPUs alone."""
    at_hand = devices(self.config.execution.devices)
    if at_hand[0].platform != 'cpu' or self.config.execution.devices_per_lane:
      return False
    seconds = guess.seconds(self.config, self.dataset, self.plan, len(at_hand), self.own)
    return seconds < SHORT

  def _of(self, micro: int) -> list[Timing]:
    return [timing for timing in self.timings if timing.micro_batch == micro]

  def _find(self, micro: int, name: str) -> Timing | None:
    return next((timing for timing in self._of(micro) if timing.strategy == name), None)


def measure(
  config: ConfigDict,
  dataset: Dataset,
  stage_plan: StagePlan,
  group: Group,
  on_device: DeviceData,
  strategy: Strategy,
  hopeless: float = np.inf,
  own: Own = CONFIGS,
) -> Timing:
  """Returns how long a tick of a group takes: the least of a few, after one that compiles.

  What takes more than `hopeless` seconds for a tick of a lane at first is not measured again. The
  group is trained a little, and forgotten. Where memory is short lanes are timed in parts, as they
  would train; no room for one lane counts as infinitely slow.
  """
  lanes = group.lanes
  if strategy.vectorize == 'map':
    lanes = _few_of(lanes, len(on_device.devices))
  ticks = min(BLOCK_TICKS, group.block_ticks)  # longer blocks might not fit the orders at hand
  few = dataclasses.replace(group, lanes=lanes, block_ticks=ticks)
  spec = lane_spec(config, dataset, stage_plan, group, strategy, own)
  shape = dataset.image_shape
  functions = programs.build(spec, strategy, config, shape, ticks, on_device.devices)
  run = Lanes(functions, few, stage_plan)
  fitted = False
  while True:
    begun = now()
    try:
      if not fitted:  # compiles; a TPU has no room while it does, so this is asked for first
        memory.fit(run, on_device, config.execution.memory)
        fitted = True
      _timed(run, on_device, 1)
      start = now() - begun
      seconds = [_timed(run, on_device, 1)]
      blocks = max(1, int(MEASURE_SECONDS / seconds[0]))
      while len(seconds) < MEASUREMENTS and min(seconds) / ticks / len(lanes) < hopeless:
        seconds.append(_timed(run, on_device, blocks))
      return Timing(group.micro_batch, strategy.name, len(lanes), min(seconds) / ticks, start)
    except jax.errors.JaxRuntimeError as error:
      if not memory.out_of_memory(error):
        raise
      if not run.split():
        return Timing(group.micro_batch, strategy.name, len(lanes), np.inf, np.inf)


def _few_of(lanes: tuple[Lane, ...], devices: int) -> tuple[Lane, ...]:
  """As many as devices run in turn while timed; no seat is idle, as few are in training."""
  few = lanes[:: -(-len(lanes) // (LANES_IN_TURN * devices))]
  return few[: len(few) // devices * devices or None]


def _timed(run: Lanes, on_device: DeviceData, blocks: int) -> float:
  """Seconds per block; from the start of training if there is no room for so many any more."""
  begun = now()
  done = run.advance(on_device, blocks)
  if not done:  # data that are fed end with a block of the study
    run.place(0)
    done = run.advance(on_device, blocks)
  run.wait()
  seconds = (now() - begun) / done
  if done < blocks:
    run.place(0)
  return seconds


def _key(config: ConfigDict, dataset: Dataset, own: Own) -> dict[str, Any]:
  """What the time of a tick depends on."""
  at_hand = devices(config.execution.devices)
  keys = json.loads(config.to_json())
  shared = config.execution.devices_per_lane
  study = ('model', 'optimizer', 'noise_scale', 'batch_sizes', 'learning_rates', 'trials')
  return {
    'format': FORMAT,
    'versions': [version(name) for name in ('jax', 'jaxlib', 'flax', 'optax')],
    'device': [at_hand[0].device_kind, len(at_hand), platform.machine(), processor()],
    'flags': os.environ.get('XLA_FLAGS', ''),
    'replicate': config.execution.replicate,
    'image': [*_shape(dataset), dataset.num_classes, config.data.crop, config.data.flip],
    **{name: keys[name] for name in study},
    **({'devices_per_lane': shared} if shared else {}),
    **({'averaging': keys['averaging']} if config.averaging.half_life else {}),
    **fingerprints(own, dataset),
  }


def _shape(dataset: Dataset) -> list[Any]:
  if dataset.mean is not None:
    return list(dataset.image_shape)
  return [[x.dtype.str, *x.shape[1:]] for x in leaves(dataset.train.images)]


def processor() -> str:
  """Returns the processor's name, or '' where it cannot be told."""
  try:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:  # not Linux
    return platform.processor()
  return next((line.partition(':')[2].strip() for line in lines if 'model name' in line), '')


def _read(path: Path, key: dict[str, Any]) -> list[Timing]:
  """The timings on disk; none where there are none, or they cannot be read."""
  try:
    stored = json.loads(path.read_text())
    return [Timing(**row) for row in stored['timings']] if stored['key'] == key else []
  except (OSError, ValueError, KeyError, TypeError):
    return []


def _write(path: Path, key: dict[str, Any], timings: list[Timing]) -> None:
  rows = [dataclasses.asdict(t) for t in timings if np.isfinite(t.seconds)]
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(path, {'key': key, 'timings': rows})
  except OSError:  # a cache that cannot be written is timed again
    pass
