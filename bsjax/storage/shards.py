"""Shards: the lanes of a study dealt to the tasks of a job array, each in a workdir of its own.

WORKDIR itself holds config, plan and what all shards agree on; WORKDIR/shards/2-of-4 is the workdir
of one. When all have come to their end their records become those of WORKDIR.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from bsjax.config.errors import ConfigError
from bsjax.storage import provenance, records, sound, workdirs
from bsjax.storage.records import Damaged, Row

FOLDER = 'shards'  # in a workdir
DONE = 'done.json'  # in that of a shard that has come to its end
LANES = 'lanes.json'  # beside shards that are not dealt like cards: the lanes of each, by index


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
  """Which share of the lanes of a study this is: `index` of `count`, from 1.

  `lanes` are its own where they are not dealt like cards, as those of an extension (extensions.py).
  """

  index: int
  count: int
  lanes: frozenset[int] | None = dataclasses.field(default=None, compare=False)

  @classmethod
  def parse(cls, text: str) -> 'Shard':
    """Reads 'i/n'; raises ConfigError where it is none."""
    matched = re.fullmatch(r'([1-9]\d{0,5})/([1-9]\d{0,5})', text, re.ASCII)
    shard = cls(int(matched[1]), int(matched[2])) if matched else cls(1, 0)
    if shard.index > shard.count:
      raise ConfigError(f'--shard={text!r}: give i/n with i from 1 to n, such as 2/4')
    return shard

  def __str__(self) -> str:
    return f'{self.index}/{self.count}'

  def has(self, lane: int) -> bool:
    """Whether a lane is of this shard.

    Lanes are dealt like cards: neighbours in a plan cost about the same, and as trials are its
    innermost axis, shards whose number divides that of trials have whole trials.
    """
    if self.lanes is not None:
      return lane in self.lanes
    return lane % self.count == self.index - 1

  def folder(self, workdir: Path) -> Path:
    """Returns the shard's own workdir in that of the study."""
    return workdir / FOLDER / f'{self.index}-of-{self.count}'


def begun(workdir: Path) -> list[Shard]:
  """Returns the shards that have begun, in order."""
  names = [path.parent.name for path in workdir.glob(f'{FOLDER}/*/config.json')]
  matches = (re.fullmatch(r'(\d+)-of-(\d+)', name, re.ASCII) for name in names)
  return sorted(Shard(int(name[1]), int(name[2])) for name in matches if name)


def all_of(workdir: Path) -> list[Shard]:
  """Returns all shards of a study that has begun in shards, those that have not begun included.

  None of another study.
  """
  if (path := workdir / FOLDER / LANES).is_file():
    lanes = records.read_json(path)
    return [Shard(int(i), len(lanes), frozenset(mine)) for i, mine in lanes.items()]
  count = max((shard.count for shard in begun(workdir)), default=0)
  return [Shard(index, count) for index in range(1, count + 1)]


def refuse_otherwise(workdir: Path, shard: Shard | None) -> None:
  """Raises ConfigError where a workdir was begun undivided, or in another number of shards.

  What has been merged can be read and finished undivided.
  """
  counts = sorted({other.count for other in begun(workdir)})
  if shard is None:
    if counts and not (workdir / 'summary.json').exists():
      raise ConfigError(
        f'{workdir} was begun in {counts[0]} shards: give each --shard=i/{counts[0]}, or choose '
        'another --workdir'
      )
    return
  if counts not in ([], [shard.count]):
    raise ConfigError(
      f'{workdir} was begun in {counts[0]} shards, and --shard={shard} is of {shard.count}; give '
      f'--shard=i/{counts[0]}, or choose another --workdir'
    )
  if not counts and workdirs.has_results(workdir):
    raise ConfigError(
      f'{workdir} was begun undivided; continue it without --shard, or choose another --workdir'
    )


def write_done(folder: Path, hardware: str) -> None:
  """Says in a shard's workdir that it has come to its end, and on what it ran."""
  records.write_json(folder / DONE, {'hardware': hardware})


def is_done(folder: Path) -> bool:
  """Whether the shard of a workdir has come to its end."""
  return (folder / DONE).is_file()


def missing(workdir: Path) -> list[Shard]:
  """Returns the shards that have not come to their end."""
  return [shard for shard in all_of(workdir) if not is_done(shard.folder(workdir))]


def hardware(workdir: Path) -> str:
  """Returns on what the shards ran, for people; '' of a study without any."""
  done = [records.read_json(shard.folder(workdir) / DONE) for shard in all_of(workdir)]
  return '; '.join(dict.fromkeys(str(one.get('hardware', '')) for one in done))


def without_records(workdir: Path) -> list[Shard]:
  """Returns the shards that have not evaluated yet."""
  return [s for s in all_of(workdir) if not (s.folder(workdir) / 'records.jsonl').is_file()]


def rows(workdir: Path) -> list[Row]:
  """Returns the rows of all shards as one study has them: by position, then in order of lanes.

  Those that have none yet are left out. Raises Damaged where the lanes of one are not its share of
  the plan, or have rows twice or too few.
  """
  plan = records.read_plan(workdir / 'plan.csv') if begun(workdir) else []
  together: list[Row] = []
  without = without_records(workdir)
  for shard in all_of(workdir):
    if shard in without:
      continue
    path, of_plan = shard.folder(workdir) / 'records.jsonl', shard.folder(workdir) / 'plan.csv'
    lanes = records.read_plan(of_plan)
    if list(map(_but_group, lanes)) != [_but_group(row) for row in plan if shard.has(row['lane'])]:
      raise Damaged(
        f'{of_plan} is not the share {shard} of {workdir / "plan.csv"}; {records.REMEDY}'
      )
    found = records.read(path)
    sound.check(found, lanes, path)
    together += found
  return sorted(together, key=lambda row: (row['examples'], row['lane']))


def merge(workdir: Path) -> None:
  """Writes records.jsonl and provenance.json of a study from those of its shards, all at their end.

  Raises ConfigError where a shard is not, and Damaged as `rows` and where an evaluation is missing.
  """
  if left := missing(workdir):
    raise ConfigError(f'{workdir}: the shards {", ".join(map(str, left))} have not ended')
  merged, plan = rows(workdir), records.read_plan(workdir / 'plan.csv')
  marks = sorted({row['examples'] for row in merged} | {row['examples'] for row in plan})
  sound.check(merged, plan, workdir / FOLDER, marks)
  starts = [
    start | ({'shard': str(shard)} if shard.lanes is None else {})
    for shard in all_of(workdir)
    for start in provenance.read(shard.folder(workdir))
  ]
  records.write_json(
    workdir / provenance.FILE, {'starts': sorted(starts, key=lambda start: start.get('date', ''))}
  )
  records.write(workdir / 'records.jsonl', merged)


def merge_if_ended(workdir: Path) -> None:
  """Merges the shards of a study, if it has any, where all have ended and none has done it."""
  if begun(workdir) and not missing(workdir) and not (workdir / 'records.jsonl').exists():
    merge(workdir)


def _but_group(row: Row) -> dict[str, Any]:
  """A row of a plan without its group: a shard without lanes of one counts the others anew."""
  return {name: value for name, value in row.items() if name != 'group'}
