"""The compiled functions of lanes that evaluate and probe on a set which stays on the host."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree
from ml_collections import ConfigDict

from bsjax.engine import evaluate
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.evaluate import Chunk
from bsjax.engine.lanes import LaneParams, LaneSpec, LaneState, Weights
from bsjax.engine.probe import Probe, chosen, probe_of
from bsjax.engine.vectorize import if_live, over_lanes


@dataclasses.dataclass(frozen=True)
class FedPrograms:
  """Functions of arrays `[device, seat, ...]`, compiled when they are first called."""

  # Of one batch the compiler makes other code than of a loop, so it has functions of its own.
  one: Callable  # (weights, lane_params, split) -> sums
  one_statistics: Callable  # (weights, lane_params, split) -> BatchNorm statistics
  empty: Callable  # (weights, lane_params, chunk) -> sums of no examples
  add: Callable  # ((weights, sums), lane_params, chunk) -> sums
  add_moments: Callable  # ((weights, sums), lane_params, chunk) -> sums of moments
  finite: Callable  # (weights, lane_params) -> whether parameters are
  chosen: Callable  # (trials, position) -> the examples of a probe
  probe: Callable  # (states, lane_params, those of all trials) -> Probe


def build(
  spec: LaneSpec, config: ConfigDict, replicate: Callable, probed: int, blocks: int
) -> FedPrograms:
  """Returns the functions of lanes that share a spec."""
  size = config.evaluation.batch_size

  def one(weights: Weights, _: LaneParams, split: DeviceSplit) -> evaluate.Sums:
    none = evaluate.empty_sums(spec, weights, split)
    return evaluate.sums_over(spec, weights, split, size, none)

  def one_statistics(weights: Weights, _: LaneParams, split: DeviceSplit) -> PyTree:
    return evaluate.reestimate(spec, weights, split, size)

  def empty(weights: Weights, _: LaneParams, chunk: Chunk) -> evaluate.Sums:
    return evaluate.empty_sums(spec, weights, chunk.split)

  def add(lane: tuple[Weights, PyTree], _: LaneParams, chunk: Chunk) -> evaluate.Sums:
    return evaluate.add_chunk(spec, size, *lane, chunk)

  def add_moments(lane: tuple[Weights, PyTree], _: LaneParams, chunk: Chunk) -> PyTree:
    return evaluate.add_moments(spec, size, *lane, chunk)

  def finite(weights: Weights, _: LaneParams) -> Array:
    return evaluate.finite(weights.params)

  def drawn(trials: Int[Array, ' trial'], position: Int[Array, '']) -> Array:
    return jax.vmap(lambda trial: chosen(spec, probed, trial, position))(trials)

  def probe(state: LaneState, lane_params: LaneParams, examples: DeviceSplit) -> Probe:
    place = lane_params.trial * probed + jnp.arange(probed)
    return probe_of(spec, probed, blocks, state, examples, place)

  def of_lanes(function: Callable, *shared: Any) -> Callable:
    return replicate(over_lanes(if_live(function), 'map'), in_axes=(0, 0, *shared))

  return FedPrograms(
    one=of_lanes(one, 0),
    one_statistics=of_lanes(one_statistics, 0),
    empty=of_lanes(empty, 0),
    add=of_lanes(add, 0),
    add_moments=of_lanes(add_moments, 0),
    finite=of_lanes(finite),
    chosen=replicate(drawn, in_axes=(0, None)),
    probe=of_lanes(probe, 0),
  )
