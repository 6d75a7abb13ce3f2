"""Extends a study in its workdir: trains the lanes that it lacks, and makes one study of all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.analysis.decide.decision import rounds_of
from bsjax.config import bounds, decide_keys
from bsjax.config.errors import ConfigError
from bsjax.config.grid_keys import LENGTHS
from bsjax.config.metrics import judged_of, judging
from bsjax.engine import processes
from bsjax.engine.own import CONFIGS, Own
from bsjax.plan import arms, extension, rounds
from bsjax.storage import extensions, workdirs
from bsjax.storage.writers import Writer
from bsjax.train.extension_part import Part
from bsjax.train.study_run import StudyRun


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
  it had been run at once. With more epochs or evaluations all lanes are trained again, or go on
  from where they are (`plan.longer`), and it need not be finished. Returns whether nothing is left
  to do: after an interruption the same call goes on. Raises ConfigError, before anything is
  compiled, where what is there is no part of it. The config that the workdir then has may hold more
  (`extension.taken_over`). With `dry_run` it prints the plan of what is missing, and writes
  nothing. A workdir without a study gets one.
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
  begun = processes.first(lambda: workdirs.read_config(run.workdir))
  _refuse_spent(run.workdir, begun, run.config)
  _refuse_other_arms(run.workdir, begun, [*configs])
  of_arms = arms.configs(begun) or {'': begun}
  parts = [Part(run, name, configs[name], folders[name], of_arms[name]) for name in of_arms]
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
      'from a study; give all that is there, or choose another --workdir',
      'arms.order',
    )


def _refuse_spent(workdir: Path, there: ConfigDict, config: ConfigDict) -> None:
  """Raises ConfigError where a question of the study would have its whole error again."""
  if not there.decide.question:
    return
  old, new = ([one.boxes for one in rounds_of(each.to_dict())] for each in (there, config))
  keys = *(f'decide.{key}' for key in decide_keys.FIXED), *LENGTHS
  same = all(bounds.at(there, key) == bounds.at(config, key) for key in keys)
  if not same or new[: len(old)] != old:
    raise ConfigError(
      f'{workdir} was asked decide.question={there.decide.question!r}, and with --extend what its '
      'looks have spent of the error would be forgotten; give the configuration of its first round '
      f'without --extend, which goes on up to decide.most_trials={there.decide.most_trials}, or '
      'choose another --workdir'
    )
