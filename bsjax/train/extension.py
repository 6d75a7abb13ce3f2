"""Extends a study in its workdir: trains the lanes that it lacks, and makes one study of all."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.analysis.decide.decision import rounds_of
from bsjax.autotune import execution
from bsjax.config import bounds, decide_keys
from bsjax.config.errors import ConfigError
from bsjax.config.keys import KEYS
from bsjax.config.metrics import judged_of, judging
from bsjax.engine import processes
from bsjax.engine.own import CONFIGS, Own
from bsjax.plan import arms, extension, plan, rounds
from bsjax.plan.extension import Extension
from bsjax.storage import extensions, records, workdirs
from bsjax.storage.writers import Mirrors, Writer
from bsjax.train.study_run import StudyRun
from bsjax.train.training import Extended, Training
from bsjax.writers import chosen_by


def extend(
  config: ConfigDict,
  workdir: str | Path,
  boxes: Iterable[Sequence[Any]] = (),
  dry_run: bool = False,
  writers: Sequence[Writer] = (),
  own: Own = CONFIGS,
) -> bool:
  """Trains what a config, with `boxes` (`rounds.Box`) if any, has and the study in `workdir` lacks.

  What is there is finished first, if it is not; then `workdir` holds the study of the config, as if
  it had been run at once. Returns whether nothing is left to do: after an interruption the same
  call goes on. Raises ConfigError, before anything is compiled, where what is there is no part of
  it. The config that the workdir then has may hold more (`extension.taken_over`). With `dry_run` it
  prints the plan of what is missing, and writes nothing. A workdir without a study gets one.
  """
  boxes = tuple(boxes)
  config = rounds.extended(config, boxes) if boxes else config
  run = StudyRun(config, workdir, writers, own=own)
  folders = {name: arms.workdir(run.workdir, name) for name in config.arms.order}
  begun = [run.workdir, *folders.values()]
  if not processes.first(lambda: any(_is_begun(path) for path in begun)):
    return run.run(dry_run)
  held = contextlib.nullcontext() if dry_run else run.held(run.workdir)
  with judging(judged_of(run.config)), held:
    keys = _extend_all(run, folders or {'': run.workdir}, dry_run)
  if keys is None or dry_run:
    return keys is not None
  for arm, of_arm in keys.items():
    config = extension.with_keys(config, of_arm, arm)
  run = StudyRun(config, workdir, writers, own=own)
  if folders:  # each has its own; that of all is written last
    processes.first(lambda: workdirs.write_config(run.workdir, run.config))
  return run.run()


def _is_begun(path: Path) -> bool:
  return (path / 'config.json').exists() or extensions.taking_its_place(path)


def _extend_all(
  run: StudyRun, folders: dict[str, Path], dry_run: bool
) -> dict[str, dict[str, Any]] | None:
  """Extends the study of a workdir, or its arms; returns the keys that each takes over.

  None: it was asked to stop.
  """
  configs = arms.configs(run.config) or {'': run.config}
  settled = extensions.refuse_halfway if dry_run else settle
  for path in folders.values():
    processes.first(lambda path=path: settled(path))
  there = processes.first(lambda: workdirs.read_config(run.workdir))
  _refuse_spent(run.workdir, there, run.config)
  _refuse_other_arms(run.workdir, there, [*configs])
  of_arms = arms.configs(there) or {'': there}
  parts = [_Part(run, name, configs[name], folders[name], of_arms[name]) for name in of_arms]
  for part in parts:
    part.check()
  for part in parts:
    if not (part.show() if dry_run else part.run()):
      return None
  return {part.arm: part.keys for part in parts}


def settle(path: Path) -> None:
  """Ends what was interrupted while an extension took the place of the study in a workdir."""
  if extensions.taking_its_place(path):
    extensions.take_place(path)


def _refuse_other_arms(workdir: Path, there: ConfigDict, names: Sequence[str]) -> None:
  if lacking := [name for name in there.arms.order or ('',) if name not in names]:
    has = f'the arm {lacking[0]}' if lacking[0] else 'no arms'
    raise ConfigError(
      f'arms.order={tuple(filter(None, names))}, and {workdir} has {has}: nothing is taken away '
      'from a study; give all that is there, or choose another --workdir'
    )


def _refuse_spent(workdir: Path, there: ConfigDict, config: ConfigDict) -> None:
  """Raises ConfigError where a question of the study would have its whole error again."""
  if not there.decide.question:
    return
  old, new = ([one.boxes for one in rounds_of(each.to_dict())] for each in (there, config))
  same = all(there.decide[key] == config.decide[key] for key in decide_keys.FIXED)
  if not same or new[: len(old)] != old:
    raise ConfigError(
      f'{workdir} was asked decide.question={there.decide.question!r}, and with --extend what its '
      'looks have spent of the error would be forgotten; give the configuration of its first round '
      f'without --extend, which goes on up to decide.most_trials={there.decide.most_trials}, or '
      'choose another --workdir'
    )


class _Part:
  """One training that is to be extended: that of a study, or of an arm."""

  def __init__(self, run: StudyRun, arm: str, config: ConfigDict, path: Path, there: ConfigDict):
    """`there` is its config in that of the whole study, if it has not begun."""
    self._run, self.arm, self._path = run, arm, path
    self._begun = processes.first((path / 'config.json').exists)
    stored = processes.first(lambda: workdirs.read_config(path)) if self._begun else there
    self._stored = _run_as(stored, config)
    self._dataset = run.dataset(config)
    self.keys = extension.taken_over(self._stored, config, len(self._dataset.train))
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
    if self._config.evaluation.subset:
      raise ConfigError(
        f'evaluation.subset={self._config.evaluation.subset}: rows of a subset are not merged, so '
        'such a study is not extended; choose another --workdir'
      )
    self._there()  # which refuses other data than those it was begun with
    examples, plan_csv = len(self._dataset.train), self._path / 'plan.csv'
    rows = processes.first(lambda: records.read_plan(plan_csv))
    whole = extension.extension(self._config, rows, examples, self._differing())
    if not whole.missing:
      raise ConfigError(f'{self._path} has all runs of this configuration: nothing to extend')
    if self._training is None:
      made = processes.first(lambda: _folder(self._path, self._config))
      held = processes.first(lambda: _held(self._path, whole))
      _, missing = extensions.shards_of(whole.numbers, len(whole.plan.lanes))
      self._training = Training(
        *(self._config, made, self._dataset, self._run.console, missing, self._run.own),
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
      self._training.show()
    return True

  def run(self) -> bool:
    """Trains what is missing, and makes one study of all; False: it was asked to stop."""
    if self._begun and not self._differing():
      return True
    if not self._finish():
      return False
    whole = self._plan()
    training, made = self._training, self._training.whole
    processes.first(lambda: _take_over(self._path, made, whole))
    writers = chosen_by(self._config, self._run.workdir, training.workdir)
    done = training.run(Mirrors([self._run.mirrors, *writers]))
    if done:
      processes.first(lambda: extensions.take_place(self._path))
    return done and not training.asked_to_stop

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


def _take_over(path: Path, made: Path, whole: Extension) -> None:
  extensions.take_over(path, made, whole.numbers, len(whole.plan.lanes))
  timed, there = path / 'native_cost.json', records.read_plan(path / 'plan.csv')
  if timed.exists() and {*plan.micro_batches(there)} == {*whole.plan.micro_batches}:
    shutil.copy(timed, made / timed.name)


def _reached(path: Path) -> bool:
  """Whether the records of a study come to its end."""
  end = records.read_plan(path / 'plan.csv')[0]['examples']
  return any(row['examples'] == end for row in records.read(path / 'records.jsonl'))
