"""The compiled programs of a group, and the lanes they hold on the devices."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree
from ml_collections import ConfigDict

from bsjax.data import Dataset
from bsjax.engine import device_axis, lanes, probe, rate_sums
from bsjax.engine.device_data import DeviceData, study_devices
from bsjax.engine.evaluate import Evaluation, evaluate
from bsjax.engine.frozen_features import Suffix
from bsjax.engine.lanes import LaneState, Recipe, Setting
from bsjax.engine.rate_sums import RateSums
from bsjax.engine.spec import fixed_strategy, make_recipe
from bsjax.engine.strategies import Strategy
from bsjax.engine.tick import tick
from bsjax.engine.vectorize import any_lane, over_lanes, scan, side_by_side, ticks_read_at_once
from bsjax.noise import estimators
from bsjax.plan import plan


@dataclasses.dataclass
class Part:
  """Lanes of a group that run in one call of a program; a group has several if memory is short."""

  order: Int[np.ndarray, 'device seat']  # which of the group's lanes sits where
  rows: int  # of seats of one trial, see vectorize.over_lanes
  settings: Setting  # [device, seat]
  states: LaneState  # [device, seat, ...]


@dataclasses.dataclass(frozen=True)
class Look:
  """What an evaluation finds of a group's lanes, as host arrays `[lane, ...]`."""

  evaluation: Evaluation
  noise: dict[str, estimators.Window]  # measured since the last look
  updates: Int[np.ndarray, ' lane']
  probe: probe.Probe | None  # None: no example's gradient is asked for


class GroupRun:
  """The lanes of one group on the devices: where they are, and the programs that move them.

  It serves a stage, and those after it that run the same program.
  """

  def __init__(
    self,
    group: plan.Group,
    recipe: Recipe,
    strategy: Strategy,
    config: ConfigDict,
    image_shape: tuple[int, int, int],
    study: plan.StagePlan,
    devices: list[jax.Device],
    first: PyTree | None = None,
  ):
    """`first` are the states `[lane, ...]` to begin with; without them lanes are initialized."""
    self.group, self.recipe, self.strategy = group, recipe, strategy
    self.devices, self.origin, self._first = devices, study.origin, first
    self._replicate = functools.partial(
      device_axis.replicate, backend=config.execution.replicate, devices=devices
    )
    look = lambda state, _, *splits: evaluate(recipe, config.evaluation.batch_size, state, *splits)
    # One lane after the other everywhere: evaluation batches are large enough to fill a device, and
    # those of all lanes together might not fit it.
    self._evaluate = self._replicate(over_lanes(look, 'map'), in_axes=(0, 0, 0, 0))
    probed = min(config.noise_scale.exact_examples, recipe.train_examples)
    self.probed = probed  # examples of a probe; 0: there are none
    blocks = min(config.noise_scale.curvature_blocks, probed)
    take = functools.partial(probe.probe, recipe, probed, blocks)
    self._probe = self._replicate(over_lanes(take, 'map'), in_axes=(0, 0, 0, None))
    # The copy of `updates` stays when the state is given away to the next call.
    forget = lambda noise, updates: (jax.tree.map(jnp.zeros_like, noise), updates)
    self._forget = self._replicate(forget, in_axes=(0, 0))
    init = lambda setting, _: lanes.init(recipe, setting, image_shape)
    self._init = self._replicate(over_lanes(init, 'map'), in_axes=(0, 0))
    length = study.total_examples - study.origin
    self._factors = rate_sums.factors(recipe.schedule, length, group.micro_batch)
    self._read_ticks = ticks_read_at_once(
      group.block_ticks, 4 * group.micro_batch * math.prod(image_shape)
    )
    self._programs: dict[int, Callable] = {}
    self.restart(1)

  @property
  def seen(self) -> int:
    """Examples of its stream that the group has seen."""
    return self.ticks * self.group.micro_batch

  @property
  def position(self) -> int:
    """Examples every lane of the group has seen since the study began."""
    return self.origin + self.seen

  def program(self, part: Part) -> Callable:
    """Returns what advances a part: `(states, settings, source, first tick, blocks) -> states`."""
    if part.rows not in self._programs:
      how = self.strategy.vectorize
      one_tick = functools.partial(tick, self.recipe, any_lane if how == 'vmap' else lambda x: x)
      read = functools.partial(lanes.read_ticks, self.recipe)
      if how == 'unrolled':
        one_tick, read = side_by_side(one_tick, read)
      block_ticks = self.group.block_ticks
      ticks = functools.partial(
        scan, read=read, block_ticks=block_ticks, read_ticks=self._read_ticks
      )
      vectorize = functools.partial(over_lanes, how=how, rows=part.rows)
      replicate = functools.partial(self._replicate, in_axes=(0, 0, 0, None, None), donate=(0,))
      self._programs[part.rows] = replicate(vectorize(ticks(one_tick)))
    return self._programs[part.rows]

  def advance(self, data: DeviceData, blocks: int) -> int:
    """Trains all lanes for at most so many blocks; returns how many it did.

    It returns before the devices are done; `wait` waits for them.
    """
    examples = self.group.block_ticks * self.group.micro_batch
    source, end = data.at(self.seen)
    blocks = min(blocks, (end - self.group.micro_batch - self.seen) // examples)
    for part in self.parts:
      states = self.program(part)(
        part.states, part.settings, source, jnp.int32(self.ticks), jnp.int32(blocks)
      )
      part.states = states
    self.ticks += blocks * self.group.block_ticks
    return blocks

  def lower(self, part: Part, data: DeviceData) -> jax.stages.Lowered:
    """Returns the program of a part before compilation, for what it tells of itself."""
    source, _ = data.at(self.seen)
    number = jnp.int32(0)
    return self.program(part).lower(part.states, part.settings, source, number, number)

  def wait(self) -> None:
    """Waits until the devices have done what was asked of them."""
    for part in self.parts:
      jax.block_until_ready(part.states.count)

  def look(self, data: DeviceData) -> Callable[[], Look]:
    """Evaluates all lanes, and begins new windows of noise.

    Returns a function that waits for the result, so that training can go on before it is read.
    """
    found = [self._look(part, data) for part in self.parts]
    return lambda: Look(*self._collect(found))

  def _look(self, part: Part, data: DeviceData) -> tuple:
    own = part.states, part.settings
    found = self._evaluate(*own, data.train, data.validation)
    position = jnp.int32(self.seen)
    probed = self._probe(*own, data.train, position) if self.probed else None
    windows = part.states.noise.windows
    noise, updates = self._forget(part.states.noise, part.states.updates)
    part.states = part.states.replace(noise=noise)
    return found, windows, updates, probed

  def retune(self, lanes: Sequence[plan.Lane]) -> None:
    """Gives the lanes other batch sizes and learning rates, in the same program.

    All have just updated.
    """
    self.rates_before = self._rate_sums()
    self.group = dataclasses.replace(self.group, lanes=tuple(lanes))
    settings = _settings(self.group)
    for part in self.parts:
      part.settings = self._spread(settings, part.order)

  def rates(self) -> tuple[float, dict[int, float]]:
    """Returns the factor now on learning rates, and each lane's sum of rates over its updates."""
    return float(self._factors[self.ticks]), self._rate_sums().sums

  def _rate_sums(self) -> RateSums:
    return rate_sums.after(self.rates_before, self._factors, self.ticks, self.group.lanes)

  def to_host(self) -> PyTree:
    """Returns the state as host arrays `[lane, ...]`."""
    return self._collect([part.states for part in self.parts])

  def load(self, states: PyTree, ticks: int, rates_before: RateSums | None = None) -> None:
    """Continues from the host arrays of `to_host`.

    `rates_before` are the sums when batch sizes came to be as they are; None: at the start.
    """
    for part in self.parts:
      part.states = self._spread(states, part.order)
    self.ticks = ticks
    self.rates_before = rates_before or rate_sums.none(self.group.lanes)

  def split(self) -> bool:
    """Starts anew with twice as many parts; returns False where no part can be cut further."""
    if all(part.order.shape[1] == 1 for part in self.parts):
      return False
    self.restart(min(2 * len(self.parts), len(self.group.lanes)))
    return True

  def restart(self, parts: int) -> None:
    """Puts all lanes before their first tick, in so many parts."""
    self.parts = []  # what they hold is free before there is more
    self.parts = self._cut(parts)
    self.ticks = 0
    self.rates_before = rate_sums.none(self.group.lanes)

  def _cut(self, parts: int) -> list[Part]:
    """Deals the lanes, cut into so many parts of neighbours, before their first tick."""
    settings = _settings(self.group)
    found = []
    for own in np.array_split(np.arange(len(self.group.lanes)), parts):
      if self.strategy.vectorize == 'vmap':
        order, rows = device_axis.deal_by_trial(settings.trial[own], len(self.devices))
      else:
        order = device_axis.deal(len(own), len(self.devices))
        rows = order.shape[1]
      order = own[order]
      own_settings = self._spread(settings, order)
      if self._first is None:
        states = self._init(own_settings, own_settings)
      else:
        states = self._spread(self._first, order)
      found.append(Part(order, rows, own_settings, states))
    return found

  def _spread(self, tree: PyTree, order: Int[np.ndarray, 'device seat']) -> PyTree:
    return device_axis.spread(device_axis.seat(tree, order), self.devices)

  def _collect(self, trees: list[PyTree]) -> PyTree:
    """Brings what there is of each part to the host, in order of lanes."""
    own = [device_axis.collect(t, part.order) for t, part in zip(trees, self.parts, strict=True)]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *own)


def create(
  config: ConfigDict,
  dataset: Dataset,
  study: plan.StagePlan,
  strategies: dict[int, Strategy] | None = None,
  first: PyTree | None = None,
  features: tuple[Suffix, Dataset] | None = None,
) -> list[GroupRun]:
  """Builds the programs of all groups of a stage, and puts its lanes before their first tick.

  `strategies` has one for each micro-batch; for those that it leaves out, and without it, all have
  the config's, or if that is 'auto' the platform's usual one. `first` are the states of all lanes
  `[lane, ...]` to begin with; without it they are initialized. `features` are those of frozen
  layers, to be trained on in place of the images (`frozen_features.compute`).
  """
  found, devices = [], study_devices(config, study)
  for group in study.groups:
    strategy = (strategies or {}).get(group.micro_batch) or fixed_strategy(config)
    recipe, shape = make_recipe(config, dataset, study, group, strategy), dataset.image_shape
    if features:
      rest, data = features
      model = dataclasses.replace(rest, model=recipe.model)
      recipe = dataclasses.replace(recipe, model=model, mean=data.mean, std=data.std)
      shape = data.image_shape
    own = None if first is None else take(first, [lane.lane for lane in group.lanes])
    found.append(GroupRun(group, recipe, strategy, config, shape, study, devices, own))
  return found


def take(states: PyTree, lanes: Sequence[int]) -> PyTree:
  """Returns the states of some lanes, of host arrays `[lane, ...]`."""
  return jax.tree.map(lambda x: np.asarray(x)[np.asarray(lanes)], states)


def all_lanes(groups: Sequence[GroupRun]) -> PyTree:
  """Returns the states of all lanes as host arrays `[lane, ...]`, in order of lanes."""
  order = np.argsort([lane.lane for group in groups for lane in group.group.lanes]).tolist()
  own = [group.to_host() for group in groups]
  return take(jax.tree.map(lambda *xs: np.concatenate(xs), *own), order)


def _settings(group: plan.Group) -> Setting:
  column = lambda name, dtype: np.array([getattr(lane, name) for lane in group.lanes], dtype)
  return Setting(
    learning_rate=column('learning_rate', np.float32),
    accumulation=column('accumulation', np.int32),
    trial=column('trial', np.int32),
  )
