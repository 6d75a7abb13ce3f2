"""The data of a study on the host, fed to the devices in the order in which lanes read them.

A window holds what each trial reads next. Orders that count through it stand where those of the
whole set would, so that the programs that train, and all that they compute, are the same. The next
window is gathered and sent by a thread while the devices train on this one.
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree
from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.config.running_keys import AUTO, ON_DEVICE, ON_HOST
from bsjax.data import Dataset, windows
from bsjax.data.dataset import Split
from bsjax.engine import device_axis, processes
from bsjax.engine.device_data import (
  DeviceData,
  DeviceSplit,
  largest_micro_batch,
  study_devices,
)
from bsjax.engine.evaluate import Chunk, Evaluation, Sums, evaluated, statistics_of
from bsjax.engine.lanes import LaneParams, LaneState, Source, Weights
from bsjax.format import GIB
from bsjax.plan.lanes import StagePlan

WINDOW_BYTES = 2**28  # of a window on a device, which has two
SHARE = 0.5  # of a device's memory that a set may take
WINDOW_SHARE = 0.05  # of a device's memory that a window takes at most


def create(
  config: ConfigDict,
  dataset: Dataset,
  study: StagePlan,
  indices: Int[np.ndarray, ' used'] | None = None,
) -> DeviceData:
  """Returns the data of a stage, on the devices where they fit there or the config says so."""
  fed = is_fed(config, dataset, _device_bytes(config, study))
  return (FedData if fed else DeviceData)(dataset, config, study, indices)


def is_fed(config: ConfigDict, dataset: Dataset, device_bytes: int) -> bool:
  """Whether a set stays on the host, beside devices that have so much memory."""
  if config.execution.data != AUTO:
    return config.execution.data == ON_HOST
  needed = windows.split_bytes(dataset.train) + windows.split_bytes(dataset.validation)
  return needed > SHARE * (config.execution.memory * GIB or device_bytes)


class Span(NamedTuple):
  """Of windows: examples of each trial."""

  length: int  # that are trained on before the next window takes its place
  reach: int  # that it holds; measurements of noise look ahead


def span(config: ConfigDict, dataset: Dataset, study: StagePlan, device_bytes: int) -> Span:
  """Returns how long windows are: whole blocks, as many as their share of a device holds."""
  fits = budget(config, device_bytes) // (config.trials * windows.example_bytes(dataset.train))
  left = -(-(study.total_examples - study.origin) // study.block_examples)
  length = min(max(fits // study.block_examples, 1), left) * study.block_examples
  return Span(length, length + largest_micro_batch(study))


def budget(config: ConfigDict, device_bytes: int) -> int:
  """Returns how many bytes a window or a chunk of a split should take at most."""
  return min(WINDOW_BYTES, int(WINDOW_SHARE * (config.execution.memory * GIB or device_bytes)))


def _device_bytes(config: ConfigDict, study: StagePlan) -> int:
  """What a device has; one that does not tell shares the memory of the machine with the others.

  It is the least of what there is in any process: all turn to their next windows together.
  """
  devices = study_devices(config, study).ravel()
  told = (devices[0].memory_stats() or {}).get('bytes_limit')
  machine = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return min(processes.exchange(int(told or machine // len(devices))))


class FedData(DeviceData):
  """As `DeviceData`, of a set that stays on the host.

  Raises ConfigError where the examples of a measurement do not fit a window.
  """

  def _reach(self, dataset: Dataset, config: ConfigDict, study: StagePlan) -> int:
    device_bytes = _device_bytes(config, study)
    self._budget = budget(config, device_bytes)
    self._length, self._window_reach = span(config, dataset, study, device_bytes)
    return self._window_reach

  def _put(self, dataset: Dataset, config: ConfigDict, study: StagePlan) -> None:
    self._dataset, self._trials_count = dataset, config.trials
    self._end = study.total_examples - study.origin
    self._start = -(2**31)  # of the window at hand; none yet
    self._host_orders: np.ndarray | None = None  # of the epochs at hand
    self._windows = windows.Prefetched(self._window)
    self._batch_size = size = config.evaluation.batch_size
    fits = self._budget // windows.example_bytes(dataset.train)
    self._chunk = max(fits // size, 1) * size
    self._refuse_probe(config)

  def _refuse_probe(self, config: ConfigDict) -> None:
    examples = min(config.noise_scale.exact_examples, len(self._dataset.train))
    needed = examples * config.trials * windows.example_bytes(self._dataset.train)
    if needed > max(self._budget, WINDOW_BYTES):
      raise ConfigError(
        f'noise_scale.exact_examples={examples} of each of {config.trials} trials are '
        f'{needed / GIB:.2f} GiB, and a set that is fed from the host has {WINDOW_BYTES / GIB:.2f} '
        f'for them; measure fewer, or set execution.data={ON_DEVICE!r}',
        'noise_scale.exact_examples',
      )

  def said(self) -> list[str]:
    size = self._window_reach * self._trials_count * windows.example_bytes(self._dataset.train)
    return [
      f'The data stay on the host and are fed to the devices, {self._length:,} examples of each '
      f'trial at a time ({size / 2**20:,.1f} MiB, and as much ahead).'
    ]

  def turns(self, position: int) -> bool:
    return not self._start <= position < self._start + self._length

  def at(self, position: int) -> tuple[Source, int]:
    if self.turns(position):
      self._source = None  # what it holds on the devices is free before there is more
      following = position + self._length
      ahead = following if following < self._end else None
      self._source, self._start = self._windows.at(position, ahead), position
    return self._source, self._start + self._window_reach

  def _window(self, start: int) -> Source:
    orders = self._orders_of(start)
    examples = windows.take(self._dataset.train, orders.ravel())
    place, first = windows.places(start, self._length, self._window_reach, len(orders))
    on_devices = device_axis.copy_to_all((vars(examples), place, np.int32(first)), self.devices)
    arrays, place, first = jax.block_until_ready(on_devices)
    return Source(arrays['images'], arrays['labels'], place, first)

  def _orders_of(self, start: int) -> Int[np.ndarray, 'trial place']:
    """The examples that trials read from a position on."""
    epoch, place = divmod(start, self._examples)
    if epoch != self._epoch:
      orders, _ = self._orders(self._trials, jnp.int32(epoch))
      self._host_orders, self._epoch = self._on_host(orders), epoch
    return self._host_orders[:, place : place + self._window_reach]

  def _on_host(self, of_trials: jax.Array) -> Int[np.ndarray, 'trial place']:
    """What devices have of each trial, all of them the same."""
    return np.asarray(of_trials.addressable_shards[0].data).reshape(self._trials_count, -1)

  def evaluate(self, programs: Any, states: LaneState, lane_params: LaneParams) -> Evaluation:
    fed = programs.fed

    def sums(lanes: Weights, name: str) -> Sums:
      weights = Weights(lanes.params, lanes.batch_stats)
      split, total = getattr(self._dataset, name), None
      if len(split) <= self._batch_size:
        return fed.one(weights, lane_params, self._sent(split))
      for chunk in self._chunks(split):
        total = fed.empty(weights, lane_params, chunk) if total is None else total
        total = jax.block_until_ready(fed.add((weights, total), lane_params, chunk))
      return total

    def statistics(lanes: Weights) -> PyTree:
      weights = Weights(lanes.params, lanes.batch_stats)
      split, size = self._dataset.train, min(self._batch_size, len(self._dataset.train))
      if len(split) < 2 * size:
        first = self._sent(windows.take(split, slice(0, size)))
        return fed.one_statistics(weights, lane_params, first)
      total = jax.tree.map(jnp.zeros_like, lanes.batch_stats)
      for chunk in self._chunks(split, whole=True):
        total = jax.block_until_ready(fed.add_moments((weights, total), lane_params, chunk))
      return statistics_of(total, len(split) // size)

    return evaluated(states, sums, statistics, fed.finite(states, lane_params))

  def _sent(self, split: Split) -> DeviceSplit:
    return DeviceSplit(**device_axis.copy_to_all(vars(split), self.devices))

  def _chunks(self, split: Split, whole: bool = False) -> Iterator[Chunk]:
    """Goes through a split in batches as an evaluation does; `whole`: only through full ones."""
    examples = len(split)
    size = min(self._batch_size, examples)
    length = min(self._chunk, examples)

    def sent(first: int) -> Chunk:
      start, end = min(first, examples - length), min(first + length, examples)
      batches = (end - first) // size if whole else -(-(end - first) // size)
      part = windows.take(split, slice(start, start + length))
      numbers = (np.int32(x) for x in (start, first, batches, examples))
      chunk = Chunk(DeviceSplit(**vars(part)), *numbers)
      return jax.block_until_ready(device_axis.copy_to_all(chunk, self.devices))

    chunks, last = windows.Prefetched(sent), (examples - 1) // length * length
    for first in range(0, examples, length):
      yield chunks.at(first, first + length if first < last else None)

  def probe(self, programs: Any, states: LaneState, lane_params: LaneParams, at: int) -> Any:
    chosen = programs.fed.chosen(self._trials, jnp.int32(at))
    drawn = self._on_host(chosen).ravel()
    examples = self._sent(windows.take(self._dataset.train, drawn))
    return programs.fed.probe(states, lane_params, examples)
