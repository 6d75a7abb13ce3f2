"""The host loop of a study: restore, advance, evaluate, record, save."""

import functools
import json
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import jax
from absl import logging
from ml_collections import ConfigDict
from rich.console import Console

from bsjax import (
  checkpoint,
  data,
  execution,
  memory,
  plan,
  program,
  records,
  replicate,
  report,
  sampler,
  workdirs,
)
from bsjax.analysis.summary import summarize
from bsjax.analysis.tables import results
from bsjax.config import ConfigError, validate
from bsjax.device_data import DeviceData
from bsjax.lane_records import lane_records
from bsjax.progress import Pace, make_console, now, progress_line
from bsjax.strategy import Strategy


def run_study(config: ConfigDict, workdir: str | Path, dry_run: bool = False) -> None:
  """Trains a study to its end in `workdir`, from wherever an earlier call left it.

  Raises ConfigError, before anything is compiled, when the configuration cannot run or is not the
  one that `workdir` was begun with.
  """
  validate(config)
  console = make_console()
  workdir = Path(workdir)
  dataset = data.load(config.data, config.seed)
  recorded = execution.read(workdir)
  workdirs.refuse_another(workdir, config)
  if recorded and not dry_run and workdirs.is_finished(workdir, config, dataset, recorded, console):
    return
  chosen = execution.choose(config, dataset, recorded, console.print)
  study = plan.make_plan(config, len(dataset.train.labels), chosen.micro_batches)
  if dry_run:
    groups = program.create(config, dataset, study, chosen.strategies)
    on_device = DeviceData(dataset, config, study)
    bytes_per_lane = {g.group.index: memory.bytes_per_lane(g, on_device) for g in groups}
    console.print(plan.table(study, bytes_per_lane), *chosen.lines(), sep='\n')
    return
  workdirs.claim(workdir, config, study)
  execution.write(workdir, chosen)
  if not (workdir / 'data.json').exists():
    facts = sampler.facts(config, dataset, study.total_examples)
    records.write_json(workdir / 'data.json', facts)
  console.print(plan.table(study), *chosen.lines(), sep='\n')
  Study(config, workdir, dataset, study, chosen.strategies, console).run()


class Study:
  """One call's part of a study; everything that touches disk or clock while lanes train."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: Path,
    dataset: data.Dataset,
    study: plan.Plan,
    strategies: dict[int, Strategy],
    console: Console,
  ):
    self.config, self.workdir, self.plan, self.console = config, workdir, study, console
    self.records = workdir / 'records.jsonl'
    self.data = DeviceData(dataset, config, study)
    self.groups = program.create(config, dataset, study, strategies)
    self.pending: Callable[[], None] | None = None  # records an evaluation still under way
    self.manager = checkpoint.open_manager(workdir, config.checkpoint.keep_all)
    self.evaluated = -1  # the last evaluation on record, in examples
    self.fingerprint = dataset.fingerprint()
    self.paces = {group.group.index: Pace() for group in self.groups}
    self.saved_at = now()
    self.stop = False

  def run(self) -> None:
    """Trains, evaluates and saves until the plan is done or a signal asks to stop.

    Where a device has no room for all lanes of a group at once they take turns: found out before
    training if the device tells what it has, and otherwise when it fails, from the last checkpoint.
    """
    with self._stop_on_signal(), self.manager:
      for group in self.groups:
        for sentence in memory.fit(group, self.data, self.config.execution.memory):
          self.console.print(sentence)
      while True:
        try:
          return self._run()
        except jax.errors.JaxRuntimeError as error:
          self._make_room(error)

  def _run(self) -> None:
    self._restore()
    done = sum(g.position * len(g.group.lanes) for g in self.groups)
    total = self.plan.total_examples * len(self.plan.lanes)
    with progress_line(self.console, len(self.plan.lanes), total, done) as line:
      for mark in self.plan.evaluations:
        if mark <= self.evaluated:
          continue
        self._advance_to(mark, line)
        if self.stop:
          break
        self._look(mark)
        if mark == self.plan.total_examples or self._save_is_due():
          self._save()
      else:
        line.stop()
        self.manager.wait_until_finished()  # a finished study has its last state on disk
        return self._finish()
      self._save()
    where = min(group.position for group in self.groups)
    self.console.print(
      f'Stopped at {where:,} of {self.plan.total_examples:,} examples; saved. '
      'The same command continues.'
    )

  def _make_room(self, error: jax.errors.JaxRuntimeError) -> None:
    """Cuts every group into more parts and starts again from the last checkpoint, or raises."""
    if not program.out_of_memory(error):
      raise error
    self.pending = None
    traceback.clear_frames(error.__traceback__)  # they hold states, which would be in the way
    split = [group.split() for group in self.groups]
    if not any(split):
      raise error
    for group, is_new in zip(self.groups, split, strict=True):
      if not is_new:
        group.restart(len(group.parts))
    parts = ', '.join(str(len(group.parts)) for group in self.groups)
    self.console.print(
      f'Out of device memory: the lanes of a group now take turns, in {parts} parts; '
      'continuing from the last checkpoint.'
    )

  def _advance_to(self, mark: int, line) -> None:
    for group in self.groups:
      pace = self.paces[group.group.index]
      while group.position < mark and not self.stop:
        left = (mark - group.position) // self.plan.block_examples
        begun = now()
        blocks = group.advance(self.data, min(left, pace.blocks))
        self._record_pending()  # while the devices train
        group.wait()
        pace.measured(blocks, now() - begun)
        line.advance(line.task_ids[0], blocks * self.plan.block_examples * len(group.group.lanes))

  def _look(self, mark: int) -> None:
    """Has all lanes evaluated; what is found is recorded when it is there."""
    looks = [group.look(self.data) for group in self.groups]
    self.pending = functools.partial(self._record, mark, looks)

  def _record_pending(self) -> None:
    if self.pending:
      self.pending()
    self.pending = None

  def _record(self, mark: int, looks: list[Callable[[], program.Look]]) -> None:
    rows = []
    for group, look in zip(self.groups, looks, strict=True):
      rows += lane_records(
        group.group.lanes,
        look(),
        {'examples': mark, 'epoch': mark / self.plan.train_examples, 'stage': 0},
        schedule=group.schedule_at(mark),
        probed=(group.probed, self.plan.train_examples),
      )
    records.append(self.records, rows)
    self.evaluated = mark
    for row in rows:
      if row['diverged']:
        logging.warning('lane %d has diverged by %d examples', row['lane'], mark)

  def _save_is_due(self) -> bool:
    keys = self.config.checkpoint
    return keys.keep_all or now() - self.saved_at > keys.seconds

  def _save(self) -> None:
    self._record_pending()
    position = {'ticks': [g.ticks for g in self.groups], 'evaluated': self.evaluated}
    position['examples'] = min(g.position for g in self.groups)
    position['data'] = self.fingerprint
    checkpoint.save(self.manager, [g.to_host() for g in self.groups], position)
    self.saved_at = now()

  def _restore(self) -> None:
    found = checkpoint.restore(self.manager, [g.to_host() for g in self.groups])
    if found is None:
      self.evaluated = -1
      records.truncate_after(self.records, -1)
      return
    states, position = found
    if position['data'] != self.fingerprint:
      raise ConfigError(
        f'{self.workdir} was begun with other images or labels (fingerprint {position["data"]}) '
        f'than those read now ({self.fingerprint}); restore the data, or choose another --workdir'
      )
    for group, state, ticks in zip(self.groups, states, position['ticks'], strict=True):
      group.load(state, ticks)
    self.evaluated = position['evaluated']
    # Rows later than the checkpoint will be computed again.
    records.truncate_after(self.records, self.evaluated)

  def _finish(self) -> None:
    rows = records.read(self.records)
    lanes = records.read_plan(self.workdir / 'plan.csv')
    hardware = replicate.describe(self.groups[0].devices)
    facts = json.loads((self.workdir / 'data.json').read_text())
    summary = summarize(json.loads(self.config.to_json()), lanes, rows, hardware, facts)
    records.write_json(self.workdir / 'summary.json', summary)
    path = report.write(self.workdir)
    self.console.print(results(summary))
    self.console.print(f'Report: {path}', soft_wrap=True)

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
