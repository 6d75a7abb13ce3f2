"""The host loop of a training: restore, advance, evaluate, record, save."""

import dataclasses
import functools
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
from bsjax.config.errors import ConfigError
from bsjax.console import Pace, ProgressLine, now
from bsjax.engine import memory, processes
from bsjax.engine.own import CONFIGS, Own
from bsjax.plan.lanes import StudyPlan
from bsjax.storage import heaps, records, workdirs
from bsjax.storage.writers import Mirrors
from bsjax.train import finish, stopping
from bsjax.train.halving import Halving
from bsjax.train.kept_rows import KeptRows
from bsjax.train.profiling import Profiler
from bsjax.train.rows import best_line
from bsjax.train.saves import Saves
from bsjax.train.stage_run import StageRun
from bsjax.train.subset_evaluations import SubsetEvaluations
from bsjax.train.whole_evaluations import WholeEvaluations


class TrainLoop:
  """One call's part of a training; everything that touches disk or clock while lanes train."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: Path,
    dataset: data.Dataset,
    study_plan: StudyPlan,
    chosen: execution.Execution,
    console: Console,
    mirrors: Mirrors,
    weights: PyTree | None = None,
    own: Own = CONFIGS,
    goes_on: bool = False,
  ):
    """`weights` are those to begin with, but for the last layer's; None: fresh ones.

    `own` is what comes from outside. `goes_on` as in `Halving`.
    """
    self.config, self.workdir, self.plan, self.console = config, workdir, study_plan, console
    self.execution = chosen
    self.halving = Halving(config, study_plan, goes_on)
    self.whole = WholeEvaluations(workdir, own.task, mirrors, self.halving)
    self.subset = SubsetEvaluations(workdir, config.evaluation.subset > 0, self.halving)
    self.kept = KeptRows(workdir, study_plan, self.subset.asked)
    self.stage = StageRun(
      config, dataset, study_plan, chosen.strategies, console.print, weights, chosen.parts, own
    )
    self.pending: Callable[[], None] | None = None  # records an evaluation still under way
    self.saves = Saves(workdir, config.checkpoint)
    self.evaluated = -1  # the last evaluation on record, in examples
    self.fingerprint = dataset.fingerprint()
    self.paces: dict[tuple[int, int], Pace] = {}  # by stage and group
    self.profiler = Profiler(workdir, config.execution.profile)
    self.asked = False  # this process, by a signal
    self.stop = False  # all processes, as agreed
    self.lost = False  # whether all lanes had diverged at the last evaluation on record
    self.to_the_end = False  # whether it trains on all the same

  def run(self, finish: Callable[[], None]) -> bool:
    """Trains, evaluates and saves until the plan is done or a signal asks to stop.

    Returns whether the plan is done; then it has called `finish`, which no signal asks to stop.

    Where a device has no room for all lanes of a group at once they run in parts, one after the
    other: found out before training if the device tells what it has, and otherwise when it fails,
    from the last checkpoint.
    """
    with stopping.asking(self._ask_to_stop), self.saves.opened():
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
    end = self.evaluated if self.lost else self.plan.total_examples
    self.kept.check(end)
    finish()

  def _train(self) -> bool:
    self._restore()
    total = self.plan.total_examples * len(self.plan.lanes)
    with ProgressLine(self.console, len(self.plan.lanes), total, self._done()) as self.line:
      while not (self.stop or self.lost):
        self._run_stage()
        self._record_pending()
        if self.stop or self.lost or self.stage.plan.end == self.plan.total_examples:
          break
        self.stage.next()
        self.console.print(f'Stage {self.stage.plan.stage.name} begins.')
      if self.stop:
        self.console.print(
          'Saving, as asked; the same signal again ends the process at once, unsaved.'
        )
        self._save()
      self.saves.wait()  # on disk before it is said
    if self.lost:
      self.console.print(
        f'All {len(self.plan.lanes)} lanes have diverged by {self.evaluated:,} of '
        f'{self.plan.total_examples:,} examples: training ends here. Lower the learning rates.'
      )
    if self.lost or not self.stop:
      return True
    position = min(group.position for group in self.stage.groups)
    self.console.print(
      f'Stopped at {position:,} of {self.plan.total_examples:,} examples; saved. '
      'The same command continues.'
    )
    return False

  def _run_stage(self) -> None:
    whole = self.stage.plan.evaluations
    for mark in sorted((*whole, *self.stage.plan.further)):
      if mark <= self.evaluated:
        continue
      self._advance_to(mark)
      if self.stop or self.lost:
        return
      self._evaluate(mark, whole=mark in whole)
      due = self.config.checkpoint.keep_all or processes.first(lambda: self.saves.overdue)
      if mark == self.plan.total_examples or (due and mark in whole) or self.lost:
        self._save()

  def _done(self) -> int:
    return sum(group.position * len(group.group.lanes) for group in self.stage.groups)

  def _make_room(self, error: jax.errors.JaxRuntimeError) -> None:
    """Cuts every group into more parts and starts again from the last checkpoint.

    Raises ConfigError where there is nothing left to cut, and errors of another kind as they are.
    """
    if not memory.out_of_memory(error):
      raise error
    self.pending = None
    traceback.clear_frames(error.__traceback__)  # they hold states, which would be in the way
    if not self.stage.make_room():
      raise ConfigError(
        f'a device has no room, even with one lane at a time ({str(error).splitlines()[0][:200]}); '
        'choose a smaller micro_batch, a smaller model or fewer lanes, or split micro-batches over '
        'devices (execution.devices_per_lane)'
      ) from error
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
      program = self.stage.plan.stage.index, group.group.index
      pace = self.paces.setdefault(program, Pace())
      while group.position < mark and not (self.stop or self.lost):
        left = (mark - group.position) // block
        begun = now()
        wanted = self.profiler.wanted(program, min(left, pace.blocks), left)
        advance = functools.partial(group.advance, self.stage.data, wanted)
        with self.profiler.call(program):
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
    told = processes.exchange((self.asked, pace.blocks, self.saves.overdue))
    self.stop = any(asked for asked, *_ in told)
    _, pace.blocks, overdue = told[0]
    return overdue

  def _evaluate(self, mark: int, whole: bool) -> None:
    """Has all lanes evaluated; the results are recorded when the devices are done.

    `whole`: on whole splits, and not on the subset alone.
    """
    stage, groups, device_data = self.stage.plan, self.stage.groups, self.stage.data
    where = {'examples': mark, 'epoch': stage.epoch(mark), 'stage': stage.stage.index}
    if self.subset.asked:
      record = self.subset.begin(groups, device_data, where, self.whole.guessing)
      if not whole:
        self.pending, self.evaluated = record, mark
        return
      record()
    record = self.whole.begin(groups, device_data, stage.train_examples, where)
    self.pending = functools.partial(self._record, mark, record)
    if self.stage.follows and mark < stage.end:
      self.stage.follow(self._record_pending())
    elif mark in self.halving.rungs:
      self._drop(mark, self._record_pending())
    elif self.stage.over:  # nothing is trained meanwhile
      self._record_pending()

  def _drop(self, mark: int, rows: list[records.Row]) -> None:
    """Trains the lanes no more that end here, as their rows say."""
    ended = [row['lane'] for row in rows if row['dropped']]
    self.stage.give_up(ended)
    if ended:
      self.console.print(
        f'At {mark:,} of {self.plan.total_examples:,} examples {len(ended)} of {len(rows)} lanes '
        'end: their learning rates are not among the better ones of their batch size.'
      )

  def _record_pending(self) -> list[dict[str, Any]]:
    """Returns the rows recorded, if an evaluation was waiting for it."""
    pending, self.pending = self.pending, None
    return pending() if pending else []

  def _record(self, mark: int, record: Callable[[], list[records.Row]]) -> list[records.Row]:
    rows = record()
    self.evaluated, self.lost = mark, self._lost(rows)
    self.line.note(best_line(rows, self.plan.lanes))
    for row in rows:
      if row['diverged']:
        logging.warning('lane %d has diverged by %d examples', row['lane'], row['diverged_at'])
    self.stage.note_diverged(rows)
    heaps.trim()
    return rows

  def _save(self) -> None:
    self._record_pending()
    position = self.stage.position(self.evaluated, self.fingerprint)
    self.saves.save([group.to_host() for group in self.stage.groups], position)

  def _restore(self) -> None:
    self.evaluated = -1
    damage = processes.first(self.kept.damage)
    if not self.saves.load_newest(self._load, damage):
      self.stage.start()
    # Rows later than the checkpoint will be computed again.
    rows = processes.first(lambda: self.kept.cut(self.evaluated))
    if self.evaluated < self.plan.total_examples:
      processes.first(lambda: finish.undo(self.workdir))
    self.whole.remember(rows)
    last = [row for row in rows if row['examples'] == self.evaluated]
    self.lost = bool(last) and self._lost(last)

  def _lost(self, rows: list[records.Row]) -> bool:
    """Whether there is nothing left to train, by the rows of an evaluation."""
    return not self.to_the_end and all(row['diverged'] for row in rows)

  def _load(self, step: int) -> None:
    position = self.saves.position(step)
    workdirs.refuse_other_data(self.workdir, position.data, self.fingerprint)
    self.stage.enter(position)
    states = self.saves.states(step, [group.to_host() for group in self.stage.groups])
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
