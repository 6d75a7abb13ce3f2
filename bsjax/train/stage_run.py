"""The lanes of a study in the stage at hand, and how they go from one stage to the next."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax import models
from bsjax.config.errors import ConfigError
from bsjax.data import Dataset, views
from bsjax.engine import device_lanes, frozen_features, memory
from bsjax.engine.device_data import DeviceData
from bsjax.engine.device_lanes import Lanes
from bsjax.engine.frozen_features import Suffix
from bsjax.engine.lanes import LaneSpec, LaneState
from bsjax.engine.rate_sums import RateSums
from bsjax.engine.spec import lane_spec, shapes
from bsjax.engine.strategies import Strategy
from bsjax.optim import freezing
from bsjax.plan import batch_size_paths, batch_size_rules, plan, stages
from bsjax.plan.batch_size_paths import Course
from bsjax.train import transfer


class StageRun:
  """Programs, data on the devices and batch sizes of the stage at hand.

  `first` is the plan of the first stage, `say` takes sentences for a person. `weights` are
  parameters and BatchNorm statistics for all lanes to begin with (None: fresh ones); a last layer
  of another shape stays fresh. `turns` are the parts that groups were cut into for want of memory.
  """

  def __init__(
    self,
    config: ConfigDict,
    dataset: Dataset,
    first: plan.Plan,
    strategies: dict[int, Strategy],
    say: Callable[[Any], None],
    weights: PyTree | None = None,
    turns: Mapping[int, int] | None = None,
  ):
    self.config, self.dataset, self.first, self.say = config, dataset, first, say
    self.strategies, self._weights = strategies, weights
    self.turns = dict(turns or {})  # parts that groups are cut into, by group
    self.plan: plan.Plan | None = None
    self.groups: list[Lanes] = []
    self.data: DeviceData | None = None
    self.courses: dict[int, Course] = {}

  def start(self) -> None:
    """Puts all lanes before the first tick of the first stage."""
    begin = {lane.lane: Course(lane.batch_size) for lane in self.first.lanes}
    self._build(self.first, begin, None)
    if self._weights is not None:
      for index, group in enumerate(self.groups):
        states, report = lend(group.to_host(), self._weights)
        group.load(states, 0)
        if index == 0:
          self.say(transfer.table(report))
    self._use_features()

  def next(self) -> None:
    """Leads all lanes, which have ended their stage, into the one after it."""
    before, sums = self.plan, self._rate_sums()
    stage = stages.of(self.config)[before.stage.index + 1]
    examples = len(self.dataset.train.labels)
    begin = batch_size_paths.begin_all(stage, before.lanes, self.courses, examples)
    after = plan.stage_plan(self.config, self.first, stage.index, begin, examples)
    if stage.same_program(before.stage) and _partition(before) == _partition(after):
      self.plan, self.courses, self._begun = after, begin, dict(begin)
      for group, own in zip(self.groups, after.groups, strict=True):
        if stage.reset_optimizer:
          states = hand_over(group.spec, group.to_host(), reset=True)
          group.load(states, group.ticks, group.rates_before)
        group.retune(own.lanes)
      return
    states = device_lanes.all_lanes(self.groups)
    self.groups, self.data = [], None  # what they hold on the devices is free before there is more
    new = self._lane_spec(after)
    self._build(after, begin, hand_over(new, states, stage.reset_optimizer))
    self._place(before.end, sums)
    self._use_features()

  def follow(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Gives lanes whose rules follow a measurement the batch sizes that their records ask for."""
    lanes = {lane.lane: lane for lane in self.plan.lanes}
    for row in rows:
      lane = lanes[row['lane']]
      rule = batch_size_paths.rule(self.plan.stage, lane.branch)
      if batch_size_rules.follows(rule):
        # The ladder is that of the size with which the lane began the stage.
        bounds = self._bounds(lane)
        found = batch_size_rules.measured(row['noise'], row['learning_rate'], row['train_loss'])
        size = batch_size_rules.follow(rule, lane.batch_size, bounds, found)
        self.courses[lane.lane] = dataclasses.replace(self.courses[lane.lane], batch_size=size)
    self._retune()

  @property
  def follows(self) -> bool:
    """Whether some lane's batch size follows a measurement in this stage."""
    return any(batch_size_rules.follows(rule) for rule in self.plan.stage.batch_size)

  def position(self) -> dict[str, Any]:
    """Returns where the lanes are, as plain numbers for a checkpoint."""
    return {
      'stage': self.plan.stage.index,
      'examples': min(group.position for group in self.groups),
      'ticks': [group.ticks for group in self.groups],
      'rates_before': [
        {'tick': g.rates_before.tick, 'sums': list(g.rates_before.sums.values())}
        for g in self.groups
      ],
      'courses': [dataclasses.astuple(self.courses[lane.lane]) for lane in self.plan.lanes],
      'first_courses': [dataclasses.astuple(course) for course in self._begun.values()],
    }

  def enter(self, position: Mapping[str, Any]) -> None:
    """Builds the stage of a position, its lanes fresh; `load` then gives them their states."""
    numbers = [lane.lane for lane in self.first.lanes]
    read = lambda key: {
      lane: Course(int(size), float(factor))
      for lane, (size, factor) in zip(numbers, position[key], strict=True)
    }
    begun, now = read('first_courses'), read('courses')
    examples = len(self.dataset.train.labels)
    of = lambda course: plan.stage_plan(
      self.config, self.first, position['stage'], course, examples
    )
    self._build(of(now), now, None)
    self._begun = begun

  def load(self, states: Sequence[PyTree], position: Mapping[str, Any]) -> None:
    """Continues from a checkpoint's states, one of each group, after `enter`."""
    every = zip(self.groups, states, position['ticks'], position['rates_before'], strict=True)
    for group, own, ticks, before in every:
      numbers = [lane.lane for lane in group.group.lanes]
      sums = dict(zip(numbers, before['sums'], strict=True))
      group.load(own, ticks, RateSums(before['tick'], sums))
    self._use_features()

  def make_room(self) -> bool:
    """Lets lanes take turns in twice as many parts from now on; False where no group can be cut."""
    able = [group for group in self.groups if any(p.order.shape[1] > 1 for p in group.parts)]
    for group in able:
      most = len(group.group.lanes)
      self.turns[group.group.index] = min(2 * len(group.parts), most)
    self.groups = []
    return bool(able)

  def _build(self, study: plan.Plan, begin: dict[int, Course], states: PyTree | None) -> None:
    self.plan, self.courses, self._begun = study, begin, dict(begin)
    self._create(views.view(self.dataset, study.stage), states)

  def _create(
    self, view: Dataset, states: PyTree | None, features: tuple[Suffix, Dataset] | None = None
  ) -> None:
    study = self.plan
    self.data = DeviceData(features[1] if features else view, self.config, study)
    self.groups = device_lanes.create(self.config, view, study, self.strategies, states, features)
    for group in self.groups:
      if (turns := self.turns.get(group.group.index, 1)) > 1:
        group.restart(turns)
      for sentence in memory.fit(group, self.data, self.config.execution.memory):
        self.say(sentence)

  def _use_features(self) -> None:
    """Trains on what frozen layers make of the images, where that is the same for all lanes."""
    study = self.plan
    if not (study.stage.trainable and self.config.execution.frozen_features):
      return
    view, own = views.view(self.dataset, study.stage), self._lane_spec(study)
    states = device_lanes.all_lanes(self.groups)
    cut = frozen_features.cut_of(own, states.params, view.image_shape)
    if not cut or not frozen_features.usable(own, states):
      return
    try:
      features = frozen_features.compute(own, cut, states, view)
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

  def _retune(self) -> None:
    examples, index = len(self.dataset.train.labels), self.plan.stage.index
    after = plan.stage_plan(self.config, self.first, index, self.courses, examples)
    if after.lanes == self.plan.lanes:
      return
    self.plan = after
    for group, own in zip(self.groups, after.groups, strict=True):
      group.retune(own.lanes)

  def _bounds(self, lane: plan.Lane) -> batch_size_rules.Bounds:
    begun = self._begun[lane.lane].batch_size
    return self.plan.stage.bounds(begun, len(self.dataset.train.labels))

  def _rate_sums(self) -> dict[int, float]:
    return {lane: rate for group in self.groups for lane, rate in group.rates()[1].items()}

  def _lane_spec(self, study: plan.Plan) -> LaneSpec:
    view = views.view(self.dataset, study.stage)
    return lane_spec(self.config, view, study, study.groups[0])


def _partition(study: plan.Plan) -> list[tuple]:
  return [(g.micro_batch, g.block_ticks, [x.lane for x in g.lanes]) for g in study.groups]


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


def lend(states: LaneState, weights: PyTree) -> tuple[LaneState, transfer.Report]:
  """Returns states `[lane, ...]` with another study's weights in all lanes but for the last layer.

  Raises TransferError where they do not fit.
  """
  lanes, report = [], None
  for i in range(len(states.count)):
    own = jax.tree.map(
      lambda x, i=i: x[i], {'params': states.params, 'batch_stats': states.batch_stats}
    )
    merged, report = transfer.merge(own, weights, models.head(own['params']))
    lanes.append(merged)
  return states.replace(**jax.tree.map(lambda *xs: np.stack(xs), *lanes)), report


def check(
  config: ConfigDict, dataset: Dataset, first: plan.Plan, say: Callable[[Any], None]
) -> None:
  """Says what each stage freezes; raises ConfigError where a stage does not fit the model.

  Nothing is compiled.
  """
  fitting: dict[str, tuple] = {}
  for study in (first, *first.later):
    view = views.view(dataset, study.stage)
    own = lane_spec(config, view, study, study.groups[0])
    params = shapes(own.model, view)['params']
    flat = {path: leaf.shape for path, leaf in flatten_dict(params, sep='/').items()}
    fitting = fitting or flat
    differing = sorted(path for path in flat if flat[path] != fitting.get(path))
    if differing:
      path = differing[0]
      raise ConfigError(
        f'stages.{study.stage.name}.image_size={study.stage.image_size} changes the shape of '
        f'{path} from {fitting.get(path)} to {flat[path]}: this model has parameters for every '
        'pixel; choose one that pools over pixels, or one image size'
      )
    if own.trainable is not None:
      norms = getattr(own.model, 'frozen_norms', frozenset())
      say(freezing.table(params, own.trainable, f'What stage {study.stage.name} trains', norms))
