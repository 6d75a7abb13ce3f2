"""Sharpness of the lanes of a study: the compiled programs over lanes, and sharpness.json."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from bsjax.config.errors import ConfigError
from bsjax.engine import device_axis
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.vectorize import over_lanes
from bsjax.sharpness import rows, slices
from bsjax.sharpness import study as studies
from bsjax.sharpness.lane import SLICES, Options, as_state, in_float32, measure
from bsjax.storage import checkpoint, records

Row = dict[str, Any]


class Runner:
  """A study's data on the devices, and functions of a lane run over all lanes wanted."""

  def __init__(self, study: studies.StudyToMeasure, options: Options):
    self.study, self.options = study, options
    self.devices = device_axis.devices(study.config.execution.devices)
    examples = studies.subset(study.dataset, options.examples, options.seed)
    self.splits = [self._everywhere(examples), self._everywhere(study.dataset.validation)]
    shape = study.image_shape
    self._measure = self.over(functools.partial(measure, study.spec, options, shape))

  def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Turns `function(first, second, train, validation)` of one lane into one of host `[lane]`."""
    backend = self.study.config.execution.replicate
    # One after the other everywhere: a chunk of examples is large enough to fill a device.
    spread = device_axis.replicate(over_lanes(function, 'map'), backend, self.devices, (0, 0, 0, 0))

    def run(first: PyTree, second: PyTree) -> PyTree:
      order = device_axis.deal(len(jax.tree.leaves(first)[0]), len(self.devices))
      dealt = [
        device_axis.spread(device_axis.seat(tree, order), self.devices) for tree in (first, second)
      ]
      # Otherwise an accelerator multiplies float32 matrices with ten bits of their mantissas.
      with jax.default_matmul_precision('highest'):
        results = spread(*dealt, *self.splits)
      return device_axis.collect(results, order)

    return run

  def rows(self, weights: PyTree, examples: list[int], lanes: list[int]) -> list[Row]:
    """Measures lanes at one checkpoint; `weights` are those of all lanes."""
    measured = self._measure(_take(weights, lanes), np.array(lanes, np.int32))
    return [
      rows.lane_row(
        self.study.plan.lanes[lane],
        self.position(lane, examples[lane]),
        jax.tree.map(lambda x, i=i: x[i], measured),
        self.options.epsilons,
        self.options.eigenvalues,
      )
      for i, lane in enumerate(lanes)
    ]

  def position(self, lane: int, examples: int) -> Row:
    """Where a lane is: the learning rate of its next update, and what that makes of stability."""
    factor = float(self.study.spec.schedule(jnp.int32(examples)))
    rate = self.study.plan.lanes[lane].learning_rate * factor
    stability = rows.stability_threshold(self.study.config.optimizer, rate)
    return {'examples': examples, 'learning_rate_now': rate, 'stability': stability}

  def slices(self, weights: PyTree, lanes: list[int], points: np.ndarray) -> list[list[Row]]:
    """Loss and accuracy at points `[point, axis]` of random slices, the same draw for all lanes."""
    spec = in_float32(self.study.spec)
    keys = jax.random.split(self.options.key(SLICES), points.shape[1])
    shape, batch_size = self.study.image_shape, self.options.chunk

    def one(variables: PyTree, lane: jax.Array, *splits: DeviceSplit) -> PyTree:
      state = as_state(spec, shape, variables)
      return slices.random_slice(spec, batch_size, state, keys, jnp.float32(points), *splits)

    sums = self.over(one)(_take(weights, lanes), np.array(lanes, np.int32))
    return [_points(jax.tree.map(lambda x, i=i: x[i], sums), points) for i in range(len(lanes))]

  def between(self, weights: PyTree, first: int, second: int) -> list[Row]:
    """Loss and accuracy on the line from one lane to another."""
    spec = in_float32(self.study.spec)
    shape, batch_size = self.study.image_shape, self.options.chunk
    alphas = slices.BETWEEN

    def one(a: PyTree, b: PyTree, *splits: DeviceSplit) -> PyTree:
      first, second = (as_state(spec, shape, variables) for variables in (a, b))
      return slices.interpolate(spec, batch_size, first, second, jnp.float32(alphas), *splits)

    sums = self.over(one)(_take(weights, [first]), _take(weights, [second]))
    return _points(jax.tree.map(lambda x: x[0], sums), alphas[:, None])

  def _everywhere(self, split: Any) -> DeviceSplit:
    return DeviceSplit(**device_axis.copy_to_all(dataclasses.asdict(split), self.devices))


def measure_study(
  workdir: Path,
  options: Options,
  lanes: str = 'all',
  at: str = 'latest',
  interpolate: str = '',
  with_slices: bool = False,
  devices: int = 0,
) -> Row:
  """Measures lanes of a study at its checkpoints, writes WORKDIR/sharpness.json and returns it.

  Raises ConfigError, DataError or FileNotFoundError, with what to do, before anything compiles.
  """
  if problems := options.problems():
    raise ConfigError('\n'.join(problems))
  study = studies.load(workdir, devices)
  chosen = studies.chosen_lanes(study.plan, lanes)
  pair = studies.chosen_lanes(study.plan, interpolate) if interpolate else []
  if interpolate and (interpolate == 'all' or len(pair) != 2):
    raise ConfigError(f'--interpolate={interpolate}: give two lanes, such as 3,17')
  result: Row = {'options': dataclasses.asdict(options), 'mode': 'evaluation'}
  result |= {'caption': rows.CAPTION, 'rows': [], 'slices': [], 'interpolations': []}
  with checkpoint.open_to_read(workdir) as manager:
    steps = studies.chosen_steps(checkpoint.steps(manager), at)
    runner = Runner(study, options)
    for step in steps:
      weights, examples = studies.weights_at(manager, step, study)
      result['rows'] += runner.rows(weights, examples, chosen)
      if with_slices:
        result['slices'] += _slices(runner, weights, examples, chosen)
      if pair:
        result['interpolations'].append(_interpolation(runner, weights, examples, pair))
  records.write_json(workdir / 'sharpness.json', result)
  return result


def _slices(runner: Runner, weights: PyTree, examples: list[int], lanes: list[int]) -> list[Row]:
  """The plane of two random directions, and the line of the first, in one program."""
  line = np.stack([slices.LINE, np.zeros_like(slices.LINE)], -1)
  plane = np.stack(np.meshgrid(slices.PLANE, slices.PLANE, indexing='ij'), -1).reshape(-1, 2)
  of_lanes = runner.slices(weights, lanes, np.concatenate([line, plane]))
  return [
    {**_where(runner, lane, examples), 'line': points[: len(line)], 'plane': points[len(line) :]}
    for lane, points in zip(lanes, of_lanes, strict=True)
  ]


def _interpolation(runner: Runner, weights: PyTree, examples: list[int], pair: list[int]) -> Row:
  ends = [_where(runner, lane, examples) for lane in pair]
  statistics = 're-estimated at every point' if weights['batch_stats'] else 'none'
  points = runner.between(weights, *pair)
  return {'lanes': ends, 'batch_norm_statistics': statistics, 'points': points}


def _where(runner: Runner, number: int, examples: list[int]) -> Row:
  lane, position = runner.study.plan.lanes[number], runner.position(number, examples[number])
  row = {'lane': number, 'batch_size': lane.batch_size, 'learning_rate': lane.learning_rate}
  row |= {'trial': lane.trial, 'examples': examples[number]}
  return row | {'learning_rate_now': position['learning_rate_now']}


def _points(sums: PyTree, points: np.ndarray) -> list[Row]:
  """Rows of {at, train_loss, train_accuracy, val_loss, val_accuracy}, null where not finite."""
  return [
    {'at': point.tolist(), **rows.means(jax.tree.map(lambda x, i=i: x[i], sums))}
    for i, point in enumerate(points)
  ]


def _take(tree: PyTree, lanes: list[int]) -> PyTree:
  return jax.tree.map(lambda x: np.asarray(x)[lanes], tree)
