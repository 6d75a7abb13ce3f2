"""Small real studies for the tests: a few digits, a small network, seconds to compile."""

import contextlib

import numpy as np

from bsjax import data
from bsjax.config.keys import base_config
from bsjax.engine import fed_data, stage_lanes
from bsjax.engine.own import Own
from bsjax.plan import plan


def small_config(**overrides):
  """A study of 150 digits; keys are given as `data__crop=1` for `data.crop`."""
  config = base_config()
  config.batch_sizes = (8, 16, 32)
  config.learning_rates = (0.05, 0.1)
  config.trials = 2
  config.epochs = 2.0
  config.evaluations = 2
  config.data.train_examples = 150
  config.data.validation_share = 0.1
  config.model.width = 12
  config.model.depth = 1
  config.model.normalization = 'none'
  config.evaluation.batch_size = 64
  config.execution.strategy = 'map-canonical'
  config.noise_scale.every, config.noise_scale.probe_every = 1, 16
  for key, value in overrides.items():
    *path, name = key.split('__')
    node = config
    for part in path:
      node = node[part]
    node[name] = value
  return config


def put(tree, name, value):
  """Sets a key whatever the types of the config say, as a config file can."""
  *path, last = name.split('.')
  with tree.unlocked(), tree.ignore_type():
    for part in path:
      if not hasattr(tree[part], 'ignore_type'):
        return  # an earlier mutation took the section
      tree = tree[part]
    with contextlib.suppress(OverflowError):  # of the assignment, in the file's own line
      tree[last] = value


def trained(config, dataset=None, examples=None, **create):
  """Trains all groups of a study to its end, or to `examples`; returns (plan, groups, data).

  `create` are further arguments of `stage_lanes.create`, or parts of `Own`.
  """
  parts = {name: create.pop(name) for name in ('model', 'task', 'optimizer') if name in create}
  dataset = dataset or data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  on_device = fed_data.create(config, dataset, study)
  groups = stage_lanes.create(config, dataset, study, own=Own(**parts), **create)
  end = study.total_examples if examples is None else examples
  for group in groups:
    while group.position < end:
      group.advance(on_device, (end - group.position) // study.block_examples)
  return study, groups, on_device


def largest_difference(a, b):
  """The largest absolute difference between two trees of arrays."""
  import jax

  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)), initial=0)) for x, y in pairs)
