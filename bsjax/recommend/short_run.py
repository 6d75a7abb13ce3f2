"""The study that a recommendation rests on: one batch size, a part of training, noise and speed."""

from __future__ import annotations

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError

TRIALS = 5
EVALUATIONS = 8
EXACT = 1024  # examples whose single gradients are measured, where the config asks for none
LARGEST = 65_536  # batch size to time
SHARE = 0.1  # of training


def short_config(config: ConfigDict, train_examples: int, share: float = SHARE) -> ConfigDict:
  """Returns the config of the short study: the beginning of training at one of its batch sizes.

  The batch size is the one in the middle, learning rates and optimizer are kept (of axes the usual
  values), and the schedule is held at its peak. Steps of powers of two are timed, from 8 up to the
  training set. Raises ConfigError for a study of arms or stages.
  """
  if config.arms.order or config.stages.order:
    raise ConfigError('a recommendation is for one training: take out arms and stages, or give one')
  if not 0 < share <= 1:
    raise ConfigError(f'--share={share:g} must be above 0 and at most 1, a part of training')
  short = config.copy_and_resolve_references()
  sizes = sorted(config.batch_sizes)
  with short.unlocked():
    short.batch_sizes = (sizes[len(sizes) // 2],)
    short.rounds = short.evaluation.at = ()
    short.trials = max(config.trials, TRIALS)
    short.epochs = float(config.epochs * share)
    short.evaluations = EVALUATIONS
    short.evaluation.positions = 'even'  # there is no second batch size to meet
    short.schedule.name = 'constant'
    short.schedule.warmup_epochs = float(min(config.schedule.warmup_epochs, short.epochs / 2))
    short.noise_scale.exact_examples = config.noise_scale.exact_examples or EXACT
    short.noise_scale.curvature_blocks = 0
    short.axes = {name: () for name in config.axes}
    short.scaling.hyperparameters = 'keep'
    short.native_cost.measure = True
    short.native_cost.batch_sizes = config.native_cost.batch_sizes or _powers(train_examples)
  return short


def _powers(train_examples: int) -> tuple[int, ...]:
  return tuple(2**i for i in range(3, 17) if 2**i <= min(LARGEST, train_examples))
