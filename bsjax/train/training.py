"""One training, from its configuration to its report: planned once, checked once."""

import functools
from pathlib import Path

from absl import logging
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.data import Dataset
from bsjax.data.doubts import doubts
from bsjax.data.facts import data_facts
from bsjax.engine import device_axis, device_lanes, memory, processes
from bsjax.engine.device_data import DeviceData, study_devices
from bsjax.plan import plan, table
from bsjax.storage import provenance, records, workdirs
from bsjax.storage.writers import Mirrors
from bsjax.train import finish, stage_run, transfer
from bsjax.train.loop import TrainLoop


class Training:
  """The training of a valid config in a workdir, from wherever an earlier call left it.

  Raises ConfigError where the workdir holds another study, or the plan cannot be.
  """

  def __init__(self, config: ConfigDict, workdir: Path, dataset: Dataset, console: Console):
    processes.first(lambda: workdirs.refuse_another(workdir, config))
    self.config, self.workdir, self.dataset, self.console = config, workdir, dataset, console
    self.recorded = processes.first(lambda: execution.read(workdir))
    self._refuse_other_data()
    micro_batches = self.recorded.micro_batches if self.recorded else None
    self._foreseen = plan.make_plan(config, len(dataset.train.labels), micro_batches)
    self.asked_to_stop = False  # whether a signal came while it trained, or was finished
    self._freezing: list[Table] | None = None  # what each stage freezes, once it is checked

  def outdated(self) -> bool:
    """Whether another process has begun the study since; raises ConfigError if it began another."""
    processes.first(lambda: workdirs.refuse_another(self.workdir, self.config))
    return processes.first(lambda: execution.read(self.workdir)) != self.recorded

  def _refuse_other_data(self) -> None:
    """Raises ConfigError where the workdir was begun with other data, wherever these are now."""
    path = self.workdir / 'data.json'
    if processes.count() > 1:
      known = processes.exchange(self.dataset.fingerprint())[0]
      workdirs.refuse_other_data(self.workdir, known, self.dataset.fingerprint())
    known = processes.first(
      lambda: records.read_json(path).get('fingerprint') if path.exists() else None
    )
    if known is not None:
      workdirs.refuse_other_data(self.workdir, known, self.dataset.fingerprint())

  def check(self) -> None:
    """Raises ConfigError where a stage does not fit the model; nothing is compiled."""
    if self._freezing is None:
      self._freezing = stage_run.check(self.config, self.dataset, self._foreseen)

  @functools.cached_property
  def chosen(self) -> execution.Execution:
    """How it runs on this machine, by timing what there is to choose and is not recorded."""
    study = self.config, self.dataset, self._foreseen
    return processes.first(
      lambda: execution.choose(*study, self.recorded, self.console.print)  # it depends on clocks
    )

  @functools.cached_property
  def study_plan(self) -> plan.StudyPlan:
    """The plan, with micro-batches as chosen for this machine."""
    chosen = self.chosen.micro_batches
    if chosen == self._foreseen.micro_batches:
      return self._foreseen
    return plan.regroup(self.config, self._foreseen, chosen)

  def run(self, mirrors: Mirrors) -> bool:
    """Trains to the end; returns whether it came there, and was not asked to stop."""
    if processes.first(self._is_finished):
      return True
    self.check()
    _ = self.study_plan  # made by all, before the first process writes it
    processes.first(self._begin)
    self._say_plan()
    weights = processes.first(lambda: transfer.lent_weights(self.config, self.workdir))
    study = self.config, self.workdir, self.dataset, self.study_plan
    loop = TrainLoop(*study, self.chosen, self.console, mirrors, weights)
    if processes.is_first():
      mirrors.begin(self.config, plan.lane_rows(self.study_plan))
    try:
      done = loop.run(lambda: finish.finish(*study, self.console, mirrors))
    finally:
      mirrors.close()
    self.asked_to_stop = any(processes.exchange(loop.asked))
    return done

  def _begin(self) -> None:
    """Writes, or checks, what a workdir holds before training."""
    self._claim(self.study_plan)
    execution.write(self.workdir, self.chosen)
    for sentence in provenance.note(self.workdir, self.chosen.device):
      logging.warning('%s', sentence)
    if not (self.workdir / 'data.json').exists():
      facts = data_facts(self.config, self.dataset, self.study_plan)
      records.write_json(self.workdir / 'data.json', facts)

  def show(self) -> None:
    """Prints the plan, with the memory it takes; nothing is written."""
    self.check()
    first = self.study_plan.first
    groups = device_lanes.create(self.config, self.dataset, first, self.chosen.strategies)
    on_device = DeviceData(self.dataset, self.config, first)
    self._say_plan({g.group.index: memory.bytes_per_lane(g, on_device) for g in groups})

  def _say_plan(self, bytes_per_lane: dict[int, int] | None = None) -> None:
    self.console.print(*self._freezing, sep='\n')
    plan_table = table.table(self.config, self.study_plan, bytes_per_lane)
    self.console.print(plan_table, *self.chosen.lines(), sep='\n')
    if stages_table := table.stages_table(self.study_plan):
      self.console.print(stages_table)
    if processes.count() > 1:
      self.console.print(self._spread())
    present = len(device_axis.devices(self.config.execution.devices))
    used = len(study_devices(self.config, self.study_plan.first))
    if used < present:
      self.console.print(f'{present - used} of {present} devices have no lane and stay idle.')
    for sentence in () if self.console.quiet else doubts(self.dataset):
      self.console.print(f'Data: {sentence}', markup=False, highlight=False, soft_wrap=True)

  def _spread(self) -> str:
    """How the lanes lie over the devices of several processes, for a person."""
    first = self.study_plan.first
    devices = device_axis.spread_over(study_devices(self.config, first))
    idle = sum(-len(group.lanes) % devices for group in first.groups)
    told = f'{processes.count()} processes, {devices} devices; each process has all of the data'
    return f'{told}; {idle} seats for lanes stay idle.' if idle else f'{told}.'

  def _is_finished(self) -> bool:
    """Whether nothing is left to do; checks that the workdir was begun with these data."""
    if not self.recorded:
      return False
    self._claim(self._foreseen)
    if not (self.workdir / 'summary.json').exists():
      return False
    study = self.config, self.workdir, self.dataset, self._foreseen  # that of plan.csv
    path = finish.complete(*study, self.console)
    self.console.print(f'This study is finished: {path}')
    return True

  def _claim(self, study_plan: plan.StudyPlan) -> None:
    """Writes config and plan to a new workdir, or checks that an old one has this training set."""
    rows, path = plan.lane_rows(study_plan), self.workdir / 'plan.csv'
    if not (self.workdir / 'config.json').exists():
      self.workdir.mkdir(parents=True, exist_ok=True)
      workdirs.write_config(self.workdir, self.config)
      records.write_plan(path, rows)
    elif not path.exists() and not self.recorded:  # killed between the two
      records.write_plan(path, rows)
    elif records.read_plan(path) != rows:
      raise ConfigError(
        f'{path} was made for another training set than the one read now, of '
        f'{study_plan.train_examples} examples; restore the data, or choose another --workdir'
      )
