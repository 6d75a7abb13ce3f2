"""The lanes of all groups of a stage: made with their programs, and their states taken together."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax.data import Dataset
from bsjax.engine import programs
from bsjax.engine.device_data import study_devices
from bsjax.engine.device_lanes import Lanes
from bsjax.engine.frozen_features import Suffix
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.spec import fixed_strategy, lane_spec
from bsjax.engine.strategies import Strategy
from bsjax.plan.lanes import StagePlan


def create(
  config: ConfigDict,
  dataset: Dataset,
  study: StagePlan,
  strategies: dict[int, Strategy] | None = None,
  first: PyTree | None = None,
  features: tuple[Suffix, Dataset] | None = None,
  own: Own = CONFIGS,
) -> list[Lanes]:
  """Puts the lanes of all groups of a stage before their first tick, with their programs.

  `strategies` has one for each micro-batch; for those that it leaves out, and without it, all have
  the config's, or if that is 'auto' the platform's usual one. `first` are the states of all lanes
  `[lane, ...]` to begin with; without it they are initialized. `features` are those of frozen
  layers, to be trained on in place of the images (`frozen_features.compute`). `own` is what takes
  the place of the config's model, task and optimizer.
  """
  groups, devices = [], study_devices(config, study)
  place = {lane.lane: index for index, lane in enumerate(study.lanes)}
  for group in study.groups:
    strategy = (strategies or {}).get(group.micro_batch) or fixed_strategy(config)
    spec = lane_spec(config, dataset, study, group, strategy, own)
    shape = dataset.image_shape
    if features:
      rest, data = features
      suffix = dataclasses.replace(rest, model=spec.model)
      spec = dataclasses.replace(spec, model=suffix, mean=data.mean, std=data.std)
      shape = data.image_shape
    functions = programs.build(spec, strategy, config, shape, group.block_ticks, devices)
    states = None if first is None else take(first, [place[lane.lane] for lane in group.lanes])
    groups.append(Lanes(functions, group, study, states))
  return groups


def take(states: PyTree, places: Sequence[int]) -> PyTree:
  """Returns the states of the lanes at some places, of host arrays `[lane, ...]`."""
  return jax.tree.map(lambda x: np.asarray(x)[np.asarray(places)], states)


def all_lanes(groups: Sequence[Lanes]) -> PyTree:
  """Returns the states of all lanes as host arrays `[lane, ...]`, in order of lanes."""
  order = np.argsort([lane.lane for group in groups for lane in group.group.lanes]).tolist()
  states = [group.to_host() for group in groups]
  return take(jax.tree.map(lambda *xs: np.concatenate(xs), *states), order)
