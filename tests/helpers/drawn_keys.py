"""Keys of drawn studies, and what was measured beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bsjax.models import MODELS
from bsjax.optim.entries import OPTIMIZERS
from helpers.draw import Draw
from helpers.kept_costs import native_cost
from helpers.kept_records import Rows

STAGE_NAMES = 'head', 'body', 'tail'
# Of hyperparameters that an optimizer takes, values that are not usual.
VALUES: dict[str, tuple[float, ...]] = {
  **{'momentum': (0.0, 0.5, 0.95), 'b1': (0.8, 0.95), 'b2': (0.95, 0.99), 'eps': (1e-6, 1e-3)},
  **{'rmsprop_decay': (0.99,), 'rmsprop_momentum': (0.5,), 'trust_coefficient': (0.01,)},
  'weight_decay': (1e-4, 0.05),
}
DATA = (
  {'data.source': 'tfds', 'data.name': 'cifar10'},
  {'data.source': 'tfds', 'data.name': 'mnist', 'data.validation': 'test'},
  {'data.source': 'npz', 'data.path': 'sets/leaves.npz'},
  {'data.source': 'image_folder', 'data.path': 'sets/cactus', 'data.label_column': 'has_cactus'},
  {'data.source': 'image_folder', 'data.path': 'sets/moss', 'data.label_csv': 'labels.csv'},
)
# Each with what it may be instead of the default.
OTHERS: dict[str, tuple[Any, ...]] = {
  **{'seed': (3, 12345), 'model.width': (16, 48), 'model.depth': (0, 1, 3)},
  **{'model.small_stride': (2, 4), 'model.dtype': ('bfloat16', 'tf32')},
  **{'data.crop': (2, 4), 'data.flip': (True,), 'data.validation_share': (0.1, 0.125)},
  **{'data.train_examples': (4000,), 'data.max_per_class': (500,)},
  **{'data.sampler': ('inverse_frequency', 'effective_number'), 'data.sampler_beta': (0.99,)},
  **{'data.imbalance_factor': (10.0, 66.0), 'optimizer.decay_all': (True,)},
  **{'optimizer.nesterov': (True,), 'schedule.name': ('cosine', 'step')},
  **{'schedule.warmup_epochs': (0.5, 2.0), 'schedule.factor': (0.2,)},
  **{'schedule.boundaries': ((0.3,), (0.25, 0.5, 0.75)), 'scaling.rule': ('sqrt', 'linear')},
  **{'scaling.base_batch_size': (32, 128), 'noise_scale.online': (True,)},
  **{'noise_scale.every': (1, 1000), 'noise_scale.probe_every': (0, 64)},
  **{'noise_scale.exact_examples': (64, 10_000), 'noise_scale.curvature_blocks': (4,)},
  **{'evaluation.batch_size': (256, 2000), 'evaluation.positions': ('even',)},
  **{'evaluation.subset': (512,), 'averaging.half_life': (0.5, 2000.0)},
  **{'transfer.workdir': ('runs/earlier',), 'transfer.lane': (4,)},
}
RULES = 'keep', 'keep,half_life', 'half_life', 'keep,half_life+decay_time', 'decay_time'


def keys(draw: Draw, sizes: Sequence[int]) -> dict[str, Any]:
  """Flat keys of a config, most of them the default."""
  found: dict[str, Any] = {'optimizer.name': draw.one('sgd', 'sgd', *OPTIMIZERS)}
  taken = OPTIMIZERS[found['optimizer.name']].hyperparameters.values()
  for name in draw.some([*taken, 'weight_decay'], 0.4):
    found[f'optimizer.{name}'] = draw.one(*VALUES[name])
  found['model.name'] = draw.one('mlp', 'cnn', *MODELS)
  found |= draw.one({}, *DATA)
  for name in draw.some([*OTHERS], 0.15):
    found[name] = draw.one(*OTHERS[name])
  if draw.chance(0.2):
    found['micro_batch'] = draw.one('batch', math.gcd(*sizes))
  if draw.chance(0.1):
    block = math.lcm(*sizes)
    found['evaluation.at'] = tuple(x // block * block for x in (9000, 20_000, 31_000))
  return found


def axes(draw: Draw, optimizer: str) -> tuple[dict[str, tuple[float, ...]], str]:
  """Axes that an optimizer takes, and rules of hyperparameters; one of both has several."""
  taken = [*OPTIMIZERS[optimizer].hyperparameters.values(), 'weight_decay']
  name = draw.one(*(key for key in dict.fromkeys(taken) if key not in ('eps', 'trust_coefficient')))
  chosen = {name: draw.one((0.5, 0.9), (0.0, 0.1), (0.0, 0.5, 0.9))}
  rules = draw.one('keep', 'keep', *RULES) if {*taken} & {'momentum', 'b1', 'b2'} else 'keep'
  return ({} if rules.count(',') and draw.chance(0.5) else chosen), rules


def stage(draw: Draw, index: int) -> dict[str, Any]:
  """The keys of a stage; the first one begins with the batch sizes of the config."""
  found: dict[str, Any] = {'epochs': draw.one(1.0, 2.0, 3.0)}
  if draw.chance(0.2):
    found['examples'] = 12_800
  if index == 0:
    found['batch_size'] = draw.one(('keep',), ('keep',), ('cabs',))
  else:
    found['batch_size'] = draw.one(
      ('keep',), ('multiply:2',), ('keep', 'multiply:2'), ('grow:3', 'set:16'), ('noise:0.3',)
    )
  if index and draw.chance(0.3):
    found |= {'smallest_batch_size': 8, 'largest_batch_size': 64}
  others: dict[str, tuple[Any, ...]] = {
    **{'trainable': (('Dense_1/*',), ('*/kernel', '*/bias')), 'learning_rate_factor': (0.1, 2.0)},
    **{'frozen_batch_norm': ('batch',), 'reset_optimizer': (True,), 'image_size': (4, 32)},
    **{'data_share': (0.5,), 'crop': (0, 3), 'flip': (0, 1)},
  }
  return found | {name: draw.one(*others[name]) for name in draw.some([*others], 0.2)}


def lent(draw: Draw) -> dict[str, Any]:
  """Weights that all runs begin with, of a study that is trained first; mostly none."""
  if not draw.chance(0.1):
    return {}
  changed = {'epochs': 1.0, 'trials': 1, 'data': {'train_examples': 512}}
  return {
    'pretrain': draw.one(changed, {'learning_rates': [0.1]}, {'checkpoint': {'seconds': 1.0}})
  }


def cost(draw: Draw, sizes: Sequence[int], of_stages: Sequence[str]) -> dict[str, Any]:
  """What the batch sizes cost run alone; the largest may not fit, and some were not run."""
  plain = native_cost()
  whole, _, too_large = plain['rows']
  rows: Rows = []
  for name in of_stages:
    for size in draw.some(sizes, 0.9):
      lost = size == sizes[-1] and draw.chance(0.5)
      row = dict(too_large if lost else whole) | {'stage': name, 'batch_size': size}
      if not lost:
        row |= _timed(draw, size)
      rows.append(row)
  return plain | {'rows': rows or plain['rows'][:1]}


def _timed(draw: Draw, size: int) -> dict[str, Any]:
  median = 1e5 * size / (40 + size) * draw.random.uniform(0.9, 1.1)
  spread = draw.one(0.01, 0.2)
  rates = {'median': median, 'low': (1 - spread) * median, 'high': (1 + spread) * median, 'n': 5}
  seconds = {'median': 8192 / median, 'low': 8192 / rates['high'], 'high': 8192 / rates['low']}
  whole = {key: 10 * value for key, value in seconds.items()}
  return {'examples_per_second': rates, 'seconds_per_epoch': seconds, 'seconds': whole}
