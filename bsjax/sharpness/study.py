"""A study read back for measuring: its lanes, its data, its checkpoints. Nothing is changed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PyTree, UInt8
from ml_collections import ConfigDict

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.data.stratify import stratified
from bsjax.engine import lanes
from bsjax.engine.lanes import LaneParams, LaneSpec
from bsjax.engine.spec import lane_spec
from bsjax.engine.validate import validate
from bsjax.plan import plan
from bsjax.plan.lanes import StagePlan
from bsjax.storage import checkpoint, records, workdirs


@dataclasses.dataclass(frozen=True)
class StudyToMeasure:
  """What a workdir holds. `spec` is that of the first group: they differ in micro-batch only."""

  config: ConfigDict
  plan: StagePlan  # of the only stage
  dataset: data.Dataset
  spec: LaneSpec

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(height, width, channel)."""
    height, width, channels = _images(self.dataset).shape[1:]
    return height, width, channels


def load(workdir: Path, devices: int = 0) -> StudyToMeasure:
  """Reads config, plan and data of a study, on so many devices (0: all), and checks them.

  Raises FileNotFoundError where there is no study, ConfigError where it is not the data's.
  """
  missing = [name for name in ('config.json', 'plan.csv') if not (workdir / name).is_file()]
  if missing:
    raise FileNotFoundError(
      f'{workdir} lacks {", ".join(missing)}: give the workdir of a study that has started '
      f'(python -m bsjax.main --config=... --workdir={workdir})'
    )
  config = workdirs.read_config(workdir)
  config.execution.devices = devices
  config.execution.devices_per_lane = 0  # of training; these devices may be fewer
  if config.stages.order:
    raise ConfigError(
      f'{workdir} holds a study of stages ({", ".join(config.stages.order)}), between which '
      'learning rates, images or trained parameters change; sharpness is measured of studies '
      'without stages only'
    )
  validate(config)
  dataset = data.load(config.data, config.seed)
  rows = records.read_plan(workdir / 'plan.csv')
  study_plan = plan.make_plan(config, len(dataset.train), plan.micro_batches(rows))
  if rows != plan.lane_rows(study_plan):
    raise ConfigError(
      f'{workdir / "plan.csv"} was made for another training set than the one read now, of '
      f'{study_plan.train_examples} examples; restore the data'
    )
  only = study_plan.first
  return StudyToMeasure(config, only, dataset, lane_spec(config, dataset, only, only.groups[0]))


def chosen_steps(kept: dict[int, int], wanted: str) -> list[int]:
  """The checkpoint steps of 'latest', 'all' or a number of examples, of `checkpoint.steps`."""
  if not kept:
    raise ConfigError('there is no checkpoint yet: the study saves its first at an evaluation')
  if wanted == 'latest':
    return [max(kept.values())]
  if wanted == 'all':
    return list(kept.values())
  if not wanted.isdigit() or int(wanted) not in kept:
    raise ConfigError(
      f'--checkpoint={wanted}: there are checkpoints at {", ".join(map(str, kept))} examples; '
      'give one of these, latest or all (checkpoint.keep_all=True keeps one at every evaluation)'
    )
  return [kept[int(wanted)]]


def chosen_lanes(stage_plan: StagePlan, wanted: str) -> list[int]:
  """The lanes of 'all' or of a list such as '0,5,7'."""
  last = len(stage_plan.lanes) - 1
  if wanted == 'all':
    return list(range(last + 1))
  words = wanted.split(',')
  if not all(word.isdigit() and int(word) <= last for word in words):
    raise ConfigError(f'lanes {wanted!r}: give numbers from 0 to {last} with commas between them')
  return [int(word) for word in words]


def subset(dataset: data.Dataset, examples: int, seed: int) -> data.Split:
  """The training examples to measure on, stratified by class, the same for all lanes; 0: all."""
  count = len(dataset.train.labels)
  if not 0 < examples < count:
    return dataset.train
  labels = np.asarray(dataset.train.labels)
  kept = stratified(labels, examples, seed)
  return data.Split(_images(dataset)[kept], labels[kept])


def _images(dataset: data.Dataset) -> UInt8[np.ndarray, 'example height width channel']:
  images = dataset.train.images
  assert isinstance(images, np.ndarray)  # studies with other inputs are refused
  return images


def weights_at(manager: Any, step: int, study: StudyToMeasure) -> tuple[PyTree, list[int]]:
  """Parameters and statistics `[lane, ...]` of all lanes in plan order, and examples seen by each.

  Raises ConfigError where the checkpoint belongs to other data or another model.
  """
  groups, position = checkpoint.restore_weights(manager, step)
  fingerprint = study.dataset.fingerprint()
  if position.data != fingerprint:
    raise ConfigError(
      f'the checkpoint was trained on other images or labels (fingerprint {position.data}) than '
      f'those read now ({fingerprint}); restore the data'
    )
  weights = jax.tree.map(lambda *x: np.concatenate(x), *groups)
  lane_params = LaneParams(0.0, 1, jnp.int32(0))
  like = jax.eval_shape(lambda: lanes.init(study.spec, lane_params, study.image_shape))
  wanted = _shapes({'params': like.params, 'batch_stats': like.batch_stats}, ())
  if wanted != _shapes(weights, (len(study.plan.lanes),), drop=1):
    raise ConfigError('the checkpoint holds another model than config.json describes')
  # An interruption may leave groups at different positions, so every lane has its own.
  pairs = zip(study.plan.groups, position.ticks, strict=True)
  out = [one.lane for one in position.diverged]
  out += [one.lane for one in position.given_up if one.examples < position.examples]
  lost = np.isin(np.arange(len(study.plan.lanes)), out)
  weights = jax.tree.map(lambda x: _without(x, lost), weights)
  seen = [(lane.lane, ticks * g.micro_batch) for g, ticks in pairs for lane in g.lanes]
  given_up = dict(position.given_up)
  return weights, [given_up.get(lane, examples) for lane, examples in seen]


def _without(values: Float[np.ndarray, ' lane *shape'], lost: Bool[np.ndarray, ' lane']) -> Any:
  """Weights but for those of lanes that were left: where one diverged, or before its end."""
  return np.where(lost.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values).astype(values.dtype)


def _shapes(tree: PyTree, leading: Sequence[int], drop: int = 0) -> dict[str, Any]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path): x.shape[drop:]
    if x.shape[:drop] == tuple(leading)
    else f'{x.shape} of {leading} lanes'
    for path, x in leaves
  }
