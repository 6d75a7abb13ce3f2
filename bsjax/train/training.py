"""One training, from its configuration to its report: planned once, checked once."""

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

from absl import logging
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from bsjax.autotune import execution
from bsjax.config.errors import ConfigError, Problem
from bsjax.cost import foreseen
from bsjax.data import Dataset
from bsjax.data.doubts import doubts
from bsjax.data.facts import data_facts
from bsjax.engine import device_axis, fed_data, memory, processes, stage_lanes
from bsjax.engine.device_data import study_devices
from bsjax.engine.own import CONFIGS, Own
from bsjax.plan import halving, plan, table
from bsjax.plan.lanes import StudyPlan
from bsjax.report.text import foreseen as text
from bsjax.storage import extensions, provenance, records, shards, workdirs
from bsjax.storage.shards import Shard
from bsjax.storage.writers import Mirrors
from bsjax.train import begun_with, finish, first_round, shard_run, spread, stage_check, transfer
from bsjax.train.kept_rows import KeptRows
from bsjax.train.loop import TrainLoop


class Extended(NamedTuple):
  """The study that an extension extends: its workdir, and how the whole runs, as that did."""

  workdir: Path
  execution: execution.Execution


class Training:
  """The training of a valid config in a workdir, from wherever an earlier call left it.

  Of a shard it is that of its lanes, in a workdir of its own within `whole`, that of the study; of
  an extension the lanes that the study lacks are a shard, too.
  Raises ConfigError where the workdir holds another study, or the plan cannot be.
  """

  def __init__(
    self,
    config: ConfigDict,
    whole: Path,
    dataset: Dataset,
    console: Console,
    shard: Shard | None = None,
    own: Own = CONFIGS,
    extends: Extended | None = None,
  ):
    self.config, self.whole, self.dataset, self.console = config, whole, dataset, console
    self.shard, self.workdir = shard, shard.folder(whole) if shard else whole
    self.own, self.extends = own, extends
    self._refuse_another()
    self.recorded = processes.first(self._read_execution)
    begun_with.refuse_other_data(whole, dataset)
    begun_with.refuse_other_parts(whole, own, dataset)
    micro_batches = self.recorded.micro_batches if self.recorded else None
    self._foreseen = plan.make_plan(config, len(dataset.train), micro_batches)
    if shard and shard.count > len(self._foreseen.lanes):
      raise ConfigError(
        f'--shard={shard}: {whole} has {len(self._foreseen.lanes)} lanes; give no more shards'
      )
    if config.halving.rungs and not extends:
      self._refuse_few(config)
    self.asked_to_stop = False  # whether a signal came while it trained, or was finished
    self._freezing: list[Table] | None = None  # what each stage freezes, once it is checked

  def _refuse_few(self, config: ConfigDict) -> None:
    """Raises ConfigError where learning rates cannot be dropped by all trials of them."""
    if self.shard:
      raise ConfigError(
        f'--shard={self.shard}: with halving.rungs learning rates are dropped by all of their '
        'trials, of which a shard has some; leave one of both out',
        'halving.rungs',
      )
    halving.rungs(config, self._foreseen)

  def outdated(self) -> bool:
    """Whether another process has begun the study since; raises ConfigError if it began another."""
    self._refuse_another()
    return processes.first(self._read_execution) != self.recorded

  def _refuse_another(self) -> None:
    processes.first(lambda: extensions.refuse_halfway(self.whole))
    processes.first(lambda: shards.refuse_otherwise(self.whole, self.shard))
    for workdir in dict.fromkeys((self.whole, self.workdir)):
      processes.first(lambda workdir=workdir: workdirs.refuse_another(workdir, self.config))

  def _read_execution(self) -> execution.Execution | None:
    """How the training runs if it has begun, or of a shard if any has; parts are its own."""
    recorded = execution.read(self.workdir)
    if recorded is None and (of_others := execution.read(self.whole)):
      recorded = dataclasses.replace(of_others, parts={})
    return recorded or (self.extends.execution if self.extends else None)

  def check(self) -> None:
    """Raises ConfigError where a stage does not fit the model; nothing is compiled."""
    if self._freezing is None:
      mine = self._mine(self._foreseen)
      self._freezing = stage_check.check(self.config, self.dataset, mine, self.own)

  @functools.cached_property
  def chosen(self) -> execution.Execution:
    """How it runs on this machine, by timing what there is to choose and is not recorded."""
    study = self.config, self.dataset, self._foreseen
    return processes.first(
      lambda: execution.choose(  # it depends on clocks
        *study, self.recorded, self.console.print, own=self.own
      )
    )

  @functools.cached_property
  def _whole_plan(self) -> StudyPlan:
    """The plan of the study, with micro-batches as chosen for this machine."""
    chosen = self.chosen.micro_batches
    if chosen == self._foreseen.micro_batches:
      return self._foreseen
    return plan.regroup(self.config, self._foreseen, chosen)

  @functools.cached_property
  def study_plan(self) -> StudyPlan:
    """The plan of what is trained here."""
    return self._mine(self._whole_plan)

  def _mine(self, whole: StudyPlan) -> StudyPlan:
    return plan.share(whole, self.shard) if self.shard else whole

  def run(self, mirrors: Mirrors, go_on: bool = False) -> bool:
    """Trains to the end; returns whether it came there, and was not asked to stop.

    With `go_on` also where it had ended before that, as all lanes had diverged.
    """
    if processes.first(lambda: not go_on and self._is_finished(mirrors)):
      return True
    self.check()
    with self._turn():
      if self.shard and not self.recorded:  # another may have begun since, and chosen
        self.recorded = processes.first(self._read_execution)
        for known in ('chosen', '_whole_plan', 'study_plan'):
          vars(self).pop(known, None)
      _ = self.study_plan  # made by all, before the first process writes it
      if beyond := self.beyond_budget(timed=True):
        raise ConfigError(beyond)
      processes.first(self._begin)
    self._say_plan()
    lender = self.extends.workdir if self.extends else self.whole
    weights = processes.first(lambda: transfer.lent_weights(self.config, lender))
    study = self.config, self.workdir, self.dataset, self.study_plan
    loop = TrainLoop(
      *(*study, self.chosen, self.console, mirrors, weights, self.own), goes_on=bool(self.extends)
    )
    # Lanes that are not of this share may go on.
    loop.to_the_end = go_on or self.shard is not None
    if processes.is_first():
      mirrors.begin(self.config, plan.lane_rows(self.study_plan))
    try:
      done = loop.run(lambda: self._finish(mirrors))
    finally:
      mirrors.close()
    self.asked_to_stop = any(processes.exchange(loop.asked))
    return done

  def beyond_budget(self, timed: bool = False) -> Problem | None:
    """Says why the first round of a question may not begin: its examples, or once `timed` its time.

    None where it may, or has begun.
    """
    if processes.first((self.workdir / 'config.json').exists):
      return None
    beyond = first_round.beyond_examples(self.config, self._foreseen)
    if beyond or not timed:
      return beyond
    study = self.config, self.study_plan, self.chosen
    seconds = processes.first(lambda: execution.training_seconds(*study))  # as the first timed it
    return first_round.beyond_seconds(self.config, seconds)

  def _turn(self) -> contextlib.AbstractContextManager[None]:
    """Keeps other shards out of the workdir of the study, where there are any."""
    if not self.shard:
      return contextlib.nullcontext()
    return shard_run.turn(self.whole, self.console, self._refuse_another)

  def _begin(self) -> None:
    """Writes, or checks, what a workdir holds before training, and that of the whole study."""
    self._refuse_another()  # others may have begun since
    self._claim(self.whole, self._whole_plan)
    if self.shard:
      if not (self.whole / execution.FILE).exists():
        execution.write(self.whole, dataclasses.replace(self.chosen, parts={}))
      self._claim(self.workdir, self.study_plan)
    execution.write(self.workdir, self.chosen)
    for sentence in provenance.note(self.workdir, self.chosen.device):
      logging.warning('%s', sentence)
    if not (self.whole / 'data.json').exists():
      facts = data_facts(self.config, self.dataset, self._whole_plan)
      records.write_json(self.whole / 'data.json', facts)
    begun_with.note_parts(self.whole, self.own, self.dataset)

  def _finish(self, mirrors: Mirrors) -> None:
    """Writes what follows from the records."""
    hardware = device_axis.describe(study_devices(self.config, self.study_plan.stages[-1]))
    if self.shard:
      shards.write_done(self.workdir, hardware)
      self._gather(self._whole_plan, mirrors)
      return
    self._say_ended(self._whole_plan, hardware, mirrors)

  def _say_ended(self, whole: StudyPlan, hardware: str, mirrors: Mirrors) -> None:
    study = self.config, self.whole, self.dataset, whole
    path = finish.finish(*study, hardware, self.console, mirrors)
    self.console.print(f'Report: {self._lasting(path)}', soft_wrap=True)

  def _lasting(self, path: Path) -> Path:
    """Where a file lies in the end: an extension takes the place of what it extends."""
    return self.extends.workdir / path.name if self.extends else path

  def _gather(self, whole: StudyPlan, mirrors: Mirrors) -> None:
    """Makes one study of the shards, where this is the last of them to come to its end."""
    with self._turn():
      left = shards.missing(self.whole)  # also folders that were removed after it was done
      if not left:
        shard_run.merge_checkpoints(self.config, self.whole, whole)
      if (self.whole / 'summary.json').exists():
        self._say_finished(whole)
      elif left:
        names = ', '.join(map(str, left))
        self.console.print(f'Shard {self.shard} has ended; the report follows after {names}.')
      else:
        shards.merge(self.whole)
        self._say_ended(whole, shards.hardware(self.whole), mirrors)

  def show(self, target: str = '') -> None:
    """Prints the plan with its memory, or what it takes on a target; nothing is written."""
    self.check()
    if target:
      study = self.config, self.dataset, self._mine(self._foreseen), target
      rows = foreseen.foreseer(*study, self.own).rows(say=self.console.print)
      return self.console.print(text.table(self.config.model.name, target, rows))
    first = self.study_plan.first
    groups = stage_lanes.create(
      self.config, self.dataset, first, self.chosen.strategies, own=self.own
    )
    on_device = fed_data.create(self.config, self.dataset, first)
    for group in groups:
      for sentence in memory.fit(group, on_device, self.config.execution.memory):
        self.console.print(sentence)
    self._say_plan({g.group.index: memory.bytes_per_lane(g, on_device) for g in groups})
    for sentence in on_device.said():
      self.console.print(sentence)
    if beyond := self.beyond_budget(timed=True):
      self.console.print(f'Refused as it stands: {beyond}', soft_wrap=True)

  def _say_plan(self, bytes_per_lane: dict[int, int | None] | None = None) -> None:
    if self.shard:
      which = 'Extension' if self.extends else f'Shard {self.shard}'
      lanes = f'{len(self.study_plan.lanes)} of the {len(self._whole_plan.lanes)} lanes'
      self.console.print(f'{which}: {lanes}, in {self.workdir}.', soft_wrap=True)
    self.console.print(*self._freezing, sep='\n')
    plan_table = table.table(self.config, self.study_plan, bytes_per_lane)
    total_time = execution.total_time(self.config, self.study_plan, self.chosen)
    self.console.print(plan_table, *self.chosen.lines(), total_time, sep='\n')
    if stages_table := table.stages_table(self.study_plan):
      self.console.print(stages_table)
    for sentence in spread.sentences(self.config, self.study_plan.first):
      self.console.print(sentence, soft_wrap=True)
    for sentence in () if self.console.quiet else doubts(self.dataset):
      self.console.print(f'Data: {sentence}', markup=False, highlight=False, soft_wrap=True)

  def _is_finished(self, mirrors: Mirrors) -> bool:
    """Whether nothing is left to do; checks that the workdir was begun with these data."""
    if not self.recorded:
      return False
    self._claim(self.whole, self._foreseen)  # that of plan.csv
    if self.shard and shards.is_done(self.workdir):
      self._gather(self._foreseen, mirrors)
      return True
    if not (self.whole / 'summary.json').exists():
      return False
    kept = KeptRows(self.workdir, self._foreseen, self.config.evaluation.subset > 0)
    if not self.shard and (wrong := kept.at_the_end()):
      logging.warning('%s; this study was finished, and trains again from before that', wrong)
      return False
    self._say_finished(self._foreseen)
    return True

  def _say_finished(self, whole: StudyPlan) -> None:
    path = finish.complete(self.config, self.whole, self.dataset, whole, self.console)
    self.console.print(f'This study is finished: {self._lasting(path)}', soft_wrap=True)

  def _claim(self, workdir: Path, study_plan: StudyPlan) -> None:
    begun_with.claim(workdir, self.config, study_plan, recorded=self.recorded is not None)
