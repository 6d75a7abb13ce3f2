"""The public class: a study in a workdir, to plan, run and read; and a stored one, to read."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from bsjax.plan.arms import FOLDER
from bsjax.storage import records, shards, workdirs
from bsjax.storage.records import Row
from bsjax.storage.writers import Writer

if TYPE_CHECKING:  # they load JAX, which reading a study must not
  from bsjax.plan.plan import StudyPlan
  from bsjax.train.study_run import StudyRun


class StudyResults:
  """What a workdir holds of a study, also while it trains; reading it loads no JAX."""

  def __init__(self, workdir: str | Path):
    self.workdir = workdirs.local(workdir)  # no shell expands it in --workdir=~/x

  def records(self) -> list[Row]:
    """Returns the rows of records.jsonl, one per lane and evaluation.

    Those of a study of arms have the name of their arm as 'arm'. None where nothing has begun.
    """
    if self._has_arms():
      paths = sorted(self.workdir.glob(f'{FOLDER}/*/records.jsonl'))
      return [{'arm': path.parent.name, **row} for path in paths for row in records.read(path)]
    path = self.workdir / 'records.jsonl'
    return records.read(path) if path.is_file() else shards.rows(self.workdir)

  def summary(self) -> dict[str, Any]:
    """Returns the content of summary.json; of an unfinished study what it would be now.

    Raises FileNotFoundError where no study has begun, or no arm has ended.
    """
    if self._has_arms():
      return records.read_json(self.workdir / 'summary.json')
    from bsjax.report import stored_study

    return dict(stored_study.load(self.workdir).summary)

  def report(self) -> Path:
    """Writes report.html, also of an unfinished study, and returns its path.

    Raises FileNotFoundError where no study has begun.
    """
    from bsjax.report import arms_page, study_page

    return (arms_page if self._has_arms() else study_page).write(self.workdir)

  def _has_arms(self) -> bool:
    return (self.workdir / FOLDER).is_dir()


class Study(StudyResults):
  """A study: a config, where it is written, and who is told of its rows beside records.jsonl.

  `shard` is 'i/n' where only this share of its lanes is trained here. The machine is set up by
  `bsjax.set_up_machine`, before anything uses JAX.
  """

  def __init__(
    self,
    config: ConfigDict,
    workdir: str | Path,
    writers: Sequence[Writer] = (),
    shard: str = '',
  ):
    super().__init__(workdir)
    self.config, self.writers, self.shard = config, tuple(writers), shard

  @property
  def plan(self) -> 'StudyPlan':
    """The plan as it runs on this machine; micro-batches that are to be chosen are timed.

    Raises ConfigError where the study cannot run, and of a study of arms, which has one for each.
    """
    return self._run.study_plan()

  def run(self, dry_run: bool = False) -> bool:
    """Trains to the end, from wherever an earlier call left the study; True: nothing is left.

    With `dry_run` it prints the plan, with the memory it takes, and writes nothing. Raises
    ConfigError, DataError or TransferError, with what to do, before anything is compiled.
    """
    return self._run.run(dry_run)

  @functools.cached_property
  def _run(self) -> 'StudyRun':
    from bsjax.train.study_run import StudyRun

    return StudyRun(self.config, self.workdir, self.writers, self.shard)


def load(workdir: str | Path) -> StudyResults:
  """Opens a workdir for reading; raises FileNotFoundError where it holds no study."""
  path = workdirs.local(workdir)
  if not (path / 'config.json').is_file():
    raise FileNotFoundError(f'{path} holds no study: it has no config.json')
  return StudyResults(path)
