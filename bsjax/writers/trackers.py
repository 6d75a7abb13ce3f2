"""Weights & Biases, and trackio, which has its interface: one run per lane, a group per study."""

from __future__ import annotations

import contextlib
import contextvars
import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.storage import records
from bsjax.storage.records import Row
from bsjax.writers import lanes


class Tracker:
  """Tells a service of the lanes of a study, each once per evaluation.

  `folder` is where NAME.json keeps the study's id, which its runs share, and what each was told: a
  study that continues goes on with the same runs, and rows that come again are not told again.
  `title` begins the name of the group, and `part` that of each run, such as 'arms/wide'.
  """

  NAME = ''

  def __init__(self, folder: str | Path, title: str = 'bsjax', part: str = ''):
    self.folder, self.title, self.part = Path(folder).expanduser(), title, part
    self._runs: dict[int, Any] = {}
    self._ids: dict[int, str] = {}
    self._state: dict[str, Any] = {}

  def begin(self, config: ConfigDict, plan: Sequence[Row]) -> None:
    self._state = {'study': secrets.token_hex(4), 'told': {}} | self._stored()
    self._store()
    names, changed = lanes.names(plan), lanes.changed(config)
    for lane in plan:
      named = '/'.join(filter(None, [self.part, names[lane['lane']]]))
      parts = [self._state['study'], *self.part.split('/'), str(lane['lane'])]
      self._ids[lane['lane']] = identity = '-'.join(filter(None, parts))
      group, settings = f'{self.title}-{self._state["study"]}', {**changed, **lanes.setting(lane)}
      self._runs[lane['lane']] = self._open(identity, named, group, settings)

  def rows(self, rows: Sequence[Row]) -> None:
    told = self._state['told']
    for row in rows:
      identity, step = self._ids[row['lane']], row['examples']
      if step > told.get(identity, -1):
        self._runs[row['lane']].log(lanes.scalars(row), step=step)
        told[identity] = step
    self._store()

  def summary(self, summary: Mapping[str, Any]) -> None:
    """Its numbers are of batch sizes, and runs are of lanes."""

  def close(self) -> None:
    runs, self._runs = self._runs, {}
    with contextlib.redirect_stdout(io.StringIO()):  # a line per lane
      for run in runs.values():
        run.finish()

  def _open(self, identity: str, name: str, group: str, settings: Row) -> Any:
    raise NotImplementedError

  def _stored(self) -> dict[str, Any]:
    path = self.folder / f'{self.NAME}.json'
    return records.read_json(path) if path.is_file() else {}

  def _store(self) -> None:
    self.folder.mkdir(parents=True, exist_ok=True)
    records.write_json(self.folder / f'{self.NAME}.json', self._state)


class WeightsAndBiases(Tracker):
  """Tells Weights & Biases, in the project that WANDB_PROJECT names, or 'bsjax'.

  WANDB_MODE=offline keeps all in `folder`/wandb, for `wandb sync`. To open a run takes about a
  fifth of a second per lane.
  """

  NAME = 'wandb'

  def _open(self, identity: str, name: str, group: str, settings: Row) -> Any:
    import os

    import wandb

    return wandb.init(
      project=os.environ.get('WANDB_PROJECT', 'bsjax'),
      dir=self.folder,
      id=identity,
      name=name,
      group=group,
      config=settings,
      resume='allow',
      reinit='create_new',  # beside the runs that are open
      settings=wandb.Settings(silent=True, console='off', x_disable_stats=True),
    )


class Trackio(Tracker):
  """Tells trackio, in a project named as the study, where TRACKIO_DIR says or in its own folder.

  It sends twice a second, from this process: a kill may cost what it was told last.
  """

  NAME = 'trackio'

  def _open(self, identity: str, name: str, group: str, settings: Row) -> Any:
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
      return contextvars.copy_context().run(lambda: trackio.init(**arguments))
