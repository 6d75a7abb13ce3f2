"""What a lane carries, from tick to tick, of its gradient noise: two windows for each estimator."""

import importlib
import math
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, PyTree

from bsjax.noise import entries, estimators, pooling
from bsjax.noise.estimators import Count, Measurement, Scalar, Window

EARLY = 8  # one over the share of an epoch in which examples not yet drawn are like all others


@struct.dataclass
class LaneNoise:
  """What estimators have gathered since the last update, and what updates said since a reset.

  Dicts by the keys of `entries.ONLINE`. The first field's name is that in checkpoints.
  """

  micro_sq_norm: Any  # {kind: what its estimator gathers over the micro-batches of an update}
  micro_factor: Any  # float32, sum of their estimators.variance_factor
  windows: Any  # {kind: estimators.Window}
  early: Any  # the same of updates that began early in an epoch; with replacement, of all


class Draw(NamedTuple):
  """The examples of an update, as far as it has come: `count` micro-batches from `start` on."""

  start: Count  # position in the stream of the first example
  size: int  # examples of a micro-batch
  count: Count  # micro-batches so far, with this one
  accumulation: Count  # those of the whole update
  population: int | None  # see estimators.variance_factor
  micro_factor: Scalar | float = math.nan  # the mean of the micro-batches' factors, once all are in

  def factor(self, first: Count, count: Count) -> Scalar:
    """The variance factor of the mean over `count` micro-batches, number `first` (0, 1 ...) on."""
    position = self.start + first * self.size
    return estimators.variance_factor(position, count * self.size, self.population)


class Counted(NamedTuple):
  """In which windows a measurement counts."""

  regular: Bool[Array, '']
  early: Bool[Array, '']

  @property
  def anywhere(self) -> Bool[Array, '']:
    """Whether there is anything to measure."""
    return self.regular | self.early


def counted(
  began: Count, size: int, accumulation: Count, every: int, population: int | None
) -> Counted:
  """Where an update counts that began in a tick, of micro-batches of `size` examples.

  Regularly the first that begins in each `every` ticks does. Of those that begin in the first part
  of an epoch there are few, so they are measured `EARLY` times as often. Only these see examples
  that the parameters know as well as all others: of those drawn late in an epoch they know less.
  Drawn with replacement all are alike.
  """

  def due(every: int) -> Bool[Array, '']:
    return began % every < accumulation

  if population is None:
    return Counted(due(every), due(every))
  early = began * size % population < -(-population // EARLY)
  return Counted(due(every), early & due(max(every // EARLY, 1)))


def functions(kind: str) -> ModuleType:
  """Returns the module of an estimator, whose functions `entries` describes."""
  return importlib.import_module(entries.ONLINE[kind].module)


def empty(scaling: bool, like: PyTree) -> LaneNoise:
  """Returns the noise of a lane before its first tick; `like` is a tree as its gradients are.

  `scaling`: its optimizer scales coordinates.
  """
  kinds = entries.measured(scaling)
  return LaneNoise(
    micro_sq_norm={kind: functions(kind).init(like) for kind in kinds},
    micro_factor=jnp.zeros((), jnp.float32),
    windows={kind: estimators.zero_window() for kind in kinds},
    early={kind: estimators.zero_window() for kind in kinds},
  )


def lengths(grads: PyTree, preconditioner: PyTree | None) -> dict[str, PyTree]:
  """Returns the gradient as each estimator measures it: itself, or P g where there is a P.

  The preconditioner is that from before the batch: one that has seen the batch is correlated with
  it, and neither estimate would be unbiased.
  """
  scaled = preconditioner is not None
  if scaled:
    scaled_grads = jax.tree.map(jnp.multiply, preconditioner, grads)
  return {
    kind: scaled_grads if entry.scaled else grads
    for kind, entry in entries.measured(scaled).items()
  }


def add_micro_batch(noise: LaneNoise, grads: dict[str, PyTree], draw: Draw) -> LaneNoise:
  """Adds the gradient of one micro-batch of the update at hand; its first drops earlier ones."""
  factor = draw.factor(draw.count - 1, 1)
  gathered = {
    kind: functions(kind).micro_batch(noise.micro_sq_norm[kind], grads[kind], draw)
    for kind in noise.windows
  }
  first = draw.count == 1
  total = jnp.where(first, factor, noise.micro_factor + factor)
  return noise.replace(micro_sq_norm=gathered, micro_factor=total)


def add_update(
  noise: LaneNoise, grads: dict[str, PyTree], draw: Draw, warm: Bool[Array, ''], where: Counted
) -> LaneNoise:
  """Adds what the micro-batches of an update say, two or more, with mean gradient `grads`.

  `warm` as in `_observe`.
  """
  draw = draw._replace(micro_factor=noise.micro_factor / draw.count)
  pairs = {
    kind: functions(kind).update(noise.micro_sq_norm[kind], grads[kind], draw)
    for kind in noise.windows
  }
  return _observe(noise, pairs, warm, where)


def add_pair(
  noise: LaneNoise,
  grads_a: dict[str, PyTree],
  grads_b: dict[str, PyTree],
  draw: Draw,
  warm: Bool[Array, ''],
  where: Counted,
) -> LaneNoise:
  """Adds what two micro-batches at the same parameters say; `warm` as in `_observe`."""
  draw = draw._replace(micro_factor=(draw.factor(0, 1) + draw.factor(1, 1)) / 2)
  pairs = {kind: _pair(kind, grads_a[kind], grads_b[kind], draw) for kind in noise.windows}
  return _observe(noise, pairs, warm, where)


def _pair(kind: str, grads_a: PyTree, grads_b: PyTree, draw: Draw) -> Measurement:
  estimator = functions(kind)
  if hasattr(estimator, 'pair'):
    return estimator.pair(grads_a, grads_b, draw)
  gathered = estimator.init(grads_a)
  for count, grads in enumerate((grads_a, grads_b), 1):
    gathered = estimator.micro_batch(gathered, grads, draw._replace(count=count))
  mean = jax.tree.map(lambda a, b: (a + b) / 2, grads_a, grads_b)
  return estimator.update(gathered, mean, draw)


def _observe(
  noise: LaneNoise, pairs: dict[str, Measurement], warm: Bool[Array, ''], where: Counted
) -> LaneNoise:
  """`warm`: the optimizer has seen a gradient before this one, so its scaling means something."""

  def add(windows: dict[str, Window], here: Bool[Array, '']) -> dict[str, Window]:
    return {
      kind: estimators.observe(
        window, pairs[kind], here & warm if entries.ONLINE[kind].scaled else here
      )
      for kind, window in windows.items()
    }

  return noise.replace(
    windows=add(noise.windows, where.regular), early=add(noise.early, where.early)
  )


def columns(windows: dict[str, Window], early: dict[str, Window]) -> dict[str, Any]:
  """Returns what a lane's record says of its windows: each noise scale with its interval."""
  row = {}
  for kind, window in windows.items():
    entry, summary = entries.ONLINE[kind], estimators.window_summary(window)
    interval = pooling.measured_interval([summary])
    row[entry.scale] = estimators.b_simple(summary['trace'], summary['grad_sq'])
    row[f'{entry.scale}_ci95'] = [interval.low, interval.high]
    row[f'{entry.scale}_unbounded'] = interval.unbounded
    row[entry.window] = summary
  for kind, window in early.items():
    row[entries.ONLINE[kind].early] = estimators.window_summary(window)
  return row
