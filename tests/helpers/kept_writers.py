"""What writers are told of a study; `tests/studies/test_kept_runs.py`."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from typing import Any
from unittest import mock

from bsjax.storage import records
from bsjax.storage.writers import Mirrors
from bsjax.writers import TensorBoard, WeightsAndBiases, lanes, problems, replay
from helpers import event_files
from helpers.kept import Kept
from helpers.kept_arrays import plain
from helpers.kept_disk import PLAN, rows, temporary, written
from helpers.kept_trainings import small


class Noting:
  """A writer that notes what it is told, and may fail."""

  def __init__(self, fails: str = ''):
    self.told: list[Any] = []
    self.fails = fails

  def _note(self, name: str, *given: Any) -> None:
    self.told.append([name, *given])
    if name == self.fails:
      raise ValueError('no room')

  def begin(self, config: Any, plan: Any) -> None:
    self._note('begin', config.epochs, len(plan))

  def rows(self, rows: Any) -> None:
    self._note('rows', [(row['lane'], row['examples']) for row in rows])

  def summary(self, summary: Any) -> None:
    self._note('summary', dict(summary))

  def close(self) -> None:
    self._note('close')


class Service:
  """Stands in for Weights & Biases: keeps the runs that were opened, and what they were told."""

  Settings = dict

  def __init__(self) -> None:
    self.opened: list[Any] = []

  def init(self, **given: Any) -> Any:
    told: list[Any] = []
    self.opened.append(
      [{k: str(v) for k, v in given.items() if k not in ('dir', 'id', 'group')}, told]
    )
    run = types.SimpleNamespace(offline=False, resumed=len(self.opened) % 2 == 0, step=33)
    run.log = lambda values, step: told.append([step, values])
    run.finish = lambda: told.append('finished')
    return run


def writers_told() -> Kept:
  """What writers are told of a study, again after an interruption, and what services are."""
  numbers: dict[str, Any] = {}
  config = small(optimizer__name='adamw', data__crop=1)
  numbers['changed'] = plain(lanes.changed(config))
  more = [row | {'branch': 'a b/c', 'lane': 9 + i} for i, row in enumerate(PLAN)]
  numbers['names'] = [plain(lanes.names(plan)) for plan in (PLAN, more)]
  numbers['scalars'] = lanes.scalars(rows(0.5)[1])
  config.writers = ('tensorboard,nobody', 'tensorboard')
  numbers['problems'] = [str(one) for one in problems(config) if 'nobody' in one]
  noting, failing = Noting(), Noting('rows')
  mirrors = Mirrors([failing, noting])
  mirrors.begin(config, PLAN)
  mirrors.rows(rows(0.0))
  mirrors.rows(rows(0.5))
  mirrors.summary({'answer': 1})
  mirrors.close()
  numbers['mirrors'] = plain([noting.told, failing.told])
  with temporary() as folder:
    work = written(folder / 'w')
    records.write_json(work / 'summary.json', {'answer': 2})
    again = Noting()
    replay(work, again)
    numbers['replay'] = plain(again.told)
    board = TensorBoard(folder / 'board')
    for shares in ((0.0, 0.5), (0.5, 1.0)):
      board.begin(config, PLAN)
      for share in shares:
        board.rows(rows(share))
    numbers['board'] = {
      p.name: event_files.scalars(p) for p in sorted((folder / 'board').iterdir())
    }
    service = Service()
    with mock.patch.dict('sys.modules', {'wandb': service}), mock.patch.dict(os.environ):
      os.environ.pop('WANDB_PROJECT', None)
      writer = WeightsAndBiases(work, 'title', 'arms/a')
      written(work / 'arms' / 'a', shares=(0.0, 0.5))
      writer.begin(config, PLAN)
      writer.rows(rows(0.5))
      writer.rows(rows(0.5))
      writer.rows(rows(1.0))
      writer.close()
    numbers['service'] = plain(service.opened)
  return Kept(numbers, {})


TOLD: dict[str, Callable[[], Kept]] = {'writers_told': writers_told}
