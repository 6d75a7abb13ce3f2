"""Lanes that run in one call of a program: trained in stretches, left alone once they are out."""

import dataclasses
import functools
from collections.abc import Callable
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
class Kept:
  """What an evaluation found, which it would find again of lanes whose states stay."""

  results: PyTree  # [device, seat]
  out: Bool[np.ndarray, ' lane']  # which of the group's lanes were out then


@dataclasses.dataclass
class Part:
  """Lanes of a group that run in one call of a program; a group has several if memory is short."""

  order: Int[np.ndarray, 'device seat']  # which of the group's lanes sits where
  rows: int  # of seats of one trial, see vectorize.over_lanes
  lane_params: LaneParams  # [device, seat]
  states: LaneState  # [device, seat, ...]
  stretch: Stretch | None = None  # under way, or not yet settled
  kept: dict[str, Kept] = dataclasses.field(default_factory=dict)  # by kind of evaluation

  @property
  def lanes(self) -> Int[np.ndarray, ' lane']:
    """Which of the group's lanes it has, in ascending order."""
    return np.unique(self.order)

  @property
  def pending(self) -> int:
    """Blocks trained since lanes were last known to be finite."""
    return sum(run.blocks for run in self.stretch.runs) if self.stretch else 0

  def train(self, programs: Programs, run: Run, out: Bool[np.ndarray, ' lane']) -> None:
    """Trains for some blocks; it returns before the devices are done.

    `out` are those of the group's lanes that stay as they are, here as below.
    """
    if self.stretch is None:
      self.stretch = Stretch(programs.copy(self.states.replace(grad_sum=())), [])
    self.stretch.runs.append(run)
    lane_params = self.turn(programs, ~out)
    self.states = programs.train(self.rows)(self.states, lane_params, *_arguments(run))

  def turn(self, programs: Programs, live: Bool[np.ndarray, ' lane']) -> LaneParams:
    """Returns what makes lanes themselves, for a call that passes over those that are not live."""
    if live[self.lanes].all():
      return self.lane_params
    return self.lane_params.replace(live=self._flags(programs, live))

  def measure(
    self,
    programs: Programs,
    kind: str,
    function: Callable[[LaneState, LaneParams], PyTree],
    out: Bool[np.ndarray, ' lane'],
  ) -> PyTree:
    """Returns what an evaluation finds of all lanes, of those out since the last one as it did."""
    kept = self.kept.get(kind)
    known = out & kept.out if kept else np.zeros_like(out)
    if kept and known[self.lanes].all():
      return kept.results
    results = function(self.states, self.turn(programs, ~known))
    if known[self.lanes].any():
      results = programs.choose(self._flags(programs, known), kept.results, results)
    self.kept[kind] = Kept(results, out)
    return results

  def sit(self, programs: Programs, order: Int[np.ndarray, 'device seat']) -> None:
    """Has the lanes, which are settled, sit otherwise; all processes come here together."""
    held = self.states, self.lane_params, {kind: kept.results for kind, kept in self.kept.items()}
    held = device_axis.seat(self._collect(held), np.searchsorted(self.lanes, order))
    self.states, self.lane_params, results = device_axis.spread(held, programs.devices)
    self.order = order
    for kind, tree in results.items():
      self.kept[kind].results = tree

  def settle(
    self, programs: Programs, out: Bool[np.ndarray, ' lane']
  ) -> dict[int, tuple[int, str]]:
    """Puts lanes back that were out before the stretch, or diverged in it.

    Returns, of those that diverged in it, the examples of their stream that they had seen at the
    last good update, and why. All processes come here together.
    """
    if self.stretch is None:
      return {}
    stretch, self.stretch = self.stretch, None
    lanes = self.lanes
    finite = self._collect(programs.finite(self.states.replace(grad_sum=())))
    lost, found = np.zeros_like(out), {}
    lost[lanes] = ~finite & ~out[lanes]
    good = stretch.before.replace(grad_sum=self.states.grad_sum)
    if lost.any():
      good, found = self._find(programs, stretch, good, lost)
    moved = lost if programs.skips else lost | out
    if moved[lanes].any():
      self.states = programs.choose(self._flags(programs, moved), good, self.states)
    return found

  def _find(
    self, programs: Programs, stretch: Stretch, good: LaneState, lost: Bool[np.ndarray, ' lane']
  ) -> tuple[LaneState, dict[int, tuple[int, str]]]:
    """Trains the stretch once more, to find where lanes were lost; returns them from before that.

    Those of which it does not say are as they were before the stretch.
    """
    states, found = good, {}
    for run in stretch.runs:
      watch = functools.partial(self._watch, programs, states, run, lost)
      watched = processes.together(watch)
      of_lanes = zip(self.lanes, *self._collect((watched.examples, watched.because)), strict=True)
      lost_in_run = {int(lane): (int(at), WHY[why]) for lane, at, why in of_lanes if why}
      lost_in_run = {x: why for x, why in lost_in_run.items() if lost[x] and x not in found}
      flags = np.isin(np.arange(len(lost)), list(lost_in_run))
      good = programs.choose(self._flags(programs, flags), watched.state, good)
      states, found = watched.state, found | lost_in_run
    start = stretch.runs[0].first_tick * programs.spec.micro_batch
    return good, dict.fromkeys(np.flatnonzero(lost).tolist(), (start, NOT_FINITE)) | found

  def _watch(
    self, programs: Programs, states: LaneState, run: Run, lost: Bool[np.ndarray, ' lane']
  ) -> Watched:
    lane_params = self.turn(programs, lost)
    watched = programs.watch(self.rows)(states, lane_params, *_arguments(run))
    return jax.block_until_ready(watched)

  def _flags(self, programs: Programs, of_lanes: Bool[np.ndarray, ' lane']) -> jax.Array:
    return device_axis.spread(device_axis.seat(of_lanes, self.order), programs.devices)

  def _collect(self, tree: PyTree) -> Any:
    return device_axis.collect(tree, self.order)


def _arguments(run: Run) -> tuple:
  return run.source, jnp.int32(run.first_tick), jnp.int32(run.blocks)
