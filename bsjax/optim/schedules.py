"""Schedules: the factor on peak learning rates, by examples seen."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

Schedule = Callable[[Int[Array, '']], Float[Array, '']]


def create_schedule(config: ConfigDict, total_examples: int, train_examples: int) -> Schedule:
  """Returns `config.schedule` as the factor on the peak learning rate, by examples seen.

  `total_examples` is the length of training and `train_examples` of an epoch. Durations are in
  examples, so lanes of all batch sizes go through the schedule together.
  """
  warmup = round(config.warmup_epochs * train_examples)
  main = SCHEDULES[config.name](config, total_examples, warmup)
  if not warmup:
    return main
  return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warmup), main], [warmup])


def _step(config: ConfigDict, total: int, warmup: int) -> Schedule:
  drops = {round(share * total) - warmup: config.factor for share in config.boundaries}
  return optax.piecewise_constant_schedule(1.0, drops)


# A schedule is one function: (config, total examples, warm-up examples) -> factor of examples seen.
SCHEDULES = {
  'constant': lambda config, total, warmup: lambda examples: jnp.ones(()),
  'cosine': lambda config, total, warmup: optax.cosine_decay_schedule(1.0, total - warmup),
  'step': _step,
}
