"""A noise-scale estimator that studies measure with: from the two halves of an update.

  python docs/examples/halves.py

This module is all there is to it, beside the entry that `main` puts into `entries.ONLINE`: columns
of records.jsonl, `noise_scales` of summary.json and the figures of the report follow from it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from bsjax.noise import estimators
from bsjax.noise.entries import Online
from bsjax.noise.online import Draw

ENTRY = Online(
  'halves',
  'from the halves of updates',
  colour='#0e7490',
  marker='X',
  scale='b_halves',
  window='halves_noise',
  module='halves',  # this one
)

Sums = tuple[PyTree, PyTree]


def init(like: PyTree) -> Sums:
  """The sums of the gradients of either half, of none."""
  zero = jax.tree.map(jnp.zeros_like, like)
  return zero, zero


def micro_batch(sums: Sums, grads: PyTree, draw: Draw) -> Sums:
  """Adds a gradient to the half that it belongs to; the last one of an odd number to neither."""
  half = (draw.count - 1) // (draw.accumulation // 2)

  def add(number: int, total: PyTree) -> PyTree:
    return jax.tree.map(
      lambda sum, g: jnp.where(draw.count == 1, 0, sum) + jnp.where(half == number, g, 0),
      total,
      grads,
    )

  return add(0, sums[0]), add(1, sums[1])


def update(sums: Sums, mean_grads: PyTree, draw: Draw) -> estimators.Measurement:
  """What the difference of the halves, and their mean, say."""
  count = draw.accumulation // 2
  means = [jax.tree.map(lambda sum: sum / count, half) for half in sums]
  small_factor = (draw.factor(0, count) + draw.factor(count, count)) / 2
  return estimators.from_pair(*means, small_factor, draw.factor(0, 2 * count))


def main() -> None:
  """Trains the digits for a moment, and prints both noise scales of a batch size."""
  from pathlib import Path
  from tempfile import TemporaryDirectory

  from bsjax.config import base_config
  from bsjax.noise.entries import ONLINE
  from bsjax.storage import records
  from bsjax.train import study_run

  ONLINE['halves'] = ENTRY
  config = base_config()
  config.batch_sizes, config.learning_rates, config.trials = (32, 64), (0.05,), 2
  config.epochs, config.micro_batch, config.noise_scale.every = 4.0, 8, 1
  with TemporaryDirectory() as folder:
    study_run.run_study(config, Path(folder))
    last = records.read(Path(folder) / 'records.jsonl')[-1]
  print(f'from micro-batches {last["b_simple"]:.3g}, from halves {last["b_halves"]:.3g} examples')


if __name__ == '__main__':
  main()
