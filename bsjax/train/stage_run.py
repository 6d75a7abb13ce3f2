"""The lanes of a study in the stage at hand, and how they go from one stage to the next."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax.data import Dataset, views
from bsjax.engine import fed_data, frozen_features, memory, stage_lanes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.device_lanes import Lanes
from bsjax.engine.frozen_features import Suffix
from bsjax.engine.lanes import LaneSpec, LaneState
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.rate_sums import RateSums
from bsjax.engine.spec import lane_spec
from bsjax.engine.strategies import Strategy
from bsjax.optim import freezing
from bsjax.plan import batch_size_paths, batch_size_rules, plan
from bsjax.plan.lanes import Lane, StagePlan, StudyPlan
from bsjax.storage.position import (
  BatchSizes,
  BatchSizeState,
  Divergence,
  GivenUp,
  Position,
  RateSum,
)
from bsjax.train import transfer


class StageRun:
  """Programs, data on the devices and batch sizes of the stage at hand.

  `say` takes sentences for a person. `weights` are parameters and BatchNorm statistics for all
  lanes to begin with (None: fresh ones); a last layer of another shape stays fresh. `parts` counts
  those that groups were cut into for want of memory, by group. `own` is what comes from outside.
  """

  def __init__(
    self,
    config: ConfigDict,
    dataset: Dataset,
    study_plan: StudyPlan,
    strategies: dict[int, Strategy],
    say: Callable[[Any], None],
    weights: PyTree | None = None,
    parts: Mapping[int, int] | None = None,
    own: Own = CONFIGS,
  ):
    self.own = own
    self.config, self.dataset, self.study_plan, self.say = config, dataset, study_plan, say
    self.strategies, self._weights = strategies, weights
    self.parts = dict(parts or {})
    self.plan: StagePlan | None = None  # of the stage at hand
    self.groups: list[Lanes] = []
    self.data: DeviceData | None = None
    self.batch_sizes: dict[int, BatchSizeState] = {}  # by lane
    self._begun: dict[int, BatchSizeState] = {}  # what lanes began the stage with
    # By lane, when the groups at hand were made.
    self._diverged: dict[int, Divergence] = {}
    self._given_up: dict[int, int] = {}

  def start(self) -> None:
    """Puts all lanes before the first tick of the first stage."""
    lanes, self._diverged, self._given_up = self.study_plan.lanes, {}, {}
    begun = {lane.lane: BatchSizeState(lane.batch_size) for lane in lanes}
    self._build(self.study_plan.first, begun, None)
    if self._weights is not None:
      for index, group in enumerate(self.groups):
        states, report = transfer.lend(group.to_host(), self._weights)
        group.load(states, 0)
        if index == 0:
          self.say(transfer.table(report))
    self._use_features()

  def next(self) -> None:
    """Leads all lanes, which have ended their stage, into the one after it."""
    before, sums = self.plan, self._rate_sums()
    foreseen = self.study_plan.stages[before.stage.index + 1]
    stage, examples = foreseen.stage, self.study_plan.train_examples
    begun = batch_size_paths.begin_all(stage, before.lanes, self.batch_sizes, examples)
    after = self._with(foreseen, begun)
    if stage.same_program(before.stage) and _partition(before) == _partition(after):
      self._retune(after, begun, stage.reset_optimizer)
      return
    states = self._taken_down()
    self.groups, self.data = [], None  # what they hold on the devices is free before there is more
    states = hand_over(self._lane_spec(after), states, stage.reset_optimizer)
    self._build(after, begun, states)
    self._place(before.end, sums)
    self._use_features()

  def follow(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Gives lanes whose rules follow a measurement the batch sizes that their records ask for."""
    lanes = {lane.lane: lane for lane in self.plan.lanes}
    for row in rows:
      lane = lanes[row['lane']]
      rule = batch_size_paths.rule(self.plan.stage, lane.branch)
      stays = row['diverged'] or row['lane'] in self.given_up
      if batch_size_rules.follows(rule) and not stays:
        measured = batch_size_rules.measured(row['noise'], row['learning_rate'], row['train_loss'])
        size = batch_size_rules.follow(rule, lane.batch_size, self._bounds(lane), measured)
        state = self.batch_sizes[lane.lane]
        self.batch_sizes[lane.lane] = state._replace(batch_size=size)
    after = self._with(self.plan, self.batch_sizes)
    if after.lanes != self.plan.lanes:
      self.plan = after
      for group, planned in zip(self.groups, after.groups, strict=True):
        group.retune(planned.lanes)

  @property
  def diverged(self) -> dict[int, Divergence]:
    """The lanes that are lost; all processes ask for it together."""
    for group in self.groups:
      group.settle()
    return {lane: lost for group in self.groups for lane, lost in group.diverged.items()}

  @property
  def given_up(self) -> dict[int, int]:
    """The lanes given up, and the examples of the study that each had seen then."""
    return {lane: seen for group in self.groups for lane, seen in group.given_up.items()}

  def give_up(self, lanes: Collection[int]) -> None:
    """Trains these lanes no more, in the stages to come too (`Lanes.give_up`)."""
    for group in self.groups:
      group.give_up(lanes)

  @property
  def over(self) -> bool:
    """Whether no lane is left to train; all processes ask for it together."""
    return len(self.diverged | self.given_up) == len(self.plan.lanes)

  def note_diverged(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps in mind which lanes an evaluation found to be lost, though they were not frozen."""
    groups = {lane.lane: group for group in self.groups for lane in group.group.lanes}
    for row in rows:
      if row['diverged']:
        lost = row['lane'], row['diverged_at'], row['diverged_because']
        groups[row['lane']].diverged.setdefault(row['lane'], Divergence(*lost, frozen=False))

  @property
  def follows(self) -> bool:
    """Whether some lane's batch size follows a measurement in this stage."""
    return any(batch_size_rules.follows(rule) for rule in self.plan.stage.batch_size)

  def position(self, evaluated: int, fingerprint: str) -> Position:
    """Returns where the lanes are, of data with this fingerprint and evaluated so far."""
    sums = [group.rates_before for group in self.groups]
    lanes = self.plan.lanes
    return Position(
      stage=self.plan.stage.index,
      examples=min(group.position for group in self.groups),
      ticks=tuple(group.ticks for group in self.groups),
      rate_sums=tuple(RateSum(tick, tuple(by_lane.values())) for tick, by_lane in sums),
      batch_sizes=BatchSizes(
        now=tuple(self.batch_sizes[lane.lane] for lane in lanes),
        begun=tuple(self._begun[lane.lane] for lane in lanes),
      ),
      evaluated=evaluated,
      data=fingerprint,
      diverged=tuple(sorted(self.diverged.values())),
      given_up=tuple(GivenUp(*lane) for lane in sorted(self.given_up.items())),
    )

  def enter(self, position: Position) -> None:
    """Builds the stage of a position, its lanes fresh; `load` then gives them their states."""
    self.groups, self.data = [], None  # what they hold on the devices is free before there is more
    numbers = [lane.lane for lane in self.study_plan.lanes]
    self._diverged = {lost.lane: lost for lost in position.diverged}
    self._given_up = dict(position.given_up)
    now = dict(zip(numbers, position.batch_sizes.now, strict=True))
    self._build(self._with(self.study_plan.stages[position.stage], now), now, None)
    self._begun = dict(zip(numbers, position.batch_sizes.begun, strict=True))

  def load(self, states: Sequence[PyTree], position: Position) -> None:
    """Continues from a checkpoint's states, one of each group, after `enter`."""
    of_groups = zip(self.groups, states, position.ticks, position.rate_sums, strict=True)
    for group, state, ticks, (tick, sums) in of_groups:
      numbers = [lane.lane for lane in group.group.lanes]
      group.load(state, ticks, RateSums(tick, dict(zip(numbers, sums, strict=True))))
    self._use_features()

  def make_room(self) -> bool:
    """Cuts groups into twice as many parts from now on; False where no group can be cut."""
    able = [group for group in self.groups if any(p.order.shape[1] > 1 for p in group.parts)]
    for group in able:
      most = len(group.group.lanes)
      self.parts[group.group.index] = min(2 * len(group.parts), most)
    self.groups = []
    return bool(able)

  def _with(self, stage: StagePlan, states: Mapping[int, BatchSizeState]) -> StagePlan:
    return plan.with_batch_sizes(self.config, stage, self.study_plan.lanes, states)

  def _retune(self, after: StagePlan, begun: dict[int, BatchSizeState], reset: bool) -> None:
    """Leads lanes into a stage that runs the same programs."""
    self.plan, self.batch_sizes, self._begun = after, begun, dict(begun)
    for group, planned in zip(self.groups, after.groups, strict=True):
      if reset:
        states = hand_over(group.spec, group.to_host(), reset=True)
        group.load(states, group.ticks, group.rates_before)
      group.retune(planned.lanes)

  def _build(
    self, stage: StagePlan, begun: dict[int, BatchSizeState], states: PyTree | None
  ) -> None:
    self.plan, self.batch_sizes, self._begun = stage, begun, dict(begun)
    self._create(views.view(self.dataset, stage.stage), states)

  def _create(
    self, view: Dataset, states: PyTree | None, features: tuple[Suffix, Dataset] | None = None
  ) -> None:
    self.data = fed_data.create(self.config, features[1] if features else view, self.plan)
    for sentence in self.data.said():
      self.say(sentence)
    self.groups = stage_lanes.create(
      self.config, view, self.plan, self.strategies, states, features, self.own
    )
    for group in self.groups:
      numbers = [lane.lane for lane in group.group.lanes]
      group.diverged = {x: self._diverged[x] for x in numbers if x in self._diverged}
      group.given_up = {x: self._given_up[x] for x in numbers if x in self._given_up}
      if (parts := self.parts.get(group.group.index, 1)) > 1:
        group.restart(parts)
      for sentence in memory.fit(group, self.data, self.config.execution.memory):
        self.say(sentence)

  def _taken_down(self) -> PyTree:
    """The states of all lanes, before other groups are made; notes which of them are out."""
    self._diverged, self._given_up = self.diverged, self.given_up
    return stage_lanes.all_lanes(self.groups)

  def _use_features(self) -> None:
    """Trains on what frozen layers make of the images, where that is the same for all lanes."""
    wanted = self.config.execution.frozen_features and not self.own.model
    if not (self.plan.stage.trainable and wanted):
      return
    view, spec = views.view(self.dataset, self.plan.stage), self._lane_spec(self.plan)
    states = self._taken_down()
    cut = frozen_features.cut_of(spec, states.params, view.image_shape)
    if not cut or not frozen_features.usable(spec, states):
      return
    try:
      features = frozen_features.compute(spec, cut, states, view)
    except ValueError as error:
      self.say(f'Frozen layers are computed in every tick: {error}.')
      return
    where = [(group.ticks, group.rates_before) for group in self.groups]
    self.groups, self.data = [], None
    self._create(view, states, features)
    for group, (ticks, before) in zip(self.groups, where, strict=True):
      group.place(ticks, before)
    self.say(f'All that comes before {cut} is frozen and computed once.')

  def _place(self, position: int, sums: dict[int, float]) -> None:
    """Puts groups at a position of the study, after `_build`."""
    for group in self.groups:
      ticks = (position - self.plan.origin) // group.group.micro_batch
      group_sums = {lane.lane: sums[lane.lane] for lane in group.group.lanes}
      group.place(ticks, RateSums(ticks, group_sums))

  def _bounds(self, lane: Lane) -> batch_size_rules.Bounds:
    """The ladder of a following rule is that of the size with which the lane began the stage."""
    begun = self._begun[lane.lane].batch_size
    return self.plan.stage.bounds(begun, self.study_plan.train_examples)

  def _rate_sums(self) -> dict[int, float]:
    return {lane: rate for group in self.groups for lane, rate in group.rates()[1].items()}

  def _lane_spec(self, stage: StagePlan) -> LaneSpec:
    view = views.view(self.dataset, stage.stage)
    return lane_spec(self.config, view, stage, stage.groups[0], own=self.own)


def _partition(stage: StagePlan) -> list[tuple]:
  return [(g.micro_batch, g.block_ticks, [x.lane for x in g.lanes]) for g in stage.groups]


def hand_over(spec: LaneSpec, states: LaneState, reset: bool) -> LaneState:
  """Returns states `[lane, ...]` for the stage of a spec, of lanes that have just updated.

  Parameters, BatchNorm statistics and counts go on; the optimizer state is fresh with `reset`, and
  else what of it belongs to parameters that stay trainable (`freezing.carry_over`).
  """
  trainable, _ = freezing.split(states.params, spec.trainable)
  fresh = jax.tree.map(np.asarray, jax.vmap(spec.optimizer.init)(trainable))
  return states.replace(
    opt_state=fresh if reset else freezing.carry_over(fresh, states.opt_state),
    grad_sum=jax.tree.map(np.zeros_like, trainable),
    count=np.zeros_like(states.count),
  )
