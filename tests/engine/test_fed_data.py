"""A set fed from the host equals one on the device, bitwise: training, evaluations and probes.

Programs are optimized here as a user's are.
"""

import jax
import numpy as np
import pytest
from helpers.small import small_config, trained

from bsjax import data
from bsjax.autotune import timer
from bsjax.config.errors import ConfigError
from bsjax.engine import device_lanes, fed_data, processes
from bsjax.plan import plan

pytestmark = pytest.mark.optimized
CASES = {
  # Windows of one and of two blocks straddle epochs of 150; evaluations take more chunks than one.
  'dense': {'noise_scale__exact_examples': 40},
  # Each group has windows of its own; the last batch of a chunk is shorter than the others.
  'batch_norm': {
    'model__normalization': 'batch',
    'micro_batch': 'batch',
    'batch_sizes': (8, 32),
    'learning_rates': (0.1,),
    'execution__replicate': 'shard_map',
    'execution__strategy': 'vmap-native',
    'data__sampler': 'inverse_frequency',
  },
}


def mapped(dataset, folder):
  """The same data set from files that are mapped into memory."""
  splits = {}
  for name in ('train', 'validation'):
    split = getattr(dataset, name)
    for part in ('images', 'labels'):
      np.save(folder / f'{name}_{part}.npy', getattr(split, part))
    arrays = [
      np.load(folder / f'{name}_{part}.npy', mmap_mode='r') for part in ('images', 'labels')
    ]
    splits[name] = data.Split(*arrays)
  return data.Dataset(
    dataset.name, dataset.class_names, mean=dataset.mean, std=dataset.std, **splits
  )


def measured(config, dataset):
  """States, evaluations and probes half-way and at the end of all groups, as one tree."""
  study, groups, on_device = trained(config, dataset, examples=160)
  half = [group.evaluate(on_device)() for group in groups]
  for group in groups:
    while group.position < study.total_examples:
      group.advance(on_device, (study.total_examples - group.position) // study.block_examples)
  snapshots = [*half, *(group.evaluate(on_device)() for group in groups)]
  found = [(x.evaluation, x.probe, x.noise, x.updates) for x in snapshots]
  return found, [group.to_host() for group in groups], on_device


@pytest.mark.parametrize('case', CASES)
def test_fed_from_the_host_is_bitwise_as_on_the_device(case, tmp_path, monkeypatch):
  config = small_config(**CASES[case], evaluation__batch_size=32)
  dataset = mapped(data.load(config.data, config.seed), tmp_path)
  *there, _ = measured(config, dataset)
  config.execution.data = 'host'
  monkeypatch.setattr(fed_data, 'WINDOW_BYTES', 2 * 70 * (64 + 4))  # two trials, two blocks
  *here, fed = measured(config, dataset)
  assert isinstance(fed, fed_data.FedData)
  assert jax.tree.structure(there) == jax.tree.structure(here)
  leaves = zip(jax.tree.leaves_with_path(there), jax.tree.leaves_with_path(here), strict=True)
  assert not [path for (path, a), (_, b) in leaves if not np.array_equal(a, b, equal_nan=True)]


def test_a_set_is_fed_where_the_device_lacks_the_room_for_it(monkeypatch):
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first

  def is_fed():
    return isinstance(fed_data.create(config, dataset, study), fed_data.FedData)

  assert not is_fed()
  small = int(1.5 * len(dataset.train) * 68)  # of which a set may take a half
  with monkeypatch.context() as patch:  # what one process has decides for all
    patch.setattr(processes, 'exchange', lambda value: [value, small])
    assert is_fed()
  config.execution.memory = small / 2**30
  assert is_fed()
  config.execution.data = 'device'
  assert not is_fed()


def test_what_does_not_fit_a_window_is_refused(monkeypatch):
  config = small_config(noise_scale__exact_examples=140, execution__data='host')
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  (sentence,) = fed_data.create(config, dataset, study).said()
  size = 2 * (288 + 8) * 68 / 2**20  # of two trials, and a micro-batch ahead
  assert sentence == (
    'The data stay on the host and are fed to the devices, 288 examples of each trial at a time '
    f'({size:.1f} MiB, and as much ahead).'
  )
  for enough in (2 * 140 * 68, 2 * 139 * 68 + 136):
    monkeypatch.setattr(fed_data, 'WINDOW_BYTES', enough)
    fed_data.create(config, dataset, study)
    config.execution.memory = 1e-4  # of which a window has a twentieth
    fed_data.create(config, dataset, study)
  config.execution.memory = 0.0
  monkeypatch.setattr(fed_data, 'WINDOW_BYTES', 2 * 139 * 68)
  with pytest.raises(ConfigError, match='exact_examples=140'):
    fed_data.create(config, dataset, study)


def test_a_tick_that_is_timed_is_trained_also_where_a_window_ends():
  """Blocks that are timed are short, and need not divide those of a study, where windows end."""

  class Run(device_lanes.Lanes):
    def __init__(self):
      self.left, self.advanced = 3, ()

    def advance(self, on_device, blocks):
      done = min(blocks, self.left)
      self.left, self.advanced = self.left - done, (*self.advanced, done)
      return done

    def place(self, ticks, rates_before=None):
      self.left = 3

    def wait(self):
      pass

  run, on_device = Run(), object.__new__(fed_data.FedData)
  assert all(timer._timed(run, on_device, 1) >= 0 for _ in range(4))
  assert run.advanced == (1, 1, 1, 0, 1)


def test_how_much_of_a_device_a_set_and_its_windows_take(monkeypatch):
  """Two trials; an example is 64 bytes and its label 4; blocks of 32 examples, 288 in all."""
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  both = (len(dataset.train) + len(dataset.validation)) * 68
  assert not fed_data.is_fed(config, dataset, 2 * both)  # it may take a half
  assert fed_data.is_fed(config, dataset, 2 * both - 1)
  config.execution.memory = 4.0
  assert fed_data.budget(config, 1) == min(2**28, 4 * 2**30 // 20)
  config.execution.memory = 0.0
  assert fed_data.budget(config, 10**6) == 50_000
  assert fed_data.budget(config, 10**12) == fed_data.WINDOW_BYTES == 2**28

  def length(blocks):
    return fed_data.span(config, dataset, study, 20 * int(blocks * 32 * 2 * 68) + 20)

  for blocks, found in ((0.5, 1), (1, 1), (1.99, 1), (2, 2), (8, 8), (9, 9), (10, 9)):
    assert length(blocks) == (32 * found, 32 * found + 8), blocks
