"""The compiled programs of a group, and the state they hold on the devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax import lanes, models, noise_scale, ops, optimizer, plan, probe, stream
from bsjax import replicate as device_axis
from bsjax.data import Dataset
from bsjax.evaluate import Evaluation, Split, evaluate
from bsjax.lanes import LaneState, Recipe, Setting, Source, over_lanes, scan, tick


class DeviceData:
  """A data set on the devices of a study, and the example orders of the epochs at hand."""

  def __init__(self, dataset: Dataset, config: ConfigDict, study: plan.Plan):
    devices = _devices(config)
    examples = study.train_examples
    largest = max(group.micro_batch for group in study.groups)
    # A block may begin on the last example of an epoch, and a probe looks one micro-batch ahead.
    self._num_epochs = -(-(study.block_examples + largest) // examples) + 1
    self._examples = examples

    def orders(trials: jax.Array, first_epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
      of_trial = lambda trial: stream.epoch_orders(
        lanes.trial_key(config.seed, trial), first_epoch, self._num_epochs, examples
      )
      return jax.vmap(of_trial)(trials), first_epoch

    self._orders = device_axis.replicate(orders, config.execution.replicate, devices, (0, None))
    self._trials = device_axis.copy_to_all(np.arange(config.trials, dtype=np.int32), devices)
    self.train = Split(**device_axis.copy_to_all(dataclasses.asdict(dataset.train), devices))
    self.validation = Split(
      **device_axis.copy_to_all(dataclasses.asdict(dataset.validation), devices)
    )
    self._epoch = -1  # the first epoch of the orders at hand; none yet
    self._source: Source | None = None

  def at(self, position: int) -> tuple[Source, int]:
    """Returns the training set with orders from the epoch of `position` on, and where they end."""
    epoch = position // self._examples
    if epoch != self._epoch:
      orders, first_epoch = self._orders(self._trials, jnp.int32(epoch))
      self._source = Source(self.train.images, self.train.labels, orders, first_epoch)
      self._epoch = epoch
    return self._source, (epoch + self._num_epochs) * self._examples


class GroupRun:
  """The lanes of one group on the devices: where they are, and the programs that move them."""

  def __init__(
    self,
    group: plan.Group,
    recipe: Recipe,
    config: ConfigDict,
    image_shape: tuple[int, int, int],
    total_examples: int,
  ):
    self.group = group
    self.recipe = recipe
    self.ticks = 0
    self.devices = _devices(config)
    self.settings = self._spread(_settings(group))

    def replicate(function, *in_axes, donate=()):
      backend = config.execution.replicate
      return device_axis.replicate(function, backend, self.devices, in_axes, donate)

    vectorize = functools.partial(over_lanes, how=vectorization(config, self.devices))
    scan_ticks = functools.partial(scan, block_ticks=group.block_ticks)
    one_tick = functools.partial(tick, recipe)
    init = lambda _, setting: lanes.init(recipe, setting, image_shape)
    look = lambda state, _, *splits: evaluate(recipe, config.evaluation.batch_size, state, *splits)

    self._advance = replicate(vectorize(scan_ticks(one_tick)), 0, 0, 0, None, None, donate=(0,))
    # One lane after the other everywhere: evaluation batches are large enough to fill a device, and
    # those of all lanes together might not fit it.
    self._evaluate = replicate(over_lanes(look, 'map'), 0, 0, 0, 0)
    probed = min(config.noise_scale.exact_examples, recipe.train_examples)
    self.probed = probed  # examples of a probe; 0: there are none
    blocks = min(config.noise_scale.curvature_blocks, probed)
    take = functools.partial(probe.probe, recipe, probed, blocks)
    self._probe = replicate(over_lanes(take, 'map'), 0, 0, 0, None)
    self._forget = replicate(lambda noise: jax.tree.map(jnp.zeros_like, noise), 0)
    starts = np.arange(0, total_examples, group.micro_batch, dtype=np.int32)
    # The schedule at the start of every tick, in float64 to be summed.
    self._factors = np.asarray(jax.vmap(recipe.schedule)(starts), np.float64)
    self.states: LaneState = replicate(vectorize(init), 0, 0)(self.settings, self.settings)

  @property
  def position(self) -> int:
    """Examples every lane of the group has seen."""
    return self.ticks * self.group.micro_batch

  def advance(self, data: DeviceData, blocks: int) -> int:
    """Trains all lanes for at most so many blocks; returns how many it did."""
    examples = self.group.block_ticks * self.group.micro_batch
    source, end = data.at(self.position)
    blocks = min(blocks, (end - self.group.micro_batch - self.position) // examples)
    self.states = self._advance(
      self.states, self.settings, source, jnp.int32(self.ticks), jnp.int32(blocks)
    )
    self.ticks += blocks * self.group.block_ticks
    return blocks

  def evaluate(self, data: DeviceData) -> Evaluation:
    """Returns what is known of every lane, as host arrays `[lane]`."""
    found = self._evaluate(self.states, self.settings, data.train, data.validation)
    return device_axis.collect_lanes(found, len(self.group.lanes))

  def probe(self, data: DeviceData) -> probe.Probe | None:
    """Returns what single examples say of every lane's noise now, as host arrays `[lane, ...]`."""
    if not self.probed:
      return None
    found = self._probe(self.states, self.settings, data.train, jnp.int32(self.position))
    return device_axis.collect_lanes(found, len(self.group.lanes))

  def noise(self) -> dict[str, noise_scale.Window]:
    """Returns the noise measured since the last call, as host arrays `[lane]`, and starts anew."""
    windows = device_axis.collect_lanes(self.states.noise.windows, len(self.group.lanes))
    self.states = self.states.replace(noise=self._forget(self.states.noise))
    return windows

  def schedule_at(self, position: int) -> tuple[float, dict[int, float]]:
    """Returns the factor on learning rates at a position, and its sum over updates before it.

    The sums are by batch size; every update has the factor of the position where its batch began.
    """
    micro = self.group.micro_batch
    sums = {
      lane.batch_size: float(self._factors[: position // micro : lane.accumulation].sum())
      for lane in self.group.lanes
    }
    return float(self.recipe.schedule(jnp.int32(position))), sums

  def updates(self) -> np.ndarray:
    """Returns how many updates each lane has made."""
    return device_axis.collect_lanes(self.states.updates, len(self.group.lanes))

  def to_host(self) -> PyTree:
    """Returns the state as host arrays `[lane, ...]`."""
    return device_axis.collect_lanes(self.states, len(self.group.lanes))

  def load(self, states: PyTree, ticks: int) -> None:
    """Continues from the host arrays of `to_host`."""
    self.states = self._spread(states)
    self.ticks = ticks

  def _spread(self, tree: PyTree) -> PyTree:
    return device_axis.spread(device_axis.deal_lanes(tree, len(self.devices)), self.devices)


def create(config: ConfigDict, dataset: Dataset, study: plan.Plan) -> list[GroupRun]:
  """Builds the programs of all groups and initializes their lanes."""
  return [
    GroupRun(
      group,
      make_recipe(config, dataset, study, group),
      config,
      dataset.image_shape,
      study.total_examples,
    )
    for group in study.groups
  ]


def make_recipe(
  config: ConfigDict, dataset: Dataset, study: plan.Plan, group: plan.Group
) -> Recipe:
  """Returns what the lanes of a group share."""
  alone = any(lane.accumulation == 1 for lane in group.lanes)
  conv = ops.conv('canonical' if _devices(config)[0].platform == 'cpu' else 'native')
  return Recipe(
    model=models.create(config.model, dataset.num_classes, conv=conv),
    optimizer=optimizer.create(config.optimizer),
    schedule=optimizer.create_schedule(config.schedule, study.total_examples, study.train_examples),
    seed=config.seed,
    micro_batch=group.micro_batch,
    train_examples=study.train_examples,
    mean=dataset.mean,
    std=dataset.std,
    crop=config.data.crop,
    flip=config.data.flip,
    probe_every=config.noise_scale.probe_every if alone else 0,
    preconditioner=optimizer.preconditioner(config.optimizer),
  )


def bytes_per_lane(recipe: Recipe, image_shape: tuple[int, int, int]) -> int:
  """Returns the device memory one lane needs: its state, and what a compiled tick holds besides.

  Compiles one tick of one lane; the training set, which all lanes share, is not counted.
  """
  number = lambda dtype: jax.ShapeDtypeStruct((), dtype)
  setting = Setting(number(jnp.float32), number(jnp.int32), number(jnp.int32))
  state = jax.eval_shape(lambda s: lanes.init(recipe, s, image_shape), setting)
  examples = recipe.train_examples
  source = Source(
    images=jax.ShapeDtypeStruct((examples, *image_shape), jnp.uint8),
    labels=jax.ShapeDtypeStruct((examples,), jnp.int32),
    orders=jax.ShapeDtypeStruct((1, 2, examples), jnp.int32),
    first_epoch=number(jnp.int32),
  )
  one_tick = jax.jit(functools.partial(tick, recipe))
  compiled = one_tick.lower(state, setting, source, number(jnp.int32)).compile()
  held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
  return held + compiled.memory_analysis().temp_size_in_bytes


def vectorization(config: ConfigDict, devices: list[jax.Device]) -> str:
  """Returns how the lanes of a device run: 'map' or 'vmap'."""
  if config.execution.vectorize != 'auto':
    return config.execution.vectorize
  return 'map' if devices[0].platform == 'cpu' else 'vmap'


def _settings(group: plan.Group) -> Setting:
  column = lambda name, dtype: np.array([getattr(lane, name) for lane in group.lanes], dtype)
  return Setting(
    learning_rate=column('learning_rate', np.float32),
    accumulation=column('accumulation', np.int32),
    trial=column('trial', np.int32),
  )


def _devices(config: ConfigDict) -> list[jax.Device]:
  return device_axis.devices(config.execution.devices)
