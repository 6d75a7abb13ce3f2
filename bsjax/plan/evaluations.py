"""Where a study evaluates: positions in examples seen, the same for all lanes.

Every position is a whole number of blocks, so no lane is judged with a batch half gathered.
'matched' positions come first where lanes of different batch sizes have made equally many updates,
close to where the lanes with the fewest end; the others fill the widest gaps, on a scale that is
logarithmic in the first eighth of training and linear after it.
"""

import functools
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.config.running_keys import EVEN, MATCHED
from bsjax.format import joined
from bsjax.plan import batch_size_paths, batch_size_rules
from bsjax.plan.stages import Stage
from bsjax.storage.position import BatchSizeState

LOGARITHMIC = 1 / 8  # of training: there, others are placed by the logarithm of examples
# Shares of a stage, in updates of the slowest lanes: others are matched after the first; what is
# matched after the second needs no match nearer to the end (`budgets` looks for them there too).
LATE, NEAR = 1 / 2, 3 / 4
SHOWN = 5  # positions that an error names
LONGEST_SEARCH = 10_000  # blocks: where lanes stand at whole blocks repeats long before

Path = tuple[int, ...]  # the batch sizes of a lane, by stage


class Timeline(NamedTuple):
  """Where stages end, in examples, and the batch sizes with which lanes go through them."""

  ends: tuple[int, ...]
  block: int  # the least common multiple of all batch sizes
  paths: tuple[Path, ...]

  def updates(self, path: Path, position: int) -> int:
    """Returns the updates that a lane has made at a position."""
    return sum(
      (min(end, position) - start) // size for start, end, size in self._stages(path, position)
    )

  def position(self, path: Path, updates: int) -> int | None:
    """Returns where a lane has made so many updates, the first time; None: nowhere."""
    for start, end, size in self._stages(path, self.ends[-1]):
      if updates <= (end - start) // size:
        return start + updates * size
      updates -= (end - start) // size
    return None

  def _stages(self, path: Path, position: int) -> Iterator[tuple[int, int, int]]:
    """The stages begun before a position: (start, end, batch size)."""
    starts = (0, *self.ends[:-1])
    return (part for part in zip(starts, self.ends, path, strict=True) if part[0] < position)


def timeline(
  stages: Sequence[Stage], ends: Sequence[int], block: int, sizes: Sequence[int], examples: int
) -> Timeline:
  """Returns the timeline of lanes that begin with these batch sizes, as far as it can be foreseen.

  `examples` are those of the training set.
  """
  paths = set()
  for branch in batch_size_paths.branches(stages):
    for size in sizes:
      state, path = BatchSizeState(size), []
      for stage in stages:
        state = batch_size_paths.begin(stage, branch, state, examples)
        path.append(state.batch_size)
      paths.add(tuple(path))
  return Timeline(tuple(ends), block, tuple(sorted(paths)))


def way(config: ConfigDict, stages: Sequence[Stage]) -> str:
  """Returns how evaluations are placed: evenly where batch sizes follow a measurement.

  They change at evaluations, by what was measured since the one before, so that where these are
  would be part of the rule.
  """
  follows = any(batch_size_rules.follows(rule) for stage in stages for rule in stage.batch_size)
  return EVEN if follows else config.evaluation.positions


def positions(line: Timeline, count: int, how: str, asked: Sequence[float] = ()) -> tuple[int, ...]:
  """Returns the positions of evaluations, from 0 to the end.

  There are at most `count` after the start, and the end of every stage but the last besides.
  `asked` are those that a person asks for; matched ones include the blocks next to them.
  """
  total, block = line.ends[-1], line.block
  if how == MATCHED:
    nearest = {min(max(round(mark / block), 1) * block, total) for mark in asked}
    marks = {0, *line.ends, *sorted(nearest)[:count]}
    return tuple(sorted(_filled(line, _matched(line, count, marks), count)))
  even = {round(total * i / count / block) * block for i in range(1, 1 + count)}
  return tuple(sorted({0, *line.ends, *even}))


def given(line: Timeline, at: Sequence[int]) -> tuple[int, ...]:
  """Returns the start, the ends of stages and the positions that a config gives.

  Raises ConfigError where not all lanes have just updated at one, or none trains that far.
  """
  total, block = line.ends[-1], line.block
  if odd := sorted(mark for mark in at if mark > total or mark % block):
    raise ConfigError(
      f'evaluation.at: {joined(odd[:SHOWN])}{" and more" * (len(odd) > SHOWN)}: evaluations fall '
      f'where all batch sizes have just updated, every {block:,} examples up to {total:,}; give '
      'multiples of that, or () to have them placed',
      'evaluation.at',
    )
  return tuple(sorted({0, *line.ends, *at}))


def further(line: Timeline, marks: Sequence[int]) -> tuple[int, ...]:
  """Returns the positions at which lanes have made equally many updates that `marks` lack.

  They are those that `positions` would choose without a bound on their number.
  """
  more = set(marks)
  for end in line.ends:
    for slowest in sorted(line.paths, key=functools.partial(line.updates, position=end)):
      more |= _meeting(line, slowest, end, more)
  return tuple(sorted(more - set(marks)))


def equal_updates(line: Timeline, marks: Sequence[int], end: int | None = None) -> tuple[int, int]:
  """Returns the most updates after which all lanes are evaluated, and those of the slowest.

  The first is 0 where there are none. `end` is that of a stage; None: the last. Lanes take no part
  that have made more updates in their first block than the slowest makes.
  """
  end = line.ends[-1] if end is None else end
  slowest = min(line.paths, key=lambda path: line.updates(path, end))
  most, taking_part = _taking_part(line, slowest, end)
  common = (line.updates(slowest, mark) for mark in sorted(marks, reverse=True) if 0 < mark <= end)
  met = (made for made in common if _places(line, taking_part, made) <= set(marks))
  return next(met, 0), most


def _matched(line: Timeline, count: int, marks: set[int]) -> set[int]:
  """Adds to positions those at which lanes have made as many updates as slower ones.

  For the paths with the fewest updates at the ends of stages, the last end first, then for those
  with more; only whole sets of positions are taken. The first may use all evaluations, others leave
  half of them.
  """
  room = count + len(line.ends)
  asked: list[tuple[int, int, Path]] = []
  for end in line.ends:
    by_updates = sorted(line.paths, key=functools.partial(line.updates, position=end))
    asked += [(rank, -end, path) for rank, path in enumerate(by_updates)]
  for _, end, slowest in sorted(asked):
    wanted = marks | _meeting(line, slowest, -end, marks)
    if len(wanted) <= room:
      marks = wanted
    room = count // 2 + len(line.ends)
  return marks


def _meeting(line: Timeline, slowest: Path, end: int, marks: set[int]) -> set[int]:
  """The positions at which a lane and all faster ones have made equally many updates.

  They are those of the most updates in the second half of the stage that ends at `end`; none where
  `marks` hold such a set that is near enough.
  """
  most, taking_part = _taking_part(line, slowest, end)
  begun = line.updates(slowest, max(at for at in (0, *line.ends) if at < end))
  late, near = (begun + share * (most - begun) for share in (LATE, NEAR))
  for mark in sorted(mark for mark in marks if mark <= end):
    made = line.updates(slowest, mark)
    if made >= near and _places(line, taking_part, made) <= marks:
      return set()
  for mark in range(end, max(0, end - LONGEST_SEARCH * line.block), -line.block):
    made = line.updates(slowest, mark)
    if made < late:
      break
    places = _places(line, taking_part, made)
    if all(place % line.block == 0 for place in places):
      return places
  return set()


def _taking_part(line: Timeline, slowest: Path, end: int) -> tuple[int, list[Path]]:
  """The updates of a path by a stage's end, and the paths that make as many at a block or later."""
  most = line.updates(slowest, end)
  paths = [path for path in line.paths if line.updates(path, end) >= most]
  return most, [path for path in paths if min(_places(line, [path], most)) >= line.block]


def _places(line: Timeline, paths: Sequence[Path], updates: int) -> set[int]:
  """Where paths that come to so many updates have made them."""
  places = (line.position(path, updates) for path in paths)
  return {place for place in places if place is not None}


def _filled(line: Timeline, marks: set[int], count: int) -> set[int]:
  """Adds positions in the middle of the widest gaps until there are enough, or no block is left."""
  total, block = line.ends[-1], line.block
  knee = LOGARITHMIC * total
  first = [path[0] for path in line.paths]
  # The fastest lanes are here when the slowest end, were updates equal.
  low = min(total * min(first) / max(first), knee / 2)

  def place(position: int) -> float:
    return position / knee if position >= knee else 1 + math.log(max(position, low) / knee)

  def gap(start: int, end: int) -> tuple[float, int, int]:
    return place(start) - place(end), start, end  # the widest is the least

  marks, edges = set(marks), sorted(marks)
  gaps = [gap(start, end) for start, end in itertools.pairwise(edges)]
  heapq.heapify(gaps)
  while gaps and len(marks) < count + len(line.ends):
    _, start, end = heapq.heappop(gaps)
    if end - start < 2 * block:
      continue
    middle = (place(start) + place(end)) / 2
    wanted = round(knee * (middle if middle >= 1 else math.exp(middle - 1)) / block) * block
    mark = min(max(wanted, start + block), end - block)
    marks.add(mark)
    heapq.heappush(gaps, gap(start, mark))
    heapq.heappush(gaps, gap(mark, end))
  return marks
