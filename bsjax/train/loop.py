"""The host loop of a training: restore, advance, evaluate, record, save."""

import contextlib
import dataclasses
import functools
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jaxtyping import PyTree
from ml_collections import ConfigDict
from rich.console import Console

from bsjax import data
from bsjax.autotune import execution
from bsjax.console import Pace, ProgressLine, now
from bsjax.engine import memory, processes
from bsjax.engine.own import CONFIGS, Own
from bsjax.models.task import CLASSIFICATION
from bsjax.plan import plan
from bsjax.storage import checkpoint, records, workdirs
from bsjax.storage.writers import Mirrors
from bsjax.train import stopping
from bsjax.train.rows import best_line, lane_records
from bsjax.train.stage_run import StageRun

LEAST_BETWEEN = 20  # times as long as a save takes: no more than a twentieth goes into them


class TrainLoop:
  """One call's part of a training; everything that touches disk or clock while lanes train."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: Path,
    dataset: data.Dataset,
    study_plan: plan.StudyPlan,
    chosen: execution.Execution,
    console: Console,
    mirrors: Mirrors,
    weights: PyTree | None = None,
    own: Own = CONFIGS,
  ):
    """`weights` are those to begin with, but for the last layer's; None: fresh ones.

    `own` is what comes from outside.
    """
    self.own, self.began = own, 0.0  # the largest loss with which a lane began
    self.config, self.workdir, self.plan, self.console = config, workdir, study_plan, console
    self.records, self.mirrors = workdir / 'records.jsonl', mirrors
    self.execution = chosen
    self.stage = StageRun(
      config, dataset, study_plan, chosen.strategies, console.print, weights, chosen.parts, own
    )
    self.pending: Callable[[], None] | None = None  # records an evaluation still under way
    self.manager = self._open_manager()
    self.evaluated = -1  # the last evaluation on record, in examples
    self.fingerprint = dataset.fingerprint()
    self.paces: dict[tuple[int, int], Pace] = {}  # by stage and group
    self.saved_at, self.save_seconds = now(), 0.0
    self.asked = False  # this process, by a signal
    self.stop = False  # all processes, as agreed

  def _open_manager(self) -> Any:
    """The checkpoints, which the first process alone reads and writes."""
    if processes.is_first():
      return checkpoint.open_manager(self.workdir, self.config.checkpoint.keep_all)
    return contextlib.nullcontext()

  def run(self, finish: Callable[[], None]) -> bool:
    """Trains, evaluates and saves until the plan is done or a signal asks to stop.

    Returns whether the plan is done; then it has called `finish`, which no signal asks to stop.

    Where a device has no room for all lanes of a group at once they run in parts, one after the
    other: found out before training if the device tells what it has, and otherwise when it fails,
    from the last checkpoint.
    """
    with stopping.asking(self._ask_to_stop), self.manager:
      while True:
        try:
          done = self._train()
          break
        except jax.errors.JaxRuntimeError as error:
          self._make_room(error)
      if done:
        processes.first(lambda: self._end(finish))
    return done

  def _end(self, finish: Callable[[], None]) -> None:
    self._check(records.read(self.records), self.plan.total_examples)
    finish()

  def _train(self) -> bool:
    self._restore()
    total = self.plan.total_examples * len(self.plan.lanes)
    with ProgressLine(self.console, len(self.plan.lanes), total, self._done()) as self.line:
      while not self.stop:
        self._run_stage()
        if self.stop or self.stage.plan.end == self.plan.total_examples:
          break
        self._record_pending()
        self.stage.next()
        self.console.print(f'Stage {self.stage.plan.stage.name} begins.')
      if self.stop:
        self.console.print('Saving, as asked; a second signal ends the process at once, unsaved.')
        self._save()
      processes.first(lambda: self.manager.wait_until_finished())  # on disk before it is said
    if not self.stop:
      return True
    position = min(group.position for group in self.stage.groups)
    self.console.print(
      f'Stopped at {position:,} of {self.plan.total_examples:,} examples; saved. '
      'The same command continues.'
    )
    return False

  def _run_stage(self) -> None:
    for mark in self.stage.plan.evaluations:
      if mark <= self.evaluated:
        continue
      self._advance_to(mark)
      if self.stop:
        return
      self._evaluate(mark)
      due = self.config.checkpoint.keep_all or processes.first(self._save_is_overdue)
      if mark == self.plan.total_examples or due:
        self._save()

  def _done(self) -> int:
    return sum(group.position * len(group.group.lanes) for group in self.stage.groups)

  def _make_room(self, error: jax.errors.JaxRuntimeError) -> None:
    """Cuts every group into more parts and starts again from the last checkpoint, or raises."""
    if not memory.out_of_memory(error):
      raise error
    self.pending = None
    traceback.clear_frames(error.__traceback__)  # they hold states, which would be in the way
    if not self.stage.make_room():
      raise error
    chosen = dataclasses.replace(self.execution, parts=self.stage.parts)
    processes.first(lambda: execution.write(self.workdir, chosen))
    counts = ', '.join(str(count) for count in self.stage.parts.values())
    self.console.print(
      f'Out of device memory: the lanes of a group now take turns, in {counts} parts; '
      'continuing from the last checkpoint.'
    )

  def _advance_to(self, mark: int) -> None:
    block = self.stage.plan.block_examples
    for group in self.stage.groups:
      pace = self.paces.setdefault((self.stage.plan.stage.index, group.group.index), Pace())
      while group.position < mark and not self.stop:
        left = (mark - group.position) // block
        begun = now()
        wanted = min(left, pace.blocks)
        advance = functools.partial(group.advance, self.stage.data, wanted)
        blocks = processes.together(advance)
        self._record_pending()  # while the devices train
        processes.together(group.wait)
        pace.measured(blocks, now() - begun)
        overdue = self._agree(pace)
        self.line.advance(blocks * block * len(group.group.lanes))
        keys = self.config.checkpoint
        # Every checkpoint that is kept is of an evaluation.
        between = keys.seconds and not keys.keep_all and not self.stop
        if between and overdue:
          self._save()

  def _agree(self, pace: Pace) -> bool:
    """Has all processes stop if one is asked to, go on as the first's clock says, and save alike.

    Returns whether a save is overdue.
    """
    told = processes.exchange((self.asked, pace.blocks, self._save_is_overdue()))
    self.stop = any(asked for asked, *_ in told)
    _, pace.blocks, overdue = told[0]
    return overdue

  def _evaluate(self, mark: int) -> None:
    """Has all lanes evaluated; the results are recorded when the devices are done."""
    stage, groups = self.stage.plan, self.stage.groups
    snapshots = [
      (g.group.lanes, g.evaluate(self.stage.data), g.rates(), g.programs.probed) for g in groups
    ]
    self.pending = functools.partial(self._record, mark, stage, snapshots)
    if self.stage.follows and mark < stage.end:
      self.stage.follow(self._record_pending())

  def _record_pending(self) -> list[dict[str, Any]]:
    """Returns the rows recorded, if an evaluation was waiting for it."""
    pending, self.pending = self.pending, None
    return pending() if pending else []

  def _record(
    self, mark: int, stage: plan.StagePlan, snapshots: list[tuple]
  ) -> list[dict[str, Any]]:
    rows = []
    position = {'examples': mark, 'epoch': stage.epoch(mark), 'stage': stage.stage.index}
    for lanes, snapshot, rates, probed in snapshots:
      rows += lane_records(
        lanes, snapshot(), position, rates, (probed, stage.train_examples), self._guessing()
      )
    self._remember(rows)
    if processes.is_first():
      records.append(self.records, rows)
      self.mirrors.rows(rows)
    self.evaluated = mark
    self.line.note(best_line(rows, self.plan.lanes))
    for row in rows:
      if row['diverged']:
        logging.warning('lane %d has diverged by %d examples', row['lane'], mark)
    return rows

  def _guessing(self) -> float | None:
    """The loss of a model that knows nothing; None where the records know it."""
    if self.own.task is CLASSIFICATION:
      return None
    return self.own.task.guessing or self.began

  def _remember(self, rows: list[records.Row]) -> None:
    """Keeps the largest finite loss before training, beside which one may have diverged."""
    losses = [row['train_loss'] for row in rows if not row['examples']]
    self.began = max([self.began, *(x for x in losses if x is not None and math.isfinite(x))])

  def _save_is_overdue(self) -> bool:
    seconds = max(self.config.checkpoint.seconds, LEAST_BETWEEN * self.save_seconds)
    return now() - self.saved_at > seconds

  def _save(self) -> None:
    self._record_pending()
    begun = now()
    position = self.stage.position(self.evaluated, self.fingerprint)
    states = [group.to_host() for group in self.stage.groups]  # of all processes
    processes.first(lambda: checkpoint.save(self.manager, states, position))
    self.saved_at = now()
    self.save_seconds = self.saved_at - begun

  def _restore(self) -> None:
    # After memory ran out a save may still be under way.
    processes.first(lambda: self.manager.wait_until_finished())
    self.evaluated, damaged = -1, []
    for step in processes.first(lambda: checkpoint.newest_first(self.manager)):
      try:
        self._load(step)
        break
      except checkpoint.Unreadable as error:
        damaged.append(str(error))
    else:
      if damaged:
        raise records.Damaged(
          f'no checkpoint of {self.workdir} can be used ({"; ".join(damaged)}); remove '
          f'{self.workdir / "checkpoints"} to train from the beginning, or choose another --workdir'
        )
      self.stage.start()
    for sentence in damaged:
      logging.warning('%s; continuing from the one before it', sentence)
    # Rows later than the checkpoint will be computed again.
    self._remember(processes.first(self._kept_rows))

  def _kept_rows(self) -> list[records.Row]:
    """The rows up to the checkpoint, all that there are from now on."""
    rows = records.truncate_after(self.records, self.evaluated)
    self._check(rows, self.evaluated)
    return rows

  def _check(self, rows: list[records.Row], end: int) -> None:
    """Raises records.Damaged unless every evaluation up to a position is on record."""
    marks = [mark for stage in self.plan.stages for mark in stage.evaluations if mark <= end]
    lanes = records.read_plan(self.workdir / 'plan.csv')
    records.check(rows, lanes, self.records, marks)

  def _load(self, step: int) -> None:
    position = processes.first(lambda: checkpoint.position(self.manager, step))
    workdirs.refuse_other_data(self.workdir, position.data, self.fingerprint)
    self.stage.enter(position)
    like = [group.to_host() for group in self.stage.groups]
    states = processes.first(lambda: checkpoint.restore(self.manager, step, like))
    self.stage.load(states, position)
    self.evaluated = position.evaluated
    self.console.print(
      f'Continuing at {position.examples:,} of {self.plan.total_examples:,} examples per lane.'
    )

  def _ask_to_stop(self) -> None:
    """Called by a signal, which may come while something is being printed."""
    self.asked = True
    if processes.count() == 1:
      self.stop = True
