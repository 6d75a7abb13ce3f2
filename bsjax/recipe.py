"""What the lanes of a group share, from a config: model, optimizer, schedule and the rest."""

from ml_collections import ConfigDict

from bsjax import models, ops, optimizer, plan
from bsjax.data import Dataset
from bsjax.lanes import Recipe
from bsjax.replicate import devices
from bsjax.strategy import STRATEGIES, Strategy, usual


def fixed_strategy(config: ConfigDict) -> Strategy:
  """Returns the strategy of the config, or if that is 'auto' the platform's usual one."""
  if config.execution.strategy != 'auto':
    return STRATEGIES[config.execution.strategy]
  return usual(devices(config.execution.devices)[0].platform)


def make_recipe(
  config: ConfigDict,
  dataset: Dataset,
  study: plan.Plan,
  group: plan.Group,
  strategy: Strategy | None = None,
) -> Recipe:
  """Returns what the lanes of a group share."""
  alone = any(lane.accumulation == 1 for lane in group.lanes)
  conv = ops.conv((strategy or fixed_strategy(config)).conv)
  return Recipe(
    model=models.create(config.model, dataset.num_classes, conv=conv),
    optimizer=optimizer.create(config.optimizer),
    schedule=optimizer.create_schedule(config.schedule, study.total_examples, study.train_examples),
    seed=config.seed,
    micro_batch=group.micro_batch,
    train_examples=study.train_examples,
    mean=dataset.mean,
    std=dataset.std,
    crop=config.data.crop,
    flip=config.data.flip,
    probe_every=config.noise_scale.probe_every if alone and config.noise_scale.online else 0,
    preconditioner=optimizer.preconditioner(config.optimizer),
    online_noise=config.noise_scale.online,
    measure_every=config.noise_scale.every,
    every_tick=all(lane.accumulation == 1 for lane in group.lanes),
  )
