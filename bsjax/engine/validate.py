"""Every configuration key, once, with its meaning and unit, and the check of all of them."""

import math
from pathlib import Path

from ml_collections import ConfigDict

from bsjax import data, models
from bsjax.config.errors import ConfigError
from bsjax.data import sampler
from bsjax.engine import device_axis
from bsjax.optim import optimizers
from bsjax.plan import arms, stages

FEWEST_EXACT = 32  # examples of which the spread of single gradients means something
FEWEST_BLOCKS = 4  # one Hessian, two gradients, and one to leave out


def validate(config: ConfigDict) -> None:
  """Raises ConfigError with all problems at once, each with its value, bound and remedy."""
  if config.arms.order:
    return _raise(arms.problems(config, validate))
  problems = [*_study_problems(config), *_range_problems(config)]
  problems += _noise_problems(config.noise_scale) + _report_problems(config.report)
  problems += native_cost_problems(config.native_cost)
  problems += data.problems(config.data) + models.problems(config.model)
  problems += sampler.problems(config)
  problems += optimizers.problems(config) + device_axis.problems(config.execution)
  problems += stages.problems(config) + _transfer_problems(config.transfer)
  _raise(problems + arms.problems(config, validate))


def _raise(problems: list[str]) -> None:
  if problems:
    lines = '\n'.join(f'  - {problem}' for problem in problems)
    raise ConfigError(f'{len(problems)} problem(s) in the configuration:\n{lines}')


def _transfer_problems(config: ConfigDict) -> list[str]:
  found = []
  if config.workdir and not (Path(config.workdir) / 'checkpoints').is_dir():
    found.append(
      f'transfer.workdir={config.workdir!r} holds no checkpoints; train that study first'
    )
  if config.lane < -1:
    found.append(f'transfer.lane={config.lane} must be a lane of that study, or -1 for its best')
  return found


def _study_problems(config: ConfigDict) -> list[str]:
  problems = []
  sizes, rates = tuple(config.batch_sizes), tuple(config.learning_rates)
  whole = all(isinstance(b, int) for b in sizes)
  if not sizes or not whole or min(sizes) < 1:
    problems.append(f'batch_sizes={sizes}: give one or more whole numbers, each at least 1')
  if len(set(sizes)) < len(sizes):
    problems.append(f'batch_sizes={sizes} names a batch size twice; use trials for repetitions')
  if not rates or any(not _is_number(rate) or not 0 < rate < math.inf for rate in rates):
    problems.append(f'learning_rates={rates}: give one or more finite numbers above 0')
  if len(set(rates)) < len(rates):
    problems.append(f'learning_rates={rates} names one twice; use trials for repetitions')
  micro = config.micro_batch
  if isinstance(micro, bool) or not (micro in ('auto', 'batch') or isinstance(micro, int)):
    problems.append(f"micro_batch={micro!r}: give 'auto', 'batch' or a whole number")
  elif isinstance(micro, int) and whole and sizes:
    odd = [b for b in sizes if micro < 1 or b % micro]
    if odd:
      problems.append(
        f'micro_batch={micro} does not divide the batch sizes {odd}; '
        f'choose a divisor of {math.gcd(*sizes)}, or micro_batch=auto'
      )
  return problems


def _noise_problems(config: ConfigDict) -> list[str]:
  """What the ranges of the noise scale's keys leave out."""
  examples, blocks = config.exact_examples, config.curvature_blocks
  if 0 < examples < FEWEST_EXACT:
    return [f'noise_scale.exact_examples={examples} must be 0, or at least {FEWEST_EXACT}']
  if blocks and not FEWEST_BLOCKS <= blocks <= examples:
    return [
      f'noise_scale.curvature_blocks={blocks} must be 0, or at least {FEWEST_BLOCKS} and at most '
      f'noise_scale.exact_examples={examples}'
    ]
  return []


def _report_problems(config: ConfigDict) -> list[str]:
  """Epochs that no study has."""
  odd = [epoch for epoch in config.epochs if not _is_number(epoch) or not 0 < epoch < math.inf]
  return [f'report.epochs={odd}: give epochs above 0, or () for the ends of stages'] if odd else []


def _range_problems(config: ConfigDict) -> list[str]:
  bounds = {  # value, lowest allowed, whether the bound itself is allowed
    'seed': (config.seed, 0, True),
    'trials': (config.trials, 1, True),
    'epochs': (config.epochs, 0, False),
    'evaluations': (config.evaluations, 1, True),
    'noise_scale.every': (config.noise_scale.every, 1, True),
    'noise_scale.probe_every': (config.noise_scale.probe_every, 0, True),
    'noise_scale.exact_examples': (config.noise_scale.exact_examples, 0, True),
    'noise_scale.curvature_blocks': (config.noise_scale.curvature_blocks, 0, True),
    'evaluation.batch_size': (config.evaluation.batch_size, 1, True),
    'checkpoint.seconds': (config.checkpoint.seconds, 0, True),
  }
  problems = []
  for key, (value, low, inclusive) in bounds.items():
    if not (value >= low if inclusive else value > low) or not math.isfinite(value):
      word = 'at least' if inclusive else 'above'
      problems.append(f'{key}={value} must be finite and {word} {low}')
  return problems


def _is_number(value: object) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


FEWEST_REPEATS = 5  # of which a median and a range mean something


def native_cost_problems(config: ConfigDict) -> list[str]:
  """Lists what is wrong with `config.native_cost`: each with its value, bound and remedy."""
  found = []
  sizes, repeats = tuple(config.batch_sizes), config.repeats
  if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
    found.append(
      f'native_cost.batch_sizes={sizes}: give whole numbers, each at least 1, or () for those of '
      'the study'
    )
  elif len(set(sizes)) < len(sizes):
    found.append(f'native_cost.batch_sizes={sizes} names a batch size twice; give each once')
  if repeats < FEWEST_REPEATS:
    found.append(f'native_cost.repeats={repeats} must be at least {FEWEST_REPEATS}')
  if not 0 <= config.memory < math.inf:
    found.append(
      f'native_cost.memory={config.memory} must be finite and at least 0 (GiB); 0 is what the '
      'device reports'
    )
  return found
