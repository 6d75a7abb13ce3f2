"""The compiled functions of a group of lanes: what makes, trains, evaluates and probes them."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree
from ml_collections import ConfigDict

from bsjax.data.dataset import InputShape, leaves
from bsjax.engine import averages, device_axis, divergence, fed_programs, lanes
from bsjax.engine.device_axis import Devices
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.evaluate import Evaluation, evaluate
from bsjax.engine.fed_programs import FedPrograms
from bsjax.engine.lanes import LaneParams, LaneSpec, LaneState, Source
from bsjax.engine.probe import Probe, probe
from bsjax.engine.strategies import Strategy
from bsjax.engine.tick import tick
from bsjax.engine.vectorize import (
  any_lane,
  if_live,
  over_lanes,
  scan,
  side_by_side,
  ticks_read_at_once,
)


@dataclasses.dataclass(frozen=True)
class Programs:
  """Functions of arrays `[device, seat, ...]`, compiled when they are first called.

  They serve all parts of a group, and the stages after it that compute the same.
  """

  spec: LaneSpec
  strategy: Strategy
  devices: Devices
  probed: int  # examples of a probe; 0: there are none
  init: Callable  # (lane_params, lane_params) -> states
  evaluate: Callable  # (states, lane_params, train, validation) -> Evaluation
  probe: Callable  # (states, lane_params, train, position) -> Probe
  # (noise, updates) -> both, without measurements, and with a copy that stays when states are given
  # away to the next call
  begin_window: Callable
  # How many rows the seats of a device are -> (states, lane_params, source, first tick, blocks) ->
  # states; the states are given away
  train: Callable[[int], Callable]
  # As `train`, but of lanes each of whose ticks is looked at, which are not given away
  watch: Callable[[int], Callable]
  copy: Callable  # states -> the same, which stay when those are given away
  finite: Callable  # states -> whether each lane's are
  choose: Callable  # (flags, states, states) -> the first where there is a flag
  fed: FedPrograms  # of data that stay on the host

  @property
  def skips(self) -> bool:
    """Whether lanes that are not live are passed over while others train."""
    return self.strategy.vectorize == 'map'


def build(
  spec: LaneSpec,
  strategy: Strategy,
  config: ConfigDict,
  image_shape: InputShape,
  block_ticks: int,
  devices: Devices,
) -> Programs:
  """Returns the functions of lanes that share a spec and train in blocks of so many ticks."""
  spec = dataclasses.replace(spec, shares=device_axis.shares(devices))
  replicate = functools.partial(
    device_axis.replicate, backend=config.execution.replicate, devices=devices
  )
  probed = min(config.noise_scale.exact_examples, spec.train_examples)
  blocks = min(config.noise_scale.curvature_blocks, probed)

  def init_lane(lane_params: LaneParams, _: LaneParams) -> LaneState:
    return averages.begin(spec, lanes.init(spec, lane_params, image_shape))

  def evaluate_lane(state: LaneState, _: LaneParams, *splits: DeviceSplit) -> Evaluation:
    return evaluate(spec, config.evaluation.batch_size, state, *splits)

  def probe_lane(*lane: Any) -> Probe:
    return probe(spec, probed, blocks, *lane)

  def begin_window(noise: PyTree, updates: Int[Array, ' seat']) -> tuple[PyTree, Array]:
    return jax.tree.map(jnp.zeros_like, noise), updates

  training = functools.partial(_training, spec, strategy, image_shape, block_ticks, replicate)

  # One lane after the other but in training: evaluation batches are large enough to fill a device,
  # and those of all lanes together might not fit it.
  return Programs(
    spec=spec,
    strategy=strategy,
    devices=devices,
    probed=probed,
    init=replicate(over_lanes(init_lane, 'map'), in_axes=(0, 0)),
    evaluate=replicate(over_lanes(if_live(evaluate_lane), 'map'), in_axes=(0, 0, 0, 0)),
    probe=replicate(over_lanes(if_live(probe_lane), 'map'), in_axes=(0, 0, 0, None)),
    begin_window=replicate(begin_window, in_axes=(0, 0)),
    train=training(tick, _itself, (0,)),
    watch=training(divergence.watched_tick, divergence.watched, ()),
    copy=replicate(_itself, in_axes=(0,)),
    finite=replicate(jax.vmap(divergence.finite), in_axes=(0,)),
    choose=replicate(divergence.choose, in_axes=(0, 0, 0)),
    fed=fed_programs.build(spec, config, replicate, probed, blocks),
  )


def _training(
  spec: LaneSpec,
  strategy: Strategy,
  image_shape: InputShape,
  block_ticks: int,
  replicate: Callable,
  tick: Callable,
  begin: Callable[[LaneState], Any],
  donate: tuple[int, ...],
) -> Callable[[int], Callable]:
  """Returns what gives the training function for a number of rows, the same one every time."""
  read_ticks = ticks_read_at_once(block_ticks, spec.micro_batch * example_bytes(image_shape))

  @functools.cache
  def train(rows: int) -> Callable:
    how = strategy.vectorize
    one_tick = functools.partial(tick, spec, any_lane if how == 'vmap' else _itself)
    read = functools.partial(lanes.read_ticks, spec)
    if how == 'unrolled':
      one_tick, read = side_by_side(one_tick, read)
    run = scan(one_tick, read, block_ticks, read_ticks)

    def from_state(
      state: PyTree, lane_params: Any, source: Source, first: Array, blocks: Array
    ) -> PyTree:
      if how == 'map':
        blocks = jnp.where(lane_params.live, blocks, 0)
      begun = tuple(map(begin, state)) if how == 'unrolled' else begin(state)
      return run(begun, lane_params, source, first, blocks)

    every = over_lanes(from_state, how=how, rows=rows)
    return replicate(every, in_axes=(0, 0, 0, None, None), donate=donate)

  return train


def example_bytes(shape: InputShape) -> int:
  """What the inputs of an example take, as a model gets them."""
  if isinstance(shape, tuple):
    return 4 * math.prod(shape)
  return sum(array.nbytes for array in leaves(shape))


def _itself(tree: PyTree) -> PyTree:
  return tree
