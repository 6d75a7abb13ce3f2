"""Lanes that run in one call of a program: trained in stretches, frozen where they diverge."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PyTree

from bsjax.engine import device_axis, processes
from bsjax.engine.divergence import NOT_FINITE, WHY, Watched
from bsjax.engine.lanes import LaneParams, LaneState
from bsjax.engine.programs import Programs


class Run(NamedTuple):
  """One call of the training program."""

  source: PyTree
  first_tick: int
  blocks: int


@dataclasses.dataclass
class Stretch:
  """What was trained since lanes were last known to be finite, and a copy of them from then."""

  before: LaneState  # without sums of gradients, which mean nothing just after an update
  runs: list[Run]


@dataclasses.dataclass
class Part:
  """Lanes of a group that run in one call of a program; a group has several if memory is short."""

  order: Int[np.ndarray, 'device seat']  # which of the group's lanes sits where
  rows: int  # of seats of one trial, see vectorize.over_lanes
  lane_params: LaneParams  # [device, seat]
  states: LaneState  # [device, seat, ...]
  stretch: Stretch | None = None  # under way, or not yet settled

  @property
  def lanes(self) -> Int[np.ndarray, ' lane']:
    """Which of the group's lanes it has, in ascending order."""
    return np.unique(self.order)

  @property
  def pending(self) -> int:
    """Blocks trained since lanes were last known to be finite."""
    return sum(run.blocks for run in self.stretch.runs) if self.stretch else 0

  def train(self, programs: Programs, run: Run) -> None:
    """Trains for some blocks; it returns before the devices are done."""
    if self.stretch is None:
      self.stretch = Stretch(programs.copy(self.states.replace(grad_sum=())), [])
    self.stretch.runs.append(run)
    self.states = programs.train(self.rows)(self.states, self.lane_params, *_arguments(run))

  def settle(
    self, programs: Programs, frozen: Bool[np.ndarray, ' lane']
  ) -> dict[int, tuple[int, str]]:
    """Puts lanes back that were frozen before the stretch, or diverged in it.

    `frozen` is of the group's lanes. Returns, of those that diverged in it, the examples of their
    stream that they had seen at the last good update, and why. All processes come here together.
    """
    if self.stretch is None:
      return {}
    stretch, self.stretch = self.stretch, None
    lanes = self.lanes
    finite = self._collect(programs.finite(self.states.replace(grad_sum=())))
    lost, found = np.zeros_like(frozen), {}
    lost[lanes] = ~finite & ~frozen[lanes]
    good = stretch.before.replace(grad_sum=self.states.grad_sum)
    if lost.any():
      good, found = self._find(programs, stretch, good, lost)
    if (lost | frozen)[lanes].any():
      self.states = programs.choose(self._flags(programs, lost | frozen), good, self.states)
    return found

  def _find(
    self, programs: Programs, stretch: Stretch, good: LaneState, lost: Bool[np.ndarray, ' lane']
  ) -> tuple[LaneState, dict[int, tuple[int, str]]]:
    """Trains the stretch once more, to find where lanes were lost; returns them from before that.

    Those of which it does not say are as they were before the stretch.
    """
    states, found = good, {}
    for run in stretch.runs:
      watch = functools.partial(self._watch, programs, states, run)
      watched = processes.together(watch)
      of_lanes = zip(self.lanes, *self._collect((watched.examples, watched.because)), strict=True)
      here = {int(lane): (int(at), WHY[why]) for lane, at, why in of_lanes if why}
      here = {lane: one for lane, one in here.items() if lost[lane] and lane not in found}
      flags = np.isin(np.arange(len(lost)), list(here))
      good = programs.choose(self._flags(programs, flags), watched.state, good)
      states, found = watched.state, found | here
    start = stretch.runs[0].first_tick * programs.spec.micro_batch
    return good, dict.fromkeys(np.flatnonzero(lost).tolist(), (start, NOT_FINITE)) | found

  def _watch(self, programs: Programs, states: LaneState, run: Run) -> Watched:
    watched = programs.watch(self.rows)(states, self.lane_params, *_arguments(run))
    return jax.block_until_ready(watched)

  def _flags(self, programs: Programs, of_lanes: Bool[np.ndarray, ' lane']) -> jax.Array:
    return device_axis.spread(device_axis.seat(of_lanes, self.order), programs.devices)

  def _collect(self, tree: PyTree) -> Any:
    return device_axis.collect(tree, self.order)


def _arguments(run: Run) -> tuple:
  return run.source, jnp.int32(run.first_tick), jnp.int32(run.blocks)
