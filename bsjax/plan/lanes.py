"""What a plan consists of: lanes in groups, stages, and the study of them."""

import dataclasses
import itertools
import math

from bsjax.plan.stages import Stage


@dataclasses.dataclass(frozen=True)
class Lane:
  """One training run in one stage: of the first, a row of plan.csv.

  `branch` names the rules by which its batch size changes, where a stage has several, and its
  values on axes. `hyperparameters` are those that lanes differ in, by key of `config.optimizer`.
  """

  lane: int
  group: int
  batch_size: int
  learning_rate: float
  trial: int
  branch: str
  micro_batch: int
  accumulation: int  # ticks per update
  hyperparameters: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Group:
  """Lanes that share one compiled program, which advances them by whole blocks of ticks."""

  index: int
  micro_batch: int
  block_ticks: int
  lanes: tuple[Lane, ...]


@dataclasses.dataclass(frozen=True)
class StagePlan:
  """What a stage trains and when it evaluates; positions are examples seen in the whole study.

  A block is the shortest stretch after which every lane has just updated. Training and evaluations
  end on blocks, so no lane is judged with a batch half gathered.
  """

  stage: Stage
  groups: tuple[Group, ...]
  train_examples: int  # of the stage's share of the training set
  epoch_examples: int  # of the first stage's share: an epoch of schedules
  possible_sizes: frozenset[int]  # batch sizes that some lane may have in some stage
  total_examples: int  # where the study ends
  start: int  # where the stage begins
  origin: int  # where its stream of examples does: the stream goes on until the share changes
  stream: int  # the number of that stream
  evaluations: tuple[int, ...]  # of the first stage the first is at 0; the last ends the stage
  start_epoch: float  # passes over training sets before `start`
  further: tuple[int, ...] = ()  # positions of evaluations on a subset alone
  # (batch size, micro-batch) of all lanes as the study begins, also of those that a share leaves to
  # others: what a program holds for them is in that of a share too, so that it rounds alike.
  micro_batches: tuple[tuple[int, int], ...] = ()

  @property
  def lanes(self) -> list[Lane]:
    return sorted(
      itertools.chain.from_iterable(group.lanes for group in self.groups), key=lambda x: x.lane
    )

  @property
  def block_examples(self) -> int:
    return math.lcm(*self.possible_sizes)

  @property
  def end(self) -> int:
    """Where the stage ends."""
    return self.evaluations[-1]

  def epoch(self, position: int) -> float:
    """Returns how many passes over the training set of its time a position is."""
    return self.start_epoch + (position - self.start) / self.train_examples


@dataclasses.dataclass(frozen=True)
class StudyPlan:
  """The stages of a study in order, those after the first as far as they can be foreseen."""

  stages: tuple[StagePlan, ...]
  train_examples: int  # of the whole training set

  @property
  def first(self) -> StagePlan:
    return self.stages[0]

  @property
  def lanes(self) -> list[Lane]:
    """The lanes as they begin."""
    return self.first.lanes

  @property
  def total_examples(self) -> int:
    return self.first.total_examples

  @property
  def micro_batches(self) -> dict[int, int]:
    """The micro-batch of each batch size of the config."""
    return {lane.batch_size: lane.micro_batch for lane in self.lanes}
