"""What the shards of a study share: turns at its workdir, and one last checkpoint of all."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jaxtyping import PyTree
from ml_collections import ConfigDict
from rich.console import Console

from bsjax.engine import processes
from bsjax.plan import plan
from bsjax.plan.lanes import StagePlan, StudyPlan
from bsjax.storage import checkpoint, lock, shards
from bsjax.storage.position import BatchSizes, BatchSizeState, Divergence, GivenUp, Position
from bsjax.storage.shards import Shard


@contextlib.contextmanager
def turn(workdir: Path, console: Console, check: Callable[[], None]) -> Iterator[None]:
  """Has the first process hold a workdir that other shards hold for a while, too.

  While it waits it calls `check`, which raises ConfigError where waiting is in vain.
  """
  said: list[str] = []

  def waiting(holder: str) -> None:
    check()
    if not said:
      said.append(holder)
      console.print(f'Waiting: {holder}.', soft_wrap=True)

  with contextlib.ExitStack() as stack:
    processes.first(lambda: stack.enter_context(lock.held(workdir, waiting)))
    yield


def merge_checkpoints(config: ConfigDict, workdir: Path, whole: StudyPlan) -> None:
  """Writes the weights of all lanes as one checkpoint for each that all shards have.

  For what reads a study that is done: there is no training to go on with, so no more of the states.
  """
  keep_all = config.checkpoint.keep_all
  parts = {shard: plan.share(whole, shard) for shard in shards.all_of(workdir)}
  with contextlib.ExitStack() as stack:
    into = stack.enter_context(checkpoint.open_manager(workdir, keep_all))
    done = checkpoint.steps(into).keys()
    if whole.total_examples in done:
      return
    try:
      managers = {
        shard: stack.enter_context(checkpoint.open_to_read(shard.folder(workdir)))
        for shard in parts
      }
    except FileNotFoundError as error:
      logging.warning('%s gets no checkpoint: %s', workdir, error)
      return
    steps = {shard: checkpoint.steps(manager) for shard, manager in managers.items()}
    common = sorted(set.intersection(*map(set, steps.values())))
    if whole.total_examples not in common:
      logging.warning('%s gets no checkpoint: not all shards have one of their end', workdir)
      return
    for examples in [at for at in (common if keep_all else common[-1:]) if at not in done]:
      read = {
        shard: checkpoint.restore_weights(manager, steps[shard][examples])
        for shard, manager in managers.items()
      }
      checkpoint.save(into, *_together(config, whole, parts, read))
      into.wait_until_finished()


def _together(
  config: ConfigDict,
  whole: StudyPlan,
  parts: Mapping[Shard, StudyPlan],
  read: Mapping[Shard, tuple[list[PyTree], Position]],
) -> tuple[list[PyTree], Position]:
  """The weights of all lanes by group, and the position, from those of the shards at one place."""
  lanes: dict[int, PyTree] = {}
  now: dict[int, BatchSizeState] = {}
  begun: dict[int, BatchSizeState] = {}
  ticks: dict[int, int] = {}  # by micro-batch
  diverged: list[Divergence] = []
  given_up: list[GivenUp] = []
  for shard, (weights, position) in read.items():
    numbers = [lane.lane for lane in parts[shard].lanes]
    now |= zip(numbers, position.batch_sizes.now, strict=True)
    # What an extension takes over has the numbers that it had there.
    taken_over = shard.lanes is not None and shard.index == 1
    number = numbers if taken_over else range(len(whole.lanes))
    diverged += [lost._replace(lane=number[lost.lane]) for lost in position.diverged]
    given_up += [lane._replace(lane=number[lane.lane]) for lane in position.given_up]
    begun |= zip(numbers, position.batch_sizes.begun, strict=True)
    stage = _at(config, parts[shard], position.stage, now)
    for group, states, tick in zip(stage.groups, weights, position.ticks, strict=True):
      ticks[group.micro_batch] = tick
      for seat, lane in enumerate(group.lanes):
        lanes[lane.lane] = jax.tree.map(lambda x, seat=seat: np.asarray(x)[seat], states)
  stage = _at(config, whole, position.stage, now)
  by_group = [
    jax.tree.map(lambda *leaves: np.stack(leaves), *(lanes[lane.lane] for lane in group.lanes))
    for group in stage.groups
  ]
  return by_group, Position(
    stage=position.stage,
    examples=position.examples,
    ticks=tuple(ticks[group.micro_batch] for group in stage.groups),
    rate_sums=(),
    batch_sizes=BatchSizes(
      *(tuple(states[lane.lane] for lane in whole.lanes) for states in (now, begun))
    ),
    evaluated=position.evaluated,
    data=position.data,
    diverged=tuple(sorted(diverged)),
    given_up=tuple(sorted(given_up)),
  )


def _at(
  config: ConfigDict, study_plan: StudyPlan, stage: int, now: Mapping[int, BatchSizeState]
) -> StagePlan:
  return plan.with_batch_sizes(config, study_plan.stages[stage], study_plan.lanes, now)
