"""The public class: a study in a workdir, to plan, run and read; and a stored one, to read."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from bsjax.plan.arms import FOLDER
from bsjax.storage import records, shards, workdirs
from bsjax.storage.records import Row
from bsjax.storage.writers import Writer

if TYPE_CHECKING:  # they load JAX, which reading a study must not
  from bsjax.engine.own import Own
  from bsjax.models.task import Task
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
  """A study: a config, where it is written, and what takes the place of parts of the config.

  `model` is a flax linen module, a function of `rngs` that makes an nnx module, or a pair of pure
  functions (`models.own.adapted`). `data` is a `bsjax.Data`, or the pair of training and validation
  examples. `task` is a `bsjax.Task`: the loss, and metrics. `optimizer` is a factory of optax with
  a parameter `learning_rate`, such as `optax.adam`. `writers` are told of the rows beside
  records.jsonl. `shard` is 'i/n' where only this share of its lanes is trained here. Raises
  ConfigError or DataError where one of them cannot be what it should. The machine is set up by
  `bsjax.set_up_machine`, before anything uses JAX.
  """

  def __init__(
    self,
    config: ConfigDict,
    workdir: str | Path,
    model: Any = None,
    data: Any = None,
    task: 'Task | None' = None,
    optimizer: Callable[..., Any] | None = None,
    writers: Sequence[Writer] = (),
    shard: str = '',
  ):
    super().__init__(workdir)
    self.config, self.writers, self.shard = config, tuple(writers), shard
    parts = model, data, task, optimizer
    self._own = None if all(part is None for part in parts) else _own(*parts)

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

    given = {} if self._own is None else {'own': self._own}
    return StudyRun(self.config, self.workdir, self.writers, self.shard, **given)


def _own(model: Any, data: Any, task: 'Task | None', optimizer: Any) -> 'Own':
  """The parts from outside as the engine takes them."""
  from bsjax.data import own as own_data
  from bsjax.engine.own import Own
  from bsjax.models.own import adapted
  from bsjax.models.task import CLASSIFICATION
  from bsjax.optim.own import OwnOptimizer

  task = task or CLASSIFICATION
  classes = any(metric.by_class for metric in task.metrics.values())
  return Own(
    model=None if model is None else adapted(model),
    task=task,
    optimizer=None if optimizer is None else OwnOptimizer(optimizer),
    data=None if data is None else own_data.dataset(own_data.given(data), classes),
  )


def load(workdir: str | Path) -> StudyResults:
  """Opens a workdir for reading; raises FileNotFoundError where it holds no study."""
  path = workdirs.local(workdir)
  if not (path / 'config.json').is_file():
    raise FileNotFoundError(f'{path} holds no study: it has no config.json')
  return StudyResults(path)
