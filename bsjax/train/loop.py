"""The host loop of a training: restore, advance, evaluate, record, save."""

import dataclasses
import functools
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jaxtyping import PyTree
from ml_collections import ConfigDict
from rich.console import Console

from bsjax import data
from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.console import Pace, now, progress_line
from bsjax.engine import memory
from bsjax.plan import plan
from bsjax.storage import checkpoint, records
from bsjax.storage.writers import Mirrors
from bsjax.train.rows import lane_records
from bsjax.train.stage_run import StageRun


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
  ):
    """`weights` are those to begin with, but for the last layer's; None: fresh ones."""
    self.config, self.workdir, self.plan, self.console = config, workdir, study_plan, console
    self.records, self.mirrors = workdir / 'records.jsonl', mirrors
    self.execution = chosen
    self.stage = StageRun(
      config, dataset, study_plan, chosen.strategies, console.print, weights, chosen.parts
    )
    self.pending: Callable[[], None] | None = None  # records an evaluation still under way
    self.manager = checkpoint.open_manager(workdir, config.checkpoint.keep_all)
    self.evaluated = -1  # the last evaluation on record, in examples
    self.fingerprint = dataset.fingerprint()
    self.paces: dict[tuple[int, int], Pace] = {}  # by stage and group
    self.saved_at = now()
    self.stop = False

  def run(self, finish: Callable[[], None]) -> bool:
    """Trains, evaluates and saves until the plan is done or a signal asks to stop.

    Returns whether the plan is done; then it has called `finish`, which no signal asks to stop.

    Where a device has no room for all lanes of a group at once they run in parts, one after the
    other: found out before training if the device tells what it has, and otherwise when it fails,
    from the last checkpoint.
    """
    with self._stop_on_signal(), self.manager:
      while True:
        try:
          done = self._train()
          break
        except jax.errors.JaxRuntimeError as error:
          self._make_room(error)
      if done:
        finish()
    return done

  def _train(self) -> bool:
    self._restore()
    total = self.plan.total_examples * len(self.plan.lanes)
    with progress_line(self.console, len(self.plan.lanes), total, self._done()) as line:
      while not self.stop:
        self._run_stage(line)
        if self.stop or self.stage.plan.end == self.plan.total_examples:
          break
        self._record_pending()
        self.stage.next()
        self.console.print(f'Stage {self.stage.plan.stage.name} begins.')
    if not self.stop:
      self.manager.wait_until_finished()  # a finished study has its last state on disk
      return True
    self._save()
    position = min(group.position for group in self.stage.groups)
    self.console.print(
      f'Stopped at {position:,} of {self.plan.total_examples:,} examples; saved. '
      'The same command continues.'
    )
    return False

  def _run_stage(self, line) -> None:
    for mark in self.stage.plan.evaluations:
      if mark <= self.evaluated:
        continue
      self._advance_to(mark, line)
      if self.stop:
        return
      self._evaluate(mark)
      if mark == self.plan.total_examples or self._save_is_due():
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
    execution.write(self.workdir, dataclasses.replace(self.execution, parts=self.stage.parts))
    counts = ', '.join(str(count) for count in self.stage.parts.values())
    self.console.print(
      f'Out of device memory: the lanes of a group now take turns, in {counts} parts; '
      'continuing from the last checkpoint.'
    )

  def _advance_to(self, mark: int, line) -> None:
    block = self.stage.plan.block_examples
    for group in self.stage.groups:
      pace = self.paces.setdefault((self.stage.plan.stage.index, group.group.index), Pace())
      while group.position < mark and not self.stop:
        left = (mark - group.position) // block
        begun = now()
        blocks = group.advance(self.stage.data, min(left, pace.blocks))
        self._record_pending()  # while the devices train
        group.wait()
        pace.measured(blocks, now() - begun)
        line.advance(line.task_ids[0], blocks * block * len(group.group.lanes))

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
      rows += lane_records(lanes, snapshot(), position, rates, (probed, stage.train_examples))
    records.append(self.records, rows)
    self.mirrors.rows(rows)
    self.evaluated = mark
    for row in rows:
      if row['diverged']:
        logging.warning('lane %d has diverged by %d examples', row['lane'], mark)
    return rows

  def _save_is_due(self) -> bool:
    keys = self.config.checkpoint
    return keys.keep_all or now() - self.saved_at > keys.seconds

  def _save(self) -> None:
    self._record_pending()
    position = self.stage.position(self.evaluated, self.fingerprint)
    checkpoint.save(self.manager, [g.to_host() for g in self.stage.groups], position)
    self.saved_at = now()

  def _restore(self) -> None:
    position = checkpoint.position(self.manager)
    self.evaluated = position.evaluated if position else -1
    if position is None:
      self.stage.start()
    elif position.data != self.fingerprint:
      raise ConfigError(
        f'{self.workdir} was begun with other images or labels (fingerprint {position.data}) '
        f'than those read now ({self.fingerprint}); restore the data, or choose another --workdir'
      )
    else:
      self.stage.enter(position)
      like = [group.to_host() for group in self.stage.groups]
      self.stage.load(checkpoint.restore(self.manager, like), position)
    # Rows later than the checkpoint will be computed again.
    records.truncate_after(self.records, self.evaluated)

  @contextmanager
  def _stop_on_signal(self):
    """Turns the first interrupt or termination into a save and a clean stop."""

    def ask(number: int, _) -> None:
      self.stop = True
      signal.signal(number, signal.SIG_DFL)
      self.console.print('Stopping after this stretch; once more stops at once, unsaved.')

    on_main = threading.current_thread() is threading.main_thread()  # only it may set handlers
    numbers = (signal.SIGINT, signal.SIGTERM) if on_main else ()
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
      yield
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)
