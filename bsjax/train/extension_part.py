"""One training that an extension extends, of a study or of an arm: checked, and trained."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.autotune import execution
from bsjax.config import bounds
from bsjax.config.errors import ConfigError
from bsjax.config.keys import KEYS
from bsjax.engine import processes
from bsjax.plan import extension, longer, plan
from bsjax.plan.extension import Extension
from bsjax.report.text import extension as text
from bsjax.storage import checkpoint, extensions, records, workdirs
from bsjax.storage.writers import Mirrors
from bsjax.train.study_run import StudyRun
from bsjax.train.training import Extended, Training
from bsjax.writers import chosen_by


class Part:
  """One training that is to be extended: that of a study, or of an arm."""

  def __init__(self, run: StudyRun, arm: str, config: ConfigDict, path: Path, there: ConfigDict):
    """`there` is its config in that of the whole study, if it has not begun."""
    self._run, self.arm, self._path = run, arm, path
    self._begun = processes.first((path / 'config.json').exists)
    stored = processes.first(lambda: workdirs.read_config(path)) if self._begun else there
    self._stored = _run_as(stored, config)
    self._dataset = run.dataset(config)
    study = self._stored, config, len(self._dataset.train)
    self._longer = longer.longer(*study)
    self.keys = extension.lent(*study[:2]) if self._longer else extension.taken_over(*study)
    self._config = extension.with_keys(config, self.keys)
    self._training: Training | None = None

  def _differing(self) -> dict[str, tuple[Any, Any]]:
    return processes.first(lambda: workdirs.differences(self._path, self._config))

  def check(self) -> None:
    """Raises ConfigError where the study there is no part of the new one."""
    planned = self._begun and processes.first((self._path / 'plan.csv').exists)
    if planned and self._differing():
      self._plan()

  def _plan(self) -> Extension:
    """The whole study; plans and checks the training of what is missing."""
    if self._config.halving.rungs and (self._longer or not self._config.decide.question):
      raise ConfigError(
        f'halving.rungs={tuple(self._config.halving.rungs)}: what was dropped followed from the '
        'runs there, and would be other rates in a study run at once; only rounds of '
        'decide.question extend such a study; choose another --workdir',
        'halving.rungs',
      )
    if self._config.evaluation.subset and not self._longer:
      raise ConfigError(
        f'evaluation.subset={self._config.evaluation.subset}: rows of a subset are not merged, so '
        'such a study is not extended; choose another --workdir',
        'evaluation.subset',
      )
    self._there()  # which refuses other data than those it was begun with
    examples, plan_csv = len(self._dataset.train), self._path / 'plan.csv'
    rows = processes.first(lambda: records.read_plan(plan_csv))
    keys = self._longer.keys if self._longer else ()
    whole = extension.extension(self._config, rows, examples, self._differing(), keys)
    if not whole.missing:
      raise ConfigError(f'{self._path} has all runs of this configuration: nothing to extend')
    if self._training is None:
      made = processes.first(lambda: _folder(self._path, self._config))
      held = processes.first(lambda: _held(self._path, whole))
      _, missing = extensions.shards_of(whole.numbers, len(whole.plan.lanes))
      shard = None if self._longer else missing
      self._training = Training(
        *(self._config, made, self._dataset, self._run.console, shard, self._run.own),
        Extended(self._path, held),
      )
      self._training.check()
    return whole

  def _there(self) -> Training:
    """The training of what is there."""
    study = self._stored, self._path, self._dataset, self._run.console
    return Training(*study, own=self._run.own)

  def show(self) -> bool:
    """Prints the plan of what is missing."""
    if self._training:
      self._say_again()
      self._training.show()
    return True

  def run(self) -> bool:
    """Trains what is missing, and makes one study of all; False: it was asked to stop."""
    if self._begun and not self._differing():
      return True
    planned = processes.first((self._path / 'plan.csv').exists)
    if not (self._longer and planned) and not self._finish():
      return False
    whole = self._plan()
    training, made = self._training, self._training.whole
    self._say_again()
    goes_on = training if self._longer and not self._again() else None
    processes.first(lambda: _take_over(self._path, made, whole, goes_on))
    writers = chosen_by(self._config, self._run.workdir, training.workdir)
    done = training.run(Mirrors([self._run.mirrors, *writers]))
    if done:
      processes.first(lambda: extensions.take_place(self._path))
    return done and not training.asked_to_stop

  def _again(self) -> str:
    """Why all lanes are trained again, as `Longer.again`, or by what is in the workdir."""
    return self._longer.again or processes.first(lambda: _no_way_on(self._path))

  def _say_again(self) -> None:
    if self._longer:
      lanes = len(self._training.study_plan.lanes)
      self._run.console.print(text.longer(lanes, self._again(), self._path), soft_wrap=True)

  def _finish(self) -> bool:
    """Trains what is there to its end; also where it ended early, as all lanes had diverged."""
    path, mirrors = self._path, [self._run.mirrors]
    run = StudyRun(self._stored, path, mirrors, own=self._run.own)
    ended = processes.first((path / 'summary.json').exists)
    if not ended and not run.train(self._stored, path, dry_run=False, shard=None):
      return False
    if processes.first(lambda: _reached(path)):
      return True
    return self._there().run(Mirrors(mirrors), go_on=True)


def _run_as(stored: ConfigDict, config: ConfigDict) -> ConfigDict:
  """The config of the study there, which runs as the new one does and reads its data there."""
  now = {key.name: bounds.at(config, key.name) for key in KEYS if not key.computes}
  return extension.with_keys(stored, now | {'data.path': config.data.path})


def _folder(path: Path, config: ConfigDict) -> Path:
  """Where the extension is made; raises ConfigError where another one was begun there."""
  made = extensions.folder(path)
  if (made / 'config.json').exists() and (other := workdirs.differences(made, config)):
    key, (was, now) = next(iter(other.items()))
    raise ConfigError(
      f'another extension of {path} is unfinished, whose {key} is {was!r} and not {now!r}; finish '
      f'that first, or remove {made}'
    )
  return made


def _held(path: Path, whole: Extension) -> execution.Execution:
  """How the study there runs, for the micro-batches of the whole one."""
  held = execution.read(path)
  if held is None:
    raise records.Damaged(f'{path} lacks plan.csv; {records.REMEDY}')
  micro_batches = whole.plan.micro_batches
  known = held.strategies.keys() >= {*micro_batches.values()}
  return dataclasses.replace(
    held, micro_batches=micro_batches, device=held.device if known else '', parts={}
  )


def _take_over(path: Path, made: Path, whole: Extension, training: Training | None) -> None:
  """Has what is there be a part of the extension; `training` is that which goes on from there."""
  if whole.numbers:
    extensions.take_over(path, made, whole.numbers, len(whole.plan.lanes))
  elif training:
    config = json.loads(training.config.to_json())
    extensions.go_on(path, made, config, plan.lane_rows(training.study_plan))
  timed, there = path / 'native_cost.json', records.read_plan(path / 'plan.csv')
  if timed.exists() and {*plan.micro_batches(there)} == {*whole.plan.micro_batches}:
    made.mkdir(parents=True, exist_ok=True)
    shutil.copy(timed, made / timed.name)


def _no_way_on(path: Path) -> str:
  """Why lanes cannot go on from where those of a study are: 'weights' or 'diverged'; '': they can.

  What was merged of several shares keeps nothing but weights.
  """
  try:
    with checkpoint.open_to_read(path) as manager:
      steps = checkpoint.newest_first(manager)
      position = checkpoint.position(manager, steps[0]) if steps else None
  except (FileNotFoundError, checkpoint.Unreadable):
    return 'weights'
  if position is None or not position.rate_sums:
    return 'weights'
  rows = records.read(path / 'records.jsonl')
  last = [row for row in rows if row['examples'] == position.evaluated]
  return 'diverged' if last and all(row['diverged'] for row in last) else ''


def _reached(path: Path) -> bool:
  """Whether the records of a study come to its end."""
  end = records.read_plan(path / 'plan.csv')[0]['examples']
  return any(row['examples'] == end for row in records.read(path / 'records.jsonl'))
