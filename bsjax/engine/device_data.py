"""The data of a study on its devices."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Int, Shaped
from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError, Problem
from bsjax.config.own import OWN
from bsjax.data import Dataset, sampler, stratify, stream, views, windows
from bsjax.data.dataset import of_each
from bsjax.engine import device_axis, processes
from bsjax.engine.lanes import LaneParams, LaneState, Source
from bsjax.plan.lanes import StagePlan

# Examples of a micro-batch for which a device that would be idle is used. Those of a CPU are not:
# they share its cores and threads, and to tell one another takes longer than a small tick.
LEAST_SHARE = 32


def study_devices(config: ConfigDict, study: StagePlan) -> Shaped[np.ndarray, 'row share']:
  """Returns the devices that a study runs on: no more rows than the largest group has lanes.

  Raises ConfigError as `grid` does.
  """
  return grid(config, study, device_axis.devices(config.execution.devices))


def grid(
  config: ConfigDict, study: StagePlan, present: Sequence[Any]
) -> Shaped[np.ndarray, 'row share']:
  """Returns which of the devices that are present a study uses, in rows that share lanes.

  As many share them as `execution.devices_per_lane` says. Raises ConfigError where they would not
  have equal shares of a micro-batch.
  """
  lanes = -(-max(len(group.lanes) for group in study.groups) // processes.count())
  micro_batches = [group.micro_batch for group in study.groups]
  shares = config.execution.devices_per_lane
  if not shares and not examples_meet(config):
    shares = shares_left_open(present[0].platform, len(present), lanes, micro_batches)
  shares = shares or 1
  if uneven := [size for size in micro_batches if size % shares]:
    raise ConfigError(
      f'execution.devices_per_lane={shares} does not divide the micro-batches {uneven}; choose a '
      'divisor of them, or micro_batch',
      'execution.devices_per_lane',
    )
  rows = min(len(present) // shares, lanes)
  return np.array(present[: rows * shares]).reshape(rows, shares)


def shares_left_open(platform: str, devices: int, lanes: int, micro_batches: Sequence[int]) -> int:
  """Returns how many devices share a lane where the config does not say: those without a lane."""
  if platform == 'cpu':
    return 1
  return max(
    shares
    for shares in range(1, devices // min(devices, lanes) + 1)
    if shares == 1 or all(m % shares == 0 and m // shares >= LEAST_SHARE for m in micro_batches)
  )


def examples_meet(config: ConfigDict) -> str:
  """Says what may make an example's gradient depend on others of its micro-batch; '' for nothing.

  Shares of such a micro-batch would not add up to the whole.
  """
  if config.model.normalization == 'batch':
    return "model.normalization='batch' takes its statistics of the whole micro-batch"
  said = config.get(OWN) or {}
  outside = [part for part in ('model', 'task') if part in said]
  return f'a {outside[0]} from outside may compare examples of a micro-batch' if outside else ''


def share_conflicts(config: ConfigDict) -> list[Problem]:
  """Says why devices cannot share a lane, where the config asks for that."""
  shares = config.execution.devices_per_lane
  present = len(device_axis.devices(config.execution.devices))
  if shares > present:
    sentence = (
      f'execution.devices_per_lane={shares} must be at most {present}, the devices of this process '
      'that the study uses (execution.devices); 0 leaves it open'
    )
    return [Problem(sentence, 'execution.devices_per_lane', 'execution.devices')]
  if shares > 1 and (why := examples_meet(config)):
    return [
      Problem(f'execution.devices_per_lane={shares}: {why}; choose 1', 'execution.devices_per_lane')
    ]
  return []


def reach(study: StagePlan) -> int:
  """Returns how many examples a call may read from its first on."""
  return study.block_examples + largest_micro_batch(study)  # a probe looks one micro-batch ahead


class DeviceData:
  """A data set on the devices of a study, and the example orders of the epochs at hand.

  `indices` are the training examples in use (None: those of the plan's stage); an epoch is as long
  as they are many.
  """

  def __init__(
    self,
    dataset: Dataset,
    config: ConfigDict,
    study: StagePlan,
    indices: Int[np.ndarray, ' used'] | None = None,
  ):
    self.devices = devices = study_devices(config, study)
    if indices is None:
      indices = views.examples_in_use(study.stage, dataset.strata, config.seed)
    examples = study.train_examples if indices is None else len(indices)
    # Of which a device has the orders at a time.
    self._num_epochs = windows.epochs(examples, self._reach(dataset, config, study))
    self._examples = examples
    sample = sampler.create(config.data, dataset.strata, indices)

    def orders(trials: jax.Array, first_epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
      def of_trial(trial: jax.Array) -> jax.Array:
        key = stream.stream_key(config.seed, trial, study.stream)
        return sample(key, first_epoch, self._num_epochs)

      return jax.vmap(of_trial)(trials), first_epoch

    self._orders = device_axis.replicate(orders, config.execution.replicate, devices, (0, None))
    self._trials = device_axis.copy_to_all(np.arange(config.trials, dtype=np.int32), devices)
    self.subset = self._subset(dataset, config) if config.evaluation.subset else None
    self._epoch = -1  # the first epoch of the orders at hand; none yet
    self._source: Source | None = None
    self._put(dataset, config, study)

  def _reach(self, dataset: Dataset, config: ConfigDict, study: StagePlan) -> int:
    """How many examples a call may read from its first on."""
    return reach(study)

  def _put(self, dataset: Dataset, config: ConfigDict, study: StagePlan) -> None:
    """Puts the splits on the devices."""
    self.train, self.validation = (
      DeviceSplit(**device_axis.copy_to_all(vars(split), self.devices))
      for split in (dataset.train, dataset.validation)
    )

  def said(self) -> list[str]:
    """What to tell a person of where the data are."""
    return []

  def _subset(self, dataset: Dataset, config: ConfigDict) -> tuple['DeviceSplit', 'DeviceSplit']:
    """Some training and validation examples, classes by their shares; the same in every stage."""
    parts = []
    for split in (dataset.train, dataset.validation):
      size = min(config.evaluation.subset, len(split.labels))
      chosen = stratify.stratified(np.asarray(split.labels), size, config.seed)
      part = {name: of_each(lambda x, at=chosen: x[at], tree) for name, tree in vars(split).items()}
      parts.append(DeviceSplit(**device_axis.copy_to_all(part, self.devices)))
    return parts[0], parts[1]

  def at(self, position: int) -> tuple[Source, int]:
    """Returns the training set with orders from the epoch of `position` on, and where they end."""
    epoch = position // self._examples
    if epoch != self._epoch:
      orders, first_epoch = self._orders(self._trials, jnp.int32(epoch))
      self._source = Source(self.train.images, self.train.labels, orders, first_epoch)
      self._epoch = epoch
    return self._source, (epoch + self._num_epochs) * self._examples

  def turns(self, position: int) -> bool:
    """Whether what is trained from `position` on takes the place of examples on the devices."""
    return False

  def evaluate(self, programs: Any, states: LaneState, lane_params: LaneParams) -> Any:
    """Returns the `Evaluation` of lanes `[device, seat, ...]` on both splits."""
    return programs.evaluate(states, lane_params, self.train, self.validation)

  def probe(self, programs: Any, states: LaneState, lane_params: LaneParams, at: int) -> Any:
    """Returns the `Probe` of lanes at a position of their stream."""
    return programs.probe(states, lane_params, self.train, jnp.int32(at))


def largest_micro_batch(study: StagePlan) -> int:
  """Returns the largest of those of a stage's groups."""
  return max(group.micro_batch for group in study.groups)


@struct.dataclass
class DeviceSplit:
  """A split on a device."""

  images: Any  # as in lanes.Source
  labels: Any
