"""Schedules: the factor on peak learning rates, by examples seen."""

import itertools
from collections.abc import Callable

import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from bsjax.config.errors import Problem
from bsjax.optim.entries import SCHEDULES

Schedule = Callable[[Int[Array, '']], Float[Array, '']]


def create_schedule(config: ConfigDict, total_examples: int, train_examples: int) -> Schedule:
  """Returns `config.schedule` as the factor on the peak learning rate, by examples seen.

  `total_examples` is the length of training and `train_examples` of an epoch. Durations are in
  examples, so lanes of all batch sizes go through the schedule together.
  """
  warmup = round(config.warmup_epochs * train_examples)
  main = SCHEDULES[config.name].make(config, total_examples, warmup)
  if not warmup:
    return main
  return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warmup), main], [warmup])


def conflicts(config: ConfigDict) -> list[Problem]:
  """Lists what of a config's schedule does not go with its length."""
  schedule, shares = config.schedule, tuple(config.schedule.boundaries)
  ends = schedule.warmup_epochs / config.epochs
  if ends >= 1:
    sentence = (
      f'schedule.warmup_epochs={schedule.warmup_epochs} must be at least 0 and below '
      f'epochs={config.epochs}'
    )
    return [Problem(sentence, 'schedule.warmup_epochs', 'epochs')]
  rising = all(a < b for a, b in itertools.pairwise((ends, *shares, 1.0)))
  if schedule.name == 'step' and not rising:
    sentence = (
      f'schedule.boundaries={shares} must be rising shares of training, above {ends:.3g} (0, or '
      'the end of the warm-up) and below 1'
    )
    return [Problem(sentence, 'schedule.boundaries')]
  return []
