"""All that can be wrong with a configuration, found in one pass before anything is loaded.

Types and bounds of single keys come from their tables (config/keys.py, config/stage_keys.py), names
from the tables of what they name; what concerns several keys is asked of the module that knows it.
"""

import math
from collections.abc import Callable, Collection
from pathlib import Path

from ml_collections import ConfigDict

from bsjax import data, models, writers
from bsjax.config import bounds, decide_keys, halving_keys
from bsjax.config.errors import ConfigError, Problem, unknown
from bsjax.config.keys import BY_NAME, KEYS
from bsjax.config.own import OWN
from bsjax.data import sampling
from bsjax.engine import device_axis, device_data, own, strategies
from bsjax.models import arithmetic, normalization
from bsjax.optim import entries, schedules
from bsjax.plan import arms, hyperparameters, rounds, scaling_rules, stages
from bsjax.storage import urls

FEWEST_EXACT = 32  # examples of which the spread of single gradients means something
FEWEST_BLOCKS = 4  # one Hessian, two gradients, and one to leave out
FREE = 'stages', 'arms', OWN  # sections that hold what people name

NAMES: dict[str, Collection[str]] = {
  'data.sampler': sampling.SAMPLERS,
  'model.name': (*models.MODELS, OWN),
  'model.normalization': normalization.KINDS,
  'model.dtype': arithmetic.ARITHMETIC,
  'optimizer.name': (*entries.OPTIMIZERS, OWN),
  'schedule.name': entries.SCHEDULES,
  'execution.replicate': device_axis.BACKENDS,
  'execution.strategy': ('auto', *strategies.STRATEGIES),
}


def validate(config: ConfigDict) -> None:
  """Raises ConfigError with all problems at once, each with its value, bound and remedy."""
  if found := problems(config):
    raise ConfigError.of(found, f'{len(found)} problem(s) in the configuration:')


def problems(config: ConfigDict) -> list[Problem]:
  """Returns a sentence for everything that is wrong, also with arms and a lending study."""
  if misshapen := bounds.misshapen(config, KEYS, FREE):
    return misshapen
  if bounds.wrong(config, [BY_NAME['arms.order']]):
    return _sentences(config)
  whole = decide_keys.of_arms(config) if config.arms.order else _sentences(config)
  return whole + arms.refused(config, problems)


def _sentences(config: ConfigDict) -> list[Problem]:
  """What is wrong with each key, and then with several of those that are right by themselves."""
  wrong = bounds.wrong(config, KEYS)
  for key, known in NAMES.items():
    if key not in wrong and bounds.at(config, key) not in known:
      wrong[key] = unknown(key, bounds.at(config, key), known)
  sentences = list(wrong.values())
  sentences += bounds.repeated(config, [key for key in KEYS if key.name not in wrong])
  for check, keys in CONFLICTS:
    if not wrong.keys() & set(keys):
      sentences += check(config)
  return sentences


def _micro_batch(config: ConfigDict) -> list[Problem]:
  """What is wrong with the micro-batch, a name or a divisor of all batch sizes."""
  micro, sizes = config.micro_batch, tuple(config.batch_sizes)
  if micro in ('auto', 'batch'):
    return []
  if isinstance(micro, bool) or not isinstance(micro, int):
    sentence = f"micro_batch={micro!r}: give 'auto', 'batch' or a whole number"
    return [Problem(sentence, 'micro_batch')]
  if undivided := [size for size in sizes if micro < 1 or size % micro]:
    sentence = (
      f'micro_batch={micro} does not divide the batch sizes {undivided}; '
      f'choose a divisor of {math.gcd(*sizes)}, or micro_batch=auto'
    )
    return [Problem(sentence, 'micro_batch', 'batch_sizes')]
  return []


def _exact_noise(config: ConfigDict) -> list[Problem]:
  """What the bounds of the exact noise scale's keys leave out."""
  examples, blocks = config.noise_scale.exact_examples, config.noise_scale.curvature_blocks
  if 0 < examples < FEWEST_EXACT:
    sentence = f'noise_scale.exact_examples={examples} must be 0, or at least {FEWEST_EXACT}'
    return [Problem(sentence, 'noise_scale.exact_examples')]
  if blocks and not FEWEST_BLOCKS <= blocks <= examples:
    sentence = (
      f'noise_scale.curvature_blocks={blocks} must be 0, or at least {FEWEST_BLOCKS} and at most '
      f'noise_scale.exact_examples={examples}'
    )
    return [Problem(sentence, 'noise_scale.curvature_blocks', 'noise_scale.exact_examples')]
  return []


def _lender(config: ConfigDict) -> list[Problem]:
  """Whether the study that lends its weights has any."""
  workdir = config.transfer.workdir
  if not workdir or (Path(workdir).expanduser() / 'checkpoints').is_dir():
    return []
  sentence = f'transfer.workdir={workdir!r} holds no checkpoints; train that study first'
  if urls.is_url(workdir):
    sentence = (
      f'transfer.workdir={workdir!r} is in a bucket; give the folder of this machine that '
      f'bsjax.load({workdir!r}).workdir names'
    )
  return [Problem(sentence, 'transfer.workdir')]


# A check, and the keys that it reads: where one of them is wrong by itself, it has nothing to add.
CONFLICTS: tuple[tuple[Callable[[ConfigDict], list[Problem]], tuple[str, ...]], ...] = (
  (_micro_batch, ('batch_sizes',)),
  (rounds.conflicts, ('batch_sizes', 'learning_rates', 'trials')),
  (_exact_noise, ('noise_scale.exact_examples', 'noise_scale.curvature_blocks')),
  (
    lambda config: data.source_conflicts(config.data),
    (
      *('data.source', 'data.name', 'data.path', 'data.label_csv', 'data.label_column'),
      'data.validation',
    ),
  ),
  (sampling.probe_conflicts, ('data.sampler', 'noise_scale.exact_examples')),
  (
    schedules.conflicts,
    ('schedule.name', 'schedule.warmup_epochs', 'schedule.boundaries', 'epochs'),
  ),
  (lambda config: scaling_rules.conflicts(config.scaling.rule), ('scaling.rule',)),
  (
    hyperparameters.conflicts,
    (
      *('optimizer.name', 'scaling.rule', 'scaling.base_batch_size', 'stages.order'),
      'scaling.hyperparameters',
      *('batch_sizes', *(key.name for key in KEYS if key.name.startswith('axes.'))),
    ),
  ),
  (stages.conflicts, ('stages.order', 'noise_scale.exact_examples', 'data.crop', 'data.flip')),
  (
    decide_keys.problems,
    (
      *('decide.question', 'decide.margin', 'decide.most_trials', 'decide.budget_unit', 'trials'),
      *('decide.price_per_hour', 'batch_sizes', 'scaling.rule', 'stages.order'),
      'evaluation.subset',
    ),
  ),
  (
    halving_keys.problems,
    ('halving.rungs', 'scaling.rule', 'stages.order', 'decide.question'),
  ),
  (_lender, ('transfer.workdir',)),
  (own.conflicts, ('model.name', 'data.source', 'optimizer.name', 'stages.order')),
  (writers.problems, ('writers',)),
  (lambda config: device_axis.count_conflicts(config.execution.devices), ('execution.devices',)),
  (
    device_data.share_conflicts,
    ('execution.devices', 'execution.devices_per_lane', 'model.normalization'),
  ),
)
