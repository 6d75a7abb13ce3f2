"""Extensions of a study: WORKDIR/extensions/1 is where the first is made, until it takes its place.

There the study that has all settings comes to be, of two shards: the lanes of WORKDIR, under their
new numbers, and those that it lacks, which are trained. When it is whole, its files become those of
WORKDIR, and what was in WORKDIR lies in WORKDIR/extensions/1/before.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bsjax.config.errors import ConfigError
from bsjax.storage import provenance, records, shards
from bsjax.storage.records import Row
from bsjax.storage.shards import Shard

FOLDER, BEFORE = 'extensions', 'before'  # in a workdir, and in that of an extension
PART = f'{BEFORE}.part'  # while files are moved there
STAY = (FOLDER, 'pretrain')  # in the workdir, whatever is extended; and locks


def shards_of(lanes_there: Mapping[int, int], lanes: int) -> tuple[Shard, Shard]:
  """Returns the shares of an extended study: of lanes that are there, and of those that are not.

  `lanes_there` are numbers there -> in the whole study, which has so many `lanes`.
  """
  held = frozenset(lanes_there.values())
  return Shard(1, 2, held), Shard(2, 2, frozenset(range(lanes)) - held)


def folder(workdir: Path) -> Path:
  """Returns where the next extension is made, or where one is being made."""
  numbers = [int(path.name) for path in workdir.glob(f'{FOLDER}/*') if path.name.isdecimal()]
  last = max(numbers, default=0)
  made = workdir / FOLDER / str(last)
  unfinished = last and ((made / 'config.json').exists() or not (made / BEFORE).exists())
  return made if unfinished else workdir / FOLDER / str(last + 1)


def taking_its_place(workdir: Path) -> bool:
  """Whether files of an extension were being moved to the workdir when that was interrupted."""
  made = folder(workdir)
  return any((made / name).exists() for name in (PART, BEFORE))


def refuse_halfway(workdir: Path) -> None:
  """Raises ConfigError where the files of a workdir are those of two studies."""
  if taking_its_place(workdir):
    raise ConfigError(
      f'{workdir}: its extension in {folder(workdir)} was interrupted while it took its place; '
      'give the command that extends it again, with --extend or with its decide.question'
    )


def take_over(workdir: Path, into: Path, numbers: Mapping[int, int], lanes: int) -> None:
  """Writes the lanes of a finished study as the first shard of an extended one of so many `lanes`.

  `numbers` are as in `shards_of`. What an interruption left half done is done anew.
  """
  held, missing = shards_of(numbers, lanes)
  mine = held.folder(into)
  mine.mkdir(parents=True, exist_ok=True)
  rows, plan = records.read(workdir / 'records.jsonl'), records.read_plan(workdir / 'plan.csv')
  planned = [row | {'lane': numbers[row['lane']]} for row in plan]
  records.write_plan(mine / 'plan.csv', planned)
  records.write(mine / 'records.jsonl', (row | {'lane': numbers[row['lane']]} for row in rows))
  records.write_json(mine / provenance.FILE, {'starts': provenance.read(workdir)})
  link = mine / 'checkpoints'
  if not link.is_symlink():  # states of all lanes may be large
    link.symlink_to(os.path.relpath(workdir / 'checkpoints', mine), target_is_directory=True)
  shards.write_done(mine, records.read_json(workdir / 'summary.json').get('hardware', ''))
  shares = {str(shard.index): sorted(shard.lanes or ()) for shard in (held, missing)}
  records.write_json(into / shards.FOLDER / shards.LANES, shares)
  records.write_json(mine / 'config.json', records.read_json(workdir / 'config.json'))


def go_on(workdir: Path, into: Path, config: Mapping[str, Any], plan: Sequence[Row]) -> None:
  """Begins a longer study of the same lanes where those of a study are, by copies of its files.

  `config` and `plan` are those of the longer one. It is there at one stroke, or not at all.
  """
  if (into / 'config.json').exists():
    return
  part = into.with_name(f'{into.name}.part')
  for left in part, into:
    shutil.rmtree(left, ignore_errors=True)
  part.mkdir(parents=True)
  for name in 'records.jsonl', 'execution.json', provenance.FILE:
    if (workdir / name).exists():
      shutil.copy(workdir / name, part / name)
  shutil.copytree(workdir / 'checkpoints', part / 'checkpoints')
  records.write_plan(part / 'plan.csv', list(plan))
  records.write_json(part / 'config.json', config)
  os.replace(part, into)


def take_place(workdir: Path) -> None:
  """Makes the files of the extension those of the workdir, once it is whole.

  Every file is moved at one stroke, and what an interruption left is moved by the next call.
  """
  made = folder(workdir)
  before, part = made / BEFORE, made / PART
  if not before.exists():
    part.mkdir(exist_ok=True)
    _move(workdir, part, STAY, first='config.json')  # without it nobody reads what is left
    os.replace(part, before)
  _move(made, workdir, (BEFORE, shards.FOLDER), last='config.json')
  shutil.rmtree(made / shards.FOLDER / '1-of-2', ignore_errors=True)  # before/ has them


def _move(
  source: Path, target: Path, but: tuple[str, ...], first: str = '', last: str = ''
) -> None:
  names = [path.name for path in source.iterdir()]
  for name in sorted(names, key=lambda name: (name != first, name == last, name)):
    if name not in but and not name.startswith('.'):
      os.replace(source / name, target / name)
