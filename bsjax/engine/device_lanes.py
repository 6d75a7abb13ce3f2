"""The lanes of a group on the devices: their states, positions, and moves from and to the host."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PyTree

from bsjax.engine import device_axis, rate_sums
from bsjax.engine.device_data import DeviceData
from bsjax.engine.evaluate import Evaluation
from bsjax.engine.lanes import LaneSpec
from bsjax.engine.part import Part, Run
from bsjax.engine.probe import Probe
from bsjax.engine.programs import Programs
from bsjax.engine.rate_sums import RateSums
from bsjax.engine.seats import evened, params_of, seating
from bsjax.noise import estimators
from bsjax.plan.lanes import Group, Lane, StagePlan
from bsjax.storage.position import Divergence


@dataclasses.dataclass(frozen=True)
class Snapshot:
  """What an evaluation finds of a group's lanes, as host arrays `[lane, ...]`."""

  evaluation: Evaluation
  noise: dict[str, estimators.Window]  # measured since the last snapshot
  early_noise: dict[str, estimators.Window]  # and of it, early in epochs
  updates: Int[np.ndarray, ' lane']
  probe: Probe | None  # None: no example's gradient is asked for
  # Which lanes a probe says nothing of.
  out: Bool[np.ndarray, ' lane']


class Lanes:
  """The lanes of one group, in one or more parts, and what moves them.

  They serve a stage, and those after it that run the same programs. `first` are the states
  `[lane, ...]` to begin with; without them lanes are initialized.
  """

  def __init__(
    self, programs: Programs, group: Group, study: StagePlan, first: PyTree | None = None
  ):
    self.programs, self.group, self.origin, self._first = programs, group, study.origin, first
    self.diverged: dict[int, Divergence] = {}  # by lane
    # By lane, the examples of the study that it had seen when it was given up.
    self.given_up: dict[int, int] = {}
    # What `memory.temporary_bytes` was told, by the shape of a part: they share a program.
    self.temporary_bytes: dict[tuple[int, ...], int | None] = {}
    length = study.total_examples - study.origin
    self._factors = rate_sums.factors(programs.spec.schedule, length, group.micro_batch)
    self.restart(1)

  @property
  def spec(self) -> LaneSpec:
    """What the lanes share."""
    return self.programs.spec

  @property
  def devices(self) -> device_axis.Devices:
    """Where the lanes are."""
    return self.programs.devices

  @property
  def ticks(self) -> int:
    """Ticks since the stream of the lanes began."""
    return self._ticks

  @property
  def rates_before(self) -> RateSums:
    """The sums of learning rates when the lanes' batch sizes came to be as they are."""
    return self._rates_before

  @property
  def seen(self) -> int:
    """Examples of its stream that the group has seen."""
    return self.ticks * self.group.micro_batch

  @property
  def position(self) -> int:
    """Examples every lane of the group has seen since the study began."""
    return self.origin + self.seen

  def place(self, ticks: int, rates_before: RateSums | None = None) -> None:
    """Says where in its stream the group is, which changes no state.

    `rates_before` are the sums when batch sizes came to be as they are; None: at the start.
    """
    self._ticks = ticks
    self._rates_before = rates_before or rate_sums.none(self.group.lanes)

  def advance(self, data: DeviceData, blocks: int) -> int:
    """Trains all lanes for at most so many blocks; returns how many it did.

    It returns before the devices are done; `wait` waits for them. Lanes that diverge are frozen by
    `settle`, which whatever reads or changes states calls too, and this one after so many blocks.
    """
    if any(part.pending >= blocks for part in self.parts) or data.turns(self.seen):
      self.settle()
    out, examples = self.out, self.group.block_ticks * self.group.micro_batch
    source, end = data.at(self.seen)
    blocks = min(blocks, (end - self.group.micro_batch - self.seen) // examples)
    for part in self.parts:
      if not out[part.lanes].all():
        part.train(self.programs, Run(source, self.ticks, blocks), out)
    self._ticks += blocks * self.group.block_ticks
    return blocks

  def lower(self, part: Part, data: DeviceData) -> jax.stages.Lowered:
    """Returns the training program of a part before compilation, for what it tells of itself."""
    source, _ = data.at(self.seen)
    train, number = self.programs.train(part.rows), jnp.int32(0)
    return train.lower(part.states, part.lane_params, source, number, number)

  def wait(self) -> None:
    """Waits until the devices have done what was asked of them."""
    for part in self.parts:
      jax.block_until_ready(part.states.count)

  def settle(self) -> None:
    """Freezes the lanes that diverged since; all processes come here together.

    Where lanes run one after the other, those that go on are dealt to the devices anew.
    """
    for part in self.parts:
      for index, (seen, why) in part.settle(self.programs, self.out).items():
        lane = self.group.lanes[index].lane
        self.diverged[lane] = Divergence(lane, self.origin + seen, why, frozen=True)
    for part in self.parts if self.programs.skips else ():
      order = evened(part.order, self.out)
      if order is not part.order:
        part.sit(self.programs, order)

  def give_up(self, lanes: Collection[int]) -> None:
    """Trains these lanes no more from here on, where all have just updated.

    Their states stay what they are. Those of other groups, and those already out, are passed over.
    All processes come here together, at a position that no clock has chosen.
    """
    self.settle()
    out = dict(zip((lane.lane for lane in self.group.lanes), self.out, strict=True))
    self.given_up |= {lane: self.position for lane in lanes if not out.get(lane, True)}
    self.settle()

  @property
  def out(self) -> Bool[np.ndarray, ' lane']:
    """Which of the group's lanes are trained no more: those frozen and those given up."""
    lanes = [lane.lane for lane in self.group.lanes]
    return np.array([self._last(lane) is not None for lane in lanes])

  def _last(self, lane: int) -> int | None:
    """Examples of the study that a lane had seen at its last update; None: it trains on."""
    lost = self.diverged.get(lane)
    return lost.examples if lost and lost.frozen else self.given_up.get(lane)

  def evaluate(self, data: DeviceData) -> Callable[[], Snapshot]:
    """Evaluates all lanes, and begins new windows of noise.

    Returns a function that waits for the result, so that training can go on before it is read.
    """
    self.settle()
    measured, out = [self._evaluate(part, data) for part in self.parts], self.out
    orders = [part.order for part in self.parts]
    return lambda: Snapshot(*_collect(measured, orders), out)

  def evaluate_subset(self, data: DeviceData) -> Callable[[], tuple[Evaluation, np.ndarray]]:
    """Evaluates all lanes on the subset, with their updates, and changes nothing of them."""
    self.settle()
    measured = [
      (
        part.measure(
          self.programs,
          'subset',
          lambda *lanes: self.programs.evaluate(*lanes, *data.subset),
          self.out,
        ),
        jnp.copy(part.states.updates),  # the states are given away to the next call
      )
      for part in self.parts
    ]
    orders = [part.order for part in self.parts]
    return lambda: _collect(measured, orders)

  def _evaluate(self, part: Part, data: DeviceData) -> tuple:
    programs, out, probe = self.programs, self.out, None
    whole = functools.partial(data.evaluate, programs)
    evaluation = part.measure(programs, 'whole', whole, out)
    if programs.probed:
      probe = data.probe(programs, part.states, part.turn(programs, ~out), self.seen)
    windows, early = part.states.noise.windows, part.states.noise.early
    noise, updates = programs.begin_window(part.states.noise, part.states.updates)
    part.states = part.states.replace(noise=noise)
    return evaluation, windows, early, updates, probe

  def retune(self, lanes: Sequence[Lane]) -> None:
    """Gives the lanes other batch sizes and learning rates, in the same program.

    All have just updated.
    """
    self.settle()
    self._rates_before = self._rate_sums()
    self.group = dataclasses.replace(self.group, lanes=tuple(lanes))
    lane_params = params_of(self.group)
    for part in self.parts:
      part.lane_params = self._spread(lane_params, part.order)

  def rates(self) -> tuple[float, dict[int, float]]:
    """Returns the factor now on learning rates, and each lane's sum of rates over its updates."""
    return float(self._factors[self.ticks]), self._rate_sums().sums

  def _rate_sums(self) -> RateSums:
    before, factors, lanes = self.rates_before, self._factors, self.group.lanes
    sums = rate_sums.after(before, factors, self.ticks, lanes)
    for lane in lanes:
      seen = self._last(lane.lane)
      if seen is not None:  # it makes no updates any more
        last = max(before.tick, (seen - self.origin) // self.group.micro_batch)
        sums.sums.update(rate_sums.after(before, factors, last, [lane]).sums)
    return sums

  def to_host(self) -> PyTree:
    """Returns the state as host arrays `[lane, ...]`."""
    self.settle()
    return _collect([part.states for part in self.parts], [part.order for part in self.parts])

  def load(self, states: PyTree, ticks: int, rates_before: RateSums | None = None) -> None:
    """Continues from the host arrays of `to_host`, at a place as in `place`."""
    for part in self.parts:
      part.states, part.stretch = self._spread(states, part.order), None
      part.kept.clear()
    self.place(ticks, rates_before)

  def split(self) -> bool:
    """Starts anew with twice as many parts; returns False where no part can be cut further."""
    if all(part.order.shape[1] == 1 for part in self.parts):
      return False
    self.restart(min(2 * len(self.parts), len(self.group.lanes)))
    return True

  def restart(self, parts: int) -> None:
    """Puts all lanes before their first tick, in so many parts."""
    self.parts: list[Part] = []  # what they hold is free before there is more
    self.parts = self._cut(parts)
    self.place(0)

  def _cut(self, parts: int) -> list[Part]:
    """Deals the lanes, cut into so many parts of neighbours, before their first tick."""
    return [
      self._deal(neighbours)
      for neighbours in np.array_split(np.arange(len(self.group.lanes)), parts)
    ]

  def _deal(self, indices: Int[np.ndarray, ' lane']) -> Part:
    lane_params, devices = params_of(self.group), device_axis.spread_over(self.devices)
    order, rows = seating(self.programs.strategy, lane_params.trial[indices], devices)
    order = indices[order]
    seated = self._spread(lane_params, order)
    if self._first is None:
      return Part(order, rows, seated, self.programs.init(seated, seated))
    return Part(order, rows, seated, self._spread(self._first, order))

  def _spread(self, tree: PyTree, order: Int[np.ndarray, 'device seat']) -> PyTree:
    return device_axis.spread(device_axis.seat(tree, order), self.devices)


def _collect(trees: list[PyTree], orders: Sequence[Int[np.ndarray, 'device seat']]) -> PyTree:
  """Brings what there is of each part to the host, in order of lanes."""
  pairs = zip(trees, orders, strict=True)
  on_host = [device_axis.collect(tree, order) for tree, order in pairs]
  return jax.tree.map(lambda *xs: np.concatenate(xs), *on_host)
