"""What the lanes of a group share, from a config: model, task, optimizer, schedule and the rest."""

from typing import Any

import jax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from bsjax import models
from bsjax.config.errors import ConfigError
from bsjax.data import Dataset, sampler
from bsjax.engine.device_axis import devices
from bsjax.engine.lanes import LaneSpec, blank
from bsjax.engine.own import CONFIGS, Own, refuse_without
from bsjax.engine.strategies import STRATEGIES, Strategy, kind, usual
from bsjax.models import convolution
from bsjax.optim import freezing, optimizers, preconditioners, schedules
from bsjax.plan import hyperparameters
from bsjax.plan.lanes import Group, StagePlan
from bsjax.plan.stages import RUNNING


def fixed_strategy(config: ConfigDict) -> Strategy:
  """Returns the strategy of the config, or if that is 'auto' the usual one of the devices."""
  if config.execution.strategy != 'auto':
    return STRATEGIES[config.execution.strategy]
  return usual(kind(devices(config.execution.devices)[0]))


def lane_spec(
  config: ConfigDict,
  dataset: Dataset,
  study: StagePlan,
  group: Group,
  strategy: Strategy | None = None,
  own: Own = CONFIGS,
) -> LaneSpec:
  """Returns what the lanes of a group share in the stage of a plan.

  `own` is what takes the place of the config's model, task and optimizer. Raises ConfigError where
  the config names such a part and there is none.
  """
  refuse_without(config, own)
  # Those of the whole study's group: a share of its lanes runs the program of all.
  sizes = {size for size, micro in study.micro_batches if micro == group.micro_batch}
  if config.stages.order:  # which may lead there
    sizes = {*study.possible_sizes}
  alone = group.micro_batch in sizes
  model = own.model
  if model is None:
    conv = convolution.conv((strategy or fixed_strategy(config)).conv)
    model = models.create(config.model, dataset.num_classes, conv=conv)
  varied = hyperparameters.varied(config)
  trainable, norms = frozen_parts(config, dataset, study, model)
  if norms and hasattr(model, 'training_outputs'):
    raise ConfigError(
      f'stages.{study.stage.name}.frozen_batch_norm={RUNNING!r} is for models of bsjax alone: a '
      'model from outside goes on updating its batch statistics',
      f'stages.{study.stage.name}.frozen_batch_norm',
    )
  if norms:
    model = model.clone(frozen_norms=norms)
  return LaneSpec(
    model=model,
    optimizer=own.optimizer.create()
    if own.optimizer
    else optimizers.create(config.optimizer, varied),
    schedule=_schedule(config, study),
    seed=config.seed,
    micro_batch=group.micro_batch,
    train_examples=study.train_examples,
    mean=dataset.mean,
    std=dataset.std,
    crop=study.stage.crop,
    flip=study.stage.flip,
    probe_every=config.noise_scale.probe_every if alone and config.noise_scale.online else 0,
    preconditioner=None
    if own.optimizer
    else preconditioners.preconditioner(config.optimizer, varied),
    online_noise=config.noise_scale.online,
    measure_every=config.noise_scale.every,
    with_replacement=sampler.with_replacement(config.data),
    stream=study.stream,
    trainable=trainable,
    every_tick=not config.stages.order and sizes == {group.micro_batch},
    task=own.task,
    arguments=optimizers.arguments(config.optimizer.name) if varied else {},
    average_half_life=config.averaging.half_life,
  )


def frozen_parts(
  config: ConfigDict, dataset: Dataset, study: StagePlan, model: Any
) -> tuple[frozenset[str] | None, frozenset[str]]:
  """Returns the trainable parameters of a stage, and the BatchNorm layers it keeps as they are."""
  stage = study.stage
  if not stage.trainable:
    return None, frozenset()
  variables = shapes(model, dataset)
  where = f'stages.{stage.name}.trainable'
  params, stats = variables['params'], variables.get('batch_stats', {})
  trainable = freezing.trainable_paths(params, stage.trainable, where)
  running = stage.frozen_batch_norm == RUNNING
  return trainable, freezing.frozen_norms(params, stats, trainable) if running else frozenset()


def shapes(model: Any, dataset: Dataset) -> PyTree:
  """Returns the shapes of a model's variables, computing none."""
  images = jax.eval_shape(lambda: blank(dataset.image_shape))
  return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)


def _schedule(config: ConfigDict, study: StagePlan) -> schedules.Schedule:
  """The factor on learning rates, by the examples of the stream that the stage is on."""
  whole = schedules.create_schedule(config.schedule, study.total_examples, study.epoch_examples)
  return (lambda examples: whole(study.origin + examples)) if study.origin else whole
