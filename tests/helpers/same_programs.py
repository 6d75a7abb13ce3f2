"""Programs that studies of one module share, so that a study run again is not traced again."""

import contextlib

import numpy as np
from jax._src import compiler

from bsjax.engine import programs, stage_lanes
from bsjax.engine.own import CONFIGS


@contextlib.contextmanager
def shared(monkeypatch):
  """Within it, `stage_lanes.create` builds what was built before only once.

  Whatever a spec and its programs are made of is part of the key: the config, what they read of the
  dataset and of the plan, the strategy, the devices, and the tick, which tests replace. Parts from
  outside a config have no key, and are built anew.
  """
  specs, keys, built = {}, {}, {}
  lane_spec, build = stage_lanes.lane_spec, programs.build

  def one_spec(config, dataset, study, group, strategy, own):
    key = _spec_key(config, dataset, study, group, strategy)
    if own is not CONFIGS:
      return lane_spec(config, dataset, study, group, strategy, own)
    if key not in specs:
      specs[key] = lane_spec(config, dataset, study, group, strategy, own)
      keys[id(specs[key])] = key
    return specs[key]

  def one_build(spec, strategy, config, image_shape, block_ticks, devices):
    if id(spec) not in keys:
      return build(spec, strategy, config, image_shape, block_ticks, devices)
    places = np.shape(devices), tuple(device.id for device in np.ravel(devices))
    options = compiler.get_compile_options  # which tests replace for cheaper programs
    key = keys[id(spec)], image_shape, block_ticks, places, programs.tick, options
    if key not in built:
      built[key] = build(spec, strategy, config, image_shape, block_ticks, devices)
    return built[key]

  monkeypatch.setattr(stage_lanes, 'lane_spec', one_spec)
  monkeypatch.setattr(programs, 'build', one_build)
  yield


def _spec_key(config, dataset, study, group, strategy):
  alone = [lane.accumulation for lane in group.lanes]
  of_study = study.stage, study.origin, study.stream, sorted(study.possible_sizes)
  lengths = study.total_examples, study.epoch_examples, study.train_examples
  of_data = dataset.num_classes, dataset.mean, dataset.std
  return repr((config.to_json(), of_study, lengths, of_data, group.micro_batch, alone, strategy))
