"""The public class: a study in a workdir, to plan, run and read; and a stored one, to read."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.plan.arms import FOLDER
from bsjax.storage import buckets, frames, records, shards, sound, workdirs
from bsjax.storage.records import Row
from bsjax.storage.writers import Writer

if TYPE_CHECKING:  # they load JAX, which reading a study must not, or what takes its time
  import pandas as pd
  import xarray as xr
  from matplotlib.figure import Figure

  from bsjax.engine.own import Own
  from bsjax.models.task import Task
  from bsjax.plan.lanes import StudyPlan
  from bsjax.train.study_run import StudyRun


class StudyResults:
  """What a workdir holds of a study, also while it trains; reading it loads no JAX.

  Of one in a bucket it is what that held when it was first read.
  """

  def __init__(self, workdir: str | Path):
    self._path = workdirs.local(workdir)  # no shell expands it in --workdir=~/x

  @functools.cached_property
  def workdir(self) -> Path:
    """The folder of this machine that holds it; raises ConfigError where that cannot be had."""
    return buckets.fetch(self._path)

  def records(self) -> 'pd.DataFrame':
    """Returns a table with one row per lane and evaluation, and the lane's columns of the plan.

    `batch_size`, `learning_rate` and `trial` are those of the plan; `batch_size_now` and
    `learning_rate_now` what stages and schedules have made of them. Nested values of records.jsonl
    have a column for each part ('noise.trace', 'b_simple_ci95.low'). NaN is what is not known:
    what a diverged lane, marked in `diverged`, could not measure too, and pandas leaves it out of
    means. Studies of arms have the name of the arm as `arm`. No rows where nothing has begun.
    Raises Damaged where a lane has two rows of an evaluation.
    """
    import pandas as pd

    if self._has_arms():
      paths = sorted(self.workdir.glob(f'{FOLDER}/*/plan.csv'))
      tables = {path.parent.name: _table(path.parent) for path in paths}
      parts = [table.assign(arm=name) for name, table in tables.items()]
      whole = pd.concat(parts, ignore_index=True) if parts else _table(self.workdir).assign(arm='')
      return whole[['arm', *whole.columns.drop('arm')]]
    return _table(self.workdir)

  def to_xarray(self) -> 'xr.Dataset':
    """Returns the columns of `records()` over (batch_size, learning_rate, trial, evaluation).

    Needs `pip install xarray`. Branches are a dimension before these; examples, epoch and stage are
    coordinates of evaluations. Raises ValueError of a study of arms, whose evaluations may differ.
    """
    if self._has_arms():
      raise ValueError(
        'arms are studies of their own, with evaluations of their own: take the arrays of one, '
        f'bsjax.load({str(self.workdir / FOLDER / "NAME")!r}).to_xarray()'
      )
    return frames.arrays(_table(self.workdir))

  def figure(self, name: str) -> 'Figure':
    """Returns a figure of the report, such as 'optimum'; raises ValueError that lists their names.

    Raises FileNotFoundError where no study has begun.
    """
    from bsjax.report.drawings import Drawings

    return Drawings(self.workdir).draw(name)

  def figures(self) -> dict[str, 'Figure']:
    """Returns all figures of the report by their names; none before there is any result."""
    from bsjax.report.drawings import Drawings

    drawings = Drawings(self.workdir)
    return {name: drawings.draw(name) for name in drawings.names}

  def rows(self) -> list[Row]:
    """Returns the rows of records.jsonl as they stand, one per lane and evaluation.

    Those of a study of arms have the name of their arm as 'arm'. None where nothing has begun.
    """
    if self._has_arms():
      arms = sorted(path.parent for path in self.workdir.glob(f'{FOLDER}/*/plan.csv'))
      return [{'arm': arm.name, **row} for arm in arms for row in _rows(arm)]
    return _rows(self.workdir)

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

    with buckets.held_if_free(self._path):
      return (arms_page if self._has_arms() else study_page).write(self.workdir)

  def _repr_html_(self) -> str:
    """What a notebook shows of it: the plan and the answer."""
    from bsjax.report import notebook

    return notebook.html(self.workdir)

  def _has_arms(self) -> bool:
    return (self.workdir / FOLDER).is_dir()


def _rows(workdir: Path) -> list[Row]:
  """The records of one training, or of its shards where these are not merged."""
  path = workdir / 'records.jsonl'
  return records.read(path) if path.is_file() else shards.rows(workdir)


def _table(workdir: Path) -> 'pd.DataFrame':
  """The records of one training, whatever stands there of them."""
  plan, path = workdir / 'plan.csv', workdir / 'records.jsonl'
  if not plan.is_file() or not (path.is_file() or shards.begun(workdir)):
    return frames.table([], [])
  lanes, rows = records.read_plan(plan), _rows(workdir)
  sound.check(rows, lanes, path)
  return frames.table(lanes, rows)


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
    # Where there are none the engine's own default stands.
    self._parts = {} if all(part is None for part in parts) else {'own': own_parts(*parts)}

  @property
  def plan(self) -> 'StudyPlan':
    """The plan as it runs on this machine; micro-batches that are to be chosen are timed.

    Raises ConfigError where the study cannot run, and of a study of arms, which has one for each.
    """
    return self._run.study_plan()

  def run(self, dry_run: bool = False, target: str = '') -> bool:
    """Trains to the end, from wherever an earlier call left the study; True: nothing is left.

    With `dry_run` it prints the plan, with the memory it takes, and writes nothing; with a `target`
    too, such as 'H100', it compiles for that accelerator, which need not be there. Raises
    ConfigError, DataError or TransferError, with what to do, before anything is compiled.
    """
    from bsjax.train import in_bucket

    with in_bucket.held(self._path, dry_run):
      return self._run_it(dry_run, target)

  def _run_it(self, dry_run: bool, target: str) -> bool:
    if not self.config.decide.question:
      return self._run.run(dry_run, target)
    from bsjax.train.decide import decide, show

    if self.shard:
      raise ConfigError(
        f'--shard={self.shard}: rounds of decide.question={self.config.decide.question!r} are '
        'trained undivided; leave one of both out',
        'decide.question',
      )
    if target and not dry_run:
      raise ConfigError(f'--target={target} says what would be there; add --dry_run')
    if dry_run:
      return show(self.config, self._path, target, **self._parts)
    return decide(self.config, self._path, self.writers, **self._parts)

  def extend(self, boxes: Iterable[Sequence[Any]] = (), dry_run: bool = False) -> bool:
    """Trains what the study has and its workdir lacks; True: nothing is left.

    The study of the workdir is part of this one, which has more trials, learning rates or batch
    sizes, also by `boxes` of (batch sizes, learning rates, number of trials), or more epochs or
    evaluations, for which lanes go on, or else are trained again. What is there stays, and the
    workdir then holds the study as if it had been run at once. An interrupted call goes on when
    made again. With `dry_run` it prints the plan of what is missing. Raises ConfigError where what
    is there is no part of the study, before anything is compiled.
    """
    from bsjax.train import in_bucket
    from bsjax.train.extension import extend

    if self.shard:
      raise ConfigError(
        f'--shard={self.shard}: an extension is trained undivided; leave --shard out'
      )
    with in_bucket.held(self._path, dry_run):
      return extend(self.config, self._path, boxes, dry_run, self.writers, **self._parts)

  @functools.cached_property
  def _run(self) -> 'StudyRun':
    from bsjax.train.study_run import StudyRun

    return StudyRun(self.config, self._path, self.writers, self.shard, **self._parts)


def own_parts(
  model: Any = None, data: Any = None, task: 'Task | None' = None, optimizer: Any = None
) -> 'Own':
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
  results = StudyResults(workdir)
  if not (results.workdir / 'config.json').is_file():
    raise FileNotFoundError(f'{workdir} holds no study: it has no config.json')
  return results
