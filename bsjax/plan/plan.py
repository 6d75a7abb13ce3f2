"""From batch sizes x learning rates x trials to lanes, groups and ticks."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.plan import batch_size_paths, evaluations, hyperparameters, rounds, stages
from bsjax.plan.lanes import Group, Lane, StagePlan, StudyPlan
from bsjax.plan.scaling_rules import rate_factor
from bsjax.plan.stages import Stage
from bsjax.storage import records
from bsjax.storage.position import BatchSizeState
from bsjax.storage.records import Row
from bsjax.storage.shards import Shard

LARGEST_COMMON_MICRO_BATCH = 32  # larger ticks see less of the noise


def make_plan(
  config: ConfigDict, train_examples: int, micro_batches: dict[int, int] | None = None
) -> StudyPlan:
  """Returns the plan of a valid config for a training set of so many examples.

  `micro_batches` gives that of each batch size, as chosen for speed or read from a plan; without it
  `micro_batch=auto` takes the largest common divisor up to `LARGEST_COMMON_MICRO_BATCH`. The stages
  after the first are foreseen as if measurements left batch sizes as they are. Raises ConfigError
  where stages are too short for their batches or lead nowhere, or lanes too many.
  """
  parsed = stages.of(config)
  batch_size_paths.refuse_too_many_lanes(config, parsed)
  sizes = batch_size_paths.possible_sizes(config.batch_sizes, parsed, train_examples)
  batch_size_paths.check(config, parsed, sizes, train_examples)
  hyperparameters.refuse_out_of_bounds(config, sizes)
  without_lanes = StudyPlan(_timeline(config, parsed, sizes, train_examples), train_examples)
  return regroup(config, without_lanes, micro_batches or default_micro_batches(config, sizes))


def regroup(config: ConfigDict, plan: StudyPlan, micro_batches: dict[int, int]) -> StudyPlan:
  """Returns a plan with the lanes and groups that follow from these micro-batches."""
  if config.model.normalization == 'batch' and 1 in micro_batches.values():
    raise ConfigError(
      f'BatchNorm over one example leaves nothing of it, and batch_sizes={tuple(micro_batches)} '
      f'with micro_batch={config.micro_batch} give micro-batches of 1; choose batch sizes with a '
      "common divisor, micro_batch='batch' and no batch size of 1, or model.normalization='group'",
      *('batch_sizes', 'micro_batch', 'model.normalization'),
    )
  lanes = _lanes(config, [part.stage for part in plan.stages], micro_batches)
  states = {lane.lane: BatchSizeState(lane.batch_size) for lane in lanes}
  parts = []
  for part in plan.stages:
    states = batch_size_paths.begin_all(part.stage, lanes, states, plan.train_examples)
    part = dataclasses.replace(part, micro_batches=tuple(micro_batches.items()))
    parts.append(with_batch_sizes(config, part, lanes, states))
  return dataclasses.replace(plan, stages=tuple(parts))


def with_batch_sizes(
  config: ConfigDict, plan: StagePlan, lanes: Sequence[Lane], states: Mapping[int, BatchSizeState]
) -> StagePlan:
  """Returns the plan of a stage in which lanes have the batch sizes of `states`.

  `lanes` are those of the first stage.
  """

  @functools.cache  # lanes of a setting have the same, and there may be many
  def values(branch: str, base: int, size: int, factor: float) -> tuple[tuple[str, float], ...]:
    lane_values = hyperparameters.of_lane(config, branch, size, rate_factor(config, base) * factor)
    return tuple(lane_values.items())

  in_stage = [_in_stage(config, plan.stage, lane, states[lane.lane], values) for lane in lanes]
  return dataclasses.replace(plan, groups=_groups(in_stage, plan.block_examples))


def share(plan: StudyPlan, shard: Shard) -> StudyPlan:
  """Returns the plan of the lanes of a shard, which keep their numbers, micro-batches and marks."""
  stages = []
  for part in plan.stages:
    lanes = [lane for lane in part.lanes if shard.has(lane.lane)]
    stages.append(dataclasses.replace(part, groups=_groups(lanes, part.block_examples)))
  return dataclasses.replace(plan, stages=tuple(stages))


def _timeline(
  config: ConfigDict, parsed: Sequence[Stage], sizes: frozenset[int], train_examples: int
) -> tuple[StagePlan, ...]:
  """The stages with their positions, but for lanes."""
  block = math.lcm(*sizes)
  ends = batch_size_paths.stage_ends(parsed, block, train_examples)
  starts = [0, *ends[:-1]]
  shares = [stage.share(train_examples) for stage in parsed]
  passes = [(end - start) / share for start, end, share in zip(starts, ends, shares, strict=True)]
  line = evaluations.timeline(parsed, ends, block, config.batch_sizes, train_examples)
  asked = np.interp(config.report.epochs, np.cumsum([0, *passes]), [0, *ends]).tolist()
  how = evaluations.way(config, parsed)
  if config.evaluation.at:
    marks = evaluations.given(line, config.evaluation.at)
  else:
    marks = evaluations.positions(line, config.evaluations, how, asked)
  matched = config.evaluation.subset and how == evaluations.MATCHED
  further = evaluations.further(line, marks) if matched else ()
  plans = []
  for i, stage in enumerate(parsed):
    # A stream of examples goes on until the share of the data changes.
    streams = [j for j in range(i + 1) if j == 0 or shares[j] != shares[j - 1]]
    plans.append(
      StagePlan(
        stage=stage,
        groups=(),
        train_examples=shares[i],
        epoch_examples=shares[0],
        possible_sizes=sizes,
        total_examples=ends[-1],
        start=starts[i],
        origin=starts[streams[-1]],
        stream=len(streams) - 1,
        # The first stage begins with one.
        evaluations=tuple(mark for mark in marks if starts[i] < mark <= ends[i] or mark == i == 0),
        start_epoch=float(sum(passes[:i])),
        further=tuple(mark for mark in further if starts[i] < mark <= ends[i]),
      )
    )
  return tuple(plans)


def _lanes(
  config: ConfigDict, parsed: Sequence[Stage], micro_batches: Mapping[int, int]
) -> list[Lane]:
  """All lanes as they begin: batch sizes of one micro-batch together."""
  rank: dict[int, int] = {}
  for _, micro in sorted(micro_batches.items()):
    rank.setdefault(micro, len(rank))
  choices = itertools.product(hyperparameters.branches(config), batch_size_paths.branches(parsed))
  branches = [' '.join(filter(None, words)) for words in choices]
  settings = (
    (size, rate, branch, trial)
    for size in sorted(micro_batches, key=lambda size: (rank[micro_batches[size]], size))
    for rate, trials in rounds.trials_of(config, size).items()
    for branch in branches
    for trial in range(trials)
  )
  return [
    Lane(
      lane=i,
      group=rank[micro_batches[size]],
      batch_size=size,
      learning_rate=rate,
      trial=trial,
      branch=branch,
      micro_batch=micro_batches[size],
      accumulation=size // micro_batches[size],
    )
    for i, (size, rate, branch, trial) in enumerate(settings)
  ]


def _in_stage(
  config: ConfigDict,
  stage: Stage,
  lane: Lane,
  state: BatchSizeState,
  values: Callable[[str, int, int, float], tuple[tuple[str, float], ...]],
) -> Lane:
  size = state.batch_size
  micro = size if config.micro_batch == 'batch' else lane.micro_batch
  return dataclasses.replace(
    lane,
    batch_size=size,
    micro_batch=micro,
    accumulation=size // micro,
    learning_rate=lane.learning_rate * stage.learning_rate_factor * state.rate_factor,
    hyperparameters=values(lane.branch, lane.batch_size, size, state.rate_factor),
  )


def _groups(lanes: list[Lane], block: int) -> tuple[Group, ...]:
  """Lanes of one micro-batch each, in order of lanes."""
  by_micro_batch: dict[int, list[Lane]] = {}
  for lane in lanes:
    by_micro_batch.setdefault(lane.micro_batch, []).append(lane)
  return tuple(
    Group(i, micro, block // micro, tuple(dataclasses.replace(lane, group=i) for lane in members))
    for i, (micro, members) in enumerate(by_micro_batch.items())
  )


def default_micro_batches(config: ConfigDict, sizes: frozenset[int]) -> dict[int, int]:
  """Returns the micro-batch of each batch size that needs no timing.

  It divides every one of `sizes`, which lanes may come to have.
  """
  common, micro = math.gcd(*sizes), config.micro_batch
  if micro == 'auto':
    micro = max(m for m in range(1, LARGEST_COMMON_MICRO_BATCH + 1) if common % m == 0)
  elif micro != 'batch' and (odd := sorted(size for size in sizes if size % micro)):
    raise ConfigError(
      f'micro_batch={micro} does not divide the batch sizes {odd} that stages lead to; choose a '
      f'divisor of {common}, or micro_batch=auto',
      'micro_batch',
    )
  return {size: size if micro == 'batch' else micro for size in config.batch_sizes}


def micro_batches(rows: list[Row]) -> dict[int, int]:
  """Returns the micro-batch of each batch size in the rows of plan.csv."""
  return {row['batch_size']: row['micro_batch'] for row in rows}


def lane_rows(plan: StudyPlan) -> list[Row]:
  """Returns the rows of plan.csv; updates are those foreseen, over all stages."""
  updates = {lane.lane: 0 for lane in plan.lanes}
  for part in plan.stages:
    for lane in part.lanes:
      updates[lane.lane] += (part.end - part.start) // lane.batch_size
  return [
    {
      **{name: value for name, value in vars(lane).items() if name != 'hyperparameters'},
      **{f'{records.HYPERPARAMETER}{name}': value for name, value in lane.hyperparameters},
      'updates': updates[lane.lane],
      'examples': plan.total_examples,
      'epochs': plan.stages[-1].epoch(plan.total_examples),
    }
    for lane in plan.lanes
  ]
