"""Weights & Biases, and trackio, which has its interface: one run per lane, a group per study."""

from __future__ import annotations

import abc
import contextlib
import contextvars
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.storage import records
from bsjax.storage.records import Row
from bsjax.writers import lanes


class Tracker(abc.ABC):
  """Tells a service of the lanes of a training, each once per evaluation.

  `workdir` is that of the study, `part` that of the training in it, such as 'arms/wide', and
  `title` begins the name of the group. NAME.json in the workdir keeps an id, so that a study that
  continues goes on with the same runs. What a kill has cost them is told again, from
  records.jsonl; rows that come again are not.
  """

  NAME = ''

  def __init__(self, workdir: str | Path, title: str = 'bsjax', part: str = ''):
    self.workdir, self.title, self.part = Path(workdir).expanduser(), title, part
    self._runs: dict[int, Any] = {}
    self._told: dict[int, int] = {}  # by lane the last step that its run has
    self._begun = False

  def begin(self, config: ConfigDict, plan: Sequence[Row]) -> None:
    study, self._begun = self._study(), False
    names, changed = lanes.names(plan), lanes.changed(config)
    for row in plan:
      lane = row['lane']
      name = '/'.join(filter(None, [self.part, names[lane]]))
      identity = '-'.join(filter(None, [study, *self.part.split('/'), str(lane)]))
      settings = {**changed, **lanes.setting(row)}
      run, told = self._open(identity, name, f'{self.title}-{study}', settings)
      self._runs[lane], self._told[lane] = run, told

  def rows(self, rows: Sequence[Row]) -> None:
    for row in self._since_the_last(rows):
      lane, step = row['lane'], row['examples']
      if step > self._told[lane]:
        self._runs[lane].log(lanes.scalars(row), step=step)
        self._told[lane] = step

  def summary(self, summary: Mapping[str, Any]) -> None:
    return  # its numbers are of batch sizes, and runs are of lanes

  def close(self) -> None:
    runs, self._runs = self._runs, {}
    with contextlib.redirect_stdout(io.StringIO()):  # a line per lane
      for run in runs.values():
        run.finish()

  @abc.abstractmethod
  def _open(self, identity: str, name: str, group: str, settings: Row) -> tuple[Any, int]:
    """Opens a run; returns it with the last step that it has, -1 of a new one."""

  def _since_the_last(self, rows: Sequence[Row]) -> Iterable[Row]:
    """The rows, at the first call with all that are on record before them."""
    path = self.workdir / self.part / 'records.jsonl'
    if self._begun or not path.is_file():
      return rows
    self._begun = True
    return sorted(records.read(path), key=lambda row: row['examples'])

  def _study(self) -> str:
    path = self.workdir / f'{self.NAME}.json'
    if not path.is_file():
      self.workdir.mkdir(parents=True, exist_ok=True)
      records.write_json(path, {'study': secrets.token_hex(4)})
    return records.read_json(path)['study']


class WeightsAndBiases(Tracker):
  """Tells Weights & Biases, in the project that WANDB_PROJECT names, or 'bsjax'.

  WANDB_MODE=offline keeps all in `workdir`/wandb, for `wandb sync`, a whole run per lane: those of
  an earlier start are replaced. To open a run takes about a fifth of a second.
  """

  NAME = 'wandb'

  def _open(self, identity: str, name: str, group: str, settings: Row) -> tuple[Any, int]:
    import wandb

    run = wandb.init(
      project=os.environ.get('WANDB_PROJECT', 'bsjax'),
      dir=self.workdir,
      id=identity,
      name=name,
      group=group,
      config=settings,
      resume='allow',
      reinit='create_new',  # beside the runs that are open
      settings=wandb.Settings(silent=True, console='off', x_disable_stats=True),
    )
    if not run.offline:
      return run, run.step - 1 if run.resumed else -1
    for folder in self.workdir.glob(f'wandb/offline-run-*-{identity}'):
      if folder != Path(run.dir).parent:
        shutil.rmtree(folder)
    return run, -1


class Trackio(Tracker):
  """Tells trackio, in a project named as the study, where TRACKIO_DIR says or in its own folder."""

  NAME = 'trackio'

  def _open(self, identity: str, name: str, group: str, settings: Row) -> tuple[Any, int]:
    import trackio

    arguments = {
      'project': group,
      'name': name,
      'config': settings,
      'resume': 'allow',
      'embed': False,
      'auto_log_gpu': False,
      'auto_log_cpu': False,
    }
    with contextlib.redirect_stdout(io.StringIO()):  # a line per lane
      # In a context of its own, where no other run is to be finished first.
      run = contextvars.copy_context().run(lambda: trackio.init(**arguments))
    return run, run._next_step - 1  # there is no public way to ask what it has
