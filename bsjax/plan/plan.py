"""From batch sizes x learning rates x trials to lanes, groups and ticks."""

import dataclasses
import itertools
import math

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.plan import batch_size_paths, stages
from bsjax.plan.batch_size_paths import Course
from bsjax.plan.scaling_rules import learning_rates_of
from bsjax.plan.stages import Stage

LARGEST_COMMON_MICRO_BATCH = 32  # larger ticks see less of the noise


@dataclasses.dataclass(frozen=True)
class Lane:
  """One training run in one stage: of the first, a row of plan.csv.

  `branch` names the rules by which its batch size changes, where a stage has several.
  """

  lane: int
  group: int
  batch_size: int
  learning_rate: float
  trial: int
  branch: str
  micro_batch: int
  accumulation: int  # ticks an update


@dataclasses.dataclass(frozen=True)
class Group:
  """Lanes that share one compiled program, which advances them by whole blocks of ticks."""

  index: int
  micro_batch: int
  block_ticks: int
  lanes: tuple[Lane, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a stage trains and when it looks; positions are examples seen by every lane, of the study.

  A block is the shortest stretch after which every lane has just updated. Training and evaluations
  end on blocks, so no lane is judged with a batch half gathered.
  """

  stage: Stage
  groups: tuple[Group, ...]
  train_examples: int  # of the stage's share of the training set
  block_examples: int
  total_examples: int  # where the study ends
  start: int  # where the stage begins
  origin: int  # where its stream of examples does: the stream goes on until the share changes
  stream: int  # the number of that stream
  evaluations: tuple[int, ...]  # of the first stage the first is at 0; the last ends the stage
  start_epoch: float  # passes over training sets before `start`
  notes: tuple[str, ...]
  later: tuple['Plan', ...] = ()  # the stages after this one, as far as they can be foreseen

  @property
  def lanes(self) -> list[Lane]:
    return sorted(
      itertools.chain.from_iterable(group.lanes for group in self.groups), key=lambda x: x.lane
    )

  @property
  def end(self) -> int:
    """Where the stage ends."""
    return self.evaluations[-1]

  def epoch(self, position: int) -> float:
    """Returns how many passes over the training set of its time a position is."""
    return self.start_epoch + (position - self.start) / self.train_examples


def make_plan(
  config: ConfigDict, train_examples: int, micro_batches: dict[int, int] | None = None
) -> Plan:
  """Returns the plan of a valid config's first stage, for a training set of so many examples.

  `micro_batches` gives that of each batch size, as chosen for speed or read from a plan; without it
  `micro_batch=auto` takes the largest common divisor up to `LARGEST_COMMON_MICRO_BATCH`. The later
  stages are foreseen as if measurements left batch sizes as they are.
  """
  batch_size_paths.check(config, train_examples)
  lanes = _lanes(config, micro_batches or default_micro_batches(config, train_examples))
  course = {lane.lane: Course(lane.batch_size) for lane in lanes}
  plans = []
  for stage in stages.of(config):
    course = batch_size_paths.begin_all(stage, lanes, course, train_examples)
    plans.append(_stage_plan(config, stage, lanes, course, train_examples))
  return dataclasses.replace(plans[0], later=tuple(plans[1:]))


def stage_plan(
  config: ConfigDict, first: Plan, index: int, course: dict[int, Course], train_examples: int
) -> Plan:
  """Returns the plan of a stage in which lanes have the batch sizes of `course`."""
  return _stage_plan(config, stages.of(config)[index], first.lanes, course, train_examples)


def _lanes(config: ConfigDict, given: dict[int, int]) -> list[Lane]:
  """All lanes as they begin: batch sizes of one micro-batch together."""
  rank: dict[int, int] = {}
  for _, micro in sorted(given.items()):
    rank.setdefault(micro, len(rank))
  settings = (
    (size, rate, branch, trial)
    for size in sorted(given, key=lambda size: (rank[given[size]], size))
    for rate in learning_rates_of(config, size)
    for branch in batch_size_paths.branches(config)
    for trial in range(config.trials)
  )
  return [
    Lane(
      lane=i,
      group=rank[given[size]],
      batch_size=size,
      learning_rate=rate,
      trial=trial,
      branch=branch,
      micro_batch=given[size],
      accumulation=size // given[size],
    )
    for i, (size, rate, branch, trial) in enumerate(settings)
  ]


def _stage_plan(
  config: ConfigDict,
  stage: Stage,
  lanes: list[Lane],
  course: dict[int, Course],
  train_examples: int,
) -> Plan:
  """`lanes` are those of the first stage."""
  ends = batch_size_paths.stage_ends(config, train_examples)
  starts = [0, *ends[:-1]]
  shares = [each.share(train_examples) for each in stages.of(config)]
  # A stream of examples goes on until the share of the data changes.
  begins = [i for i in range(stage.index + 1) if i == 0 or shares[i] != shares[i - 1]]
  block = batch_size_paths.block_examples(config, train_examples)
  groups = _groups([_in_stage(config, stage, x, course[x.lane]) for x in lanes], block)
  marks = _marks(config.evaluations, starts[stage.index], ends[stage.index], ends[-1], block)
  passes = [(ends[i] - starts[i]) / shares[i] for i in range(stage.index)]
  return Plan(
    stage=stage,
    groups=groups,
    train_examples=shares[stage.index],
    block_examples=block,
    total_examples=ends[-1],
    start=starts[stage.index],
    origin=starts[begins[-1]],
    stream=len(begins) - 1,
    evaluations=marks,
    start_epoch=float(sum(passes)),
    notes=tuple(_notes(config, groups, block, len(marks) - 1, len(ends))),
  )


def _in_stage(config: ConfigDict, stage: Stage, lane: Lane, course: Course) -> Lane:
  size = course.batch_size
  micro = size if config.micro_batch == 'batch' else lane.micro_batch
  return dataclasses.replace(
    lane,
    batch_size=size,
    micro_batch=micro,
    accumulation=size // micro,
    learning_rate=lane.learning_rate * stage.learning_rate_factor * course.rate_factor,
  )


def _marks(count: int, start: int, end: int, total: int, block: int) -> tuple[int, ...]:
  """Evaluations of a stage: of `count` evenly placed over the study those within, and its end.

  The first stage begins with one.
  """
  even = {round(total * i / count / block) * block for i in range(1, 1 + count)}
  own = {mark for mark in even if start < mark <= end} | {end}
  return tuple(sorted(own if start else own | {0}))


def _groups(lanes: list[Lane], block: int) -> tuple[Group, ...]:
  """Lanes of one micro-batch each, in order of lanes."""
  by_micro_batch: dict[int, list[Lane]] = {}
  for lane in lanes:
    by_micro_batch.setdefault(lane.micro_batch, []).append(lane)
  return tuple(
    Group(i, micro, block // micro, tuple(dataclasses.replace(lane, group=i) for lane in own))
    for i, (micro, own) in enumerate(by_micro_batch.items())
  )


def default_micro_batches(config: ConfigDict, train_examples: int) -> dict[int, int]:
  """Returns the micro-batch of each batch size that needs no timing.

  It divides every size that lanes may come to have.
  """
  every = batch_size_paths.possible_sizes(config, train_examples)
  common, given = math.gcd(*every), config.micro_batch
  if given == 'auto':
    given = max(m for m in range(1, LARGEST_COMMON_MICRO_BATCH + 1) if common % m == 0)
  elif given != 'batch' and (odd := sorted(size for size in every if size % given)):
    raise ConfigError(
      f'micro_batch={given} does not divide the batch sizes {odd} that stages lead to; choose a '
      f'divisor of {common}, or micro_batch=auto'
    )
  return {size: size if given == 'batch' else given for size in config.batch_sizes}


def micro_batches(rows: list[dict]) -> dict[int, int]:
  """Returns the micro-batch of each batch size in the rows of plan.csv."""
  return {row['batch_size']: row['micro_batch'] for row in rows}


def _notes(
  config: ConfigDict, groups: tuple[Group, ...], block: int, evaluations: int, stage_count: int
) -> list[str]:
  notes = []
  if config.model.normalization == 'batch':
    seen = ', '.join(str(group.micro_batch) for group in groups)
    notes.append(
      f'BatchNorm sees micro-batches of {seen} examples, whatever the batch size '
      '(ghost batch normalization); micro_batch=batch makes it see whole batches'
      if config.micro_batch != 'batch'
      else f'BatchNorm sees whole batches, of {seen} examples: it differs between batch sizes'
    )
  if config.data.validation == 'test':
    notes.append(
      'validation is the test split: learning rates are chosen on it, so its accuracies are not '
      'those of unseen data; validation=split keeps the test split out'
    )
  smallest = min(group.micro_batch for group in groups)
  if smallest < 4:
    notes.append(
      f'a tick trains on only {smallest} example(s), which is slow; batch sizes with a larger '
      'common divisor train faster'
    )
  if evaluations < config.evaluations and stage_count == 1:
    notes.append(
      f'evaluations={config.evaluations} became {evaluations}: all lanes have just updated only '
      f'every {block} examples'
    )
  return notes


def lane_rows(plan: Plan) -> list[dict]:
  """Returns the rows of plan.csv; updates are those foreseen, over all stages."""
  parts = (plan, *plan.later)
  updates = {lane.lane: 0 for lane in plan.lanes}
  for part in parts:
    for lane in part.lanes:
      updates[lane.lane] += (part.end - part.start) // lane.batch_size
  return [
    {
      **dataclasses.asdict(lane),
      'updates': updates[lane.lane],
      'examples': plan.total_examples,
      'epochs': parts[-1].epoch(plan.total_examples),
    }
    for lane in plan.lanes
  ]
