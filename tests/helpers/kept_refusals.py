"""Configs that are wrong in one way each; `tests/report/test_kept.py` keeps what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.engine.validate import problems
from bsjax.plan import arms, plan, stages
from helpers.kept import Kept
from helpers.small import put, small_config


def wrong(**overrides: Any) -> Callable[[], ConfigDict]:
  """A config with keys of any value and type."""

  def make() -> ConfigDict:
    config = small_config()
    for name, value in overrides.items():
      put(config, name.replace('__', '.'), value)
    return config

  return make


def wrong_stage(*parts: Mapping[str, Any], **overrides: Any) -> Callable[[], ConfigDict]:
  """One whose stages are wrong, or do not go with its other keys."""

  def make() -> ConfigDict:
    config = wrong(**overrides)()
    for number, keys in enumerate(parts):
      stages.add(config, f's{number}')
      for key, value in keys.items():
        put(config, f'stages.s{number}.{key}', value)
    return config

  return make


def wrong_arm(changes: Any, **overrides: Any) -> Callable[[], ConfigDict]:
  def make() -> ConfigDict:
    config = wrong(**overrides)()
    arms.add(config, 'one', {})
    arms.add(config, 'other', changes)
    return config

  return make


STEP = {'schedule__name': 'step'}
ASK = {'decide__question': 'best_batch_size'}
REFUSED: dict[str, Callable[[], ConfigDict]] = {
  'no sizes': wrong(batch_sizes=()),
  'size 0': wrong(batch_sizes=(8, 0)),
  'size of a half': wrong(batch_sizes=(8.5, 16), micro_batch=8),
  'size twice': wrong(batch_sizes=(8, 12, 8)),
  'rate of nothing': wrong(learning_rates=(0.0,)),
  'rate infinite': wrong(learning_rates=(0.1, float('inf'))),
  'rate twice': wrong(learning_rates=(0.1, 0.1)),
  'rates a number': wrong(learning_rates=0.1),
  'no trials': wrong(trials=0),
  'trials of a half': wrong(trials=2.5),
  'too many trials': wrong(trials=10_001),
  'epochs of nothing': wrong(epochs=float('nan')),
  'no evaluations': wrong(evaluations=0),
  'seed below 0': wrong(seed=-1),
  'seed too large': wrong(seed=2**32),
  'seed a truth': wrong(seed=True),
  'micro-batch': wrong(micro_batch=5),
  'micro-batch 0': wrong(micro_batch=0),
  'micro-batch of one size': wrong(micro_batch=16, batch_sizes=(8, 16)),
  'micro-batch misspelt': wrong(micro_batch='btach'),
  'BatchNorm of one': wrong(micro_batch=1, model__normalization='batch'),
  'source': wrong(data__source='digit'),
  'no folder': wrong(data__source='image_folder', data__path='nowhere'),
  'no split': wrong(data__validation='test'),
  'training split': wrong(data__validation='train'),
  'share 1': wrong(data__validation_share=1.0),
  'imbalance below 1': wrong(data__imbalance_factor=0.5),
  'sampler': wrong(data__sampler='inverse'),
  'sampler and probe': wrong(data__sampler='inverse_frequency', noise_scale__exact_examples=64),
  'model': wrong(model__name='mpl'),
  'width': wrong(model__width=65_537),
  'normalization': wrong(model__normalization='layer'),
  'dtype': wrong(model__dtype='float16'),
  'stride': wrong(model__small_stride=3),
  'optimizer': wrong(optimizer__name='sdg'),
  'momentum 1': wrong(optimizer__momentum=1.0),
  'decay below 0': wrong(optimizer__weight_decay=-0.1),
  'schedule': wrong(schedule__name='cosin'),
  'warm-up as long': wrong(schedule__warmup_epochs=2.0),
  'boundaries beyond': wrong(**STEP, schedule__boundaries=(0.5, 1.5)),
  'boundaries equal': wrong(**STEP, schedule__boundaries=(0.5, 0.5)),
  'boundary in warm-up': wrong(**STEP, schedule__boundaries=(0.1,), schedule__warmup_epochs=1.0),
  'rule': wrong(scaling__rule='square'),
  'rule twice': wrong(scaling__rule='none,none'),
  'base 0': wrong(scaling__base_batch_size=0),
  'axis of another': wrong(axes__b1=(0.5, 0.9)),
  'axis beyond': wrong(axes__momentum=(0.5, 1.0)),
  'hyperparameter rule': wrong(scaling__hyperparameters='half'),
  'hyperparameter out of bounds': wrong(
    scaling__hyperparameters='adam_sqrt',
    scaling__base_batch_size=8,
    optimizer__name='adam',
    optimizer__b1=0.5,
  ),
  'probe of few': wrong(noise_scale__exact_examples=31),
  'blocks of few': wrong(noise_scale__exact_examples=32, noise_scale__curvature_blocks=3),
  'blocks of many': wrong(noise_scale__exact_examples=32, noise_scale__curvature_blocks=33),
  'transfer from nowhere': wrong(transfer__workdir='nowhere'),
  'transfer from a bucket': wrong(transfer__workdir='s3://bucket/study'),
  'question': wrong(decide__question='best_batch'),
  'question of one size': wrong(**ASK, batch_sizes=(8,)),
  'question of a size that lacks': wrong(decide__question='equivalent:8,12'),
  'question of one trial': wrong(**ASK, trials=1),
  'question of two sizes': wrong(decide__question='critical_batch_size', batch_sizes=(8, 16)),
  'factor 1': wrong(decide__question='best_learning_rate', decide__margin=1.0),
  'price of nothing': wrong(**ASK, decide__budget=9.0, decide__budget_unit='price'),
  'question and rules': wrong(**ASK, scaling__rule='sqrt', evaluation__subset=8),
  'question and axes': wrong(**ASK, axes__momentum=(0.5,)),
  'error of a half': wrong(**ASK, decide__error=0.5),
  'rungs go down': wrong(halving__rungs=(0.5, 0.25)),
  'rungs and question': wrong(halving__rungs=(0.5,), decide__question='best_learning_rate'),
  'rungs and rule': wrong(halving__rungs=(0.5,), scaling__rule='linear'),
  'no boxes': wrong(rounds=(((8,), (0.1,)),)),
  'boxes beyond': wrong(rounds=(((8, 64), (0.1,), 2),)),
  'positions': wrong(evaluation__at=(7,)),
  'too many lanes': wrong(trials=10_000, learning_rates=tuple(range(1, 100))),
  'too short': wrong(batch_sizes=(8, 1024)),
  'block too long': wrong(batch_sizes=(7, 64)),
  'strategy': wrong(execution__strategy='scan'),
  'no section': wrong(model=3.0),
  'unknown key': wrong(model__widht=3),
  'stage rule': wrong_stage({'batch_size': ('double',)}),
  'stage rule twice': wrong_stage({'batch_size': ('keep', 'keep')}),
  'stage to a third': wrong_stage({}, {'batch_size': ('multiply:0.3',)}),
  'stage that grows down': wrong_stage({'batch_size': ('grow:0.5',)}),
  'stage share': wrong_stage({'data_share': 1.5}),
  'stage names nothing': wrong_stage({'trainable': (3,)}),
  'stage of no epochs': wrong_stage({'epochs': 0.0}, micro_batch=8),
  'stages and rungs': wrong_stage({}, halving__rungs=(0.5,)),
  'stage bounds': wrong_stage(
    {'batch_size': ('cabs',), 'smallest_batch_size': 64, 'largest_batch_size': 16}
  ),
  'arm of a wrong value': wrong_arm({'trials': 0, 'epochs': -1.0}),
  'arm of text': wrong_arm({'epochs': 'many'}),
}


def refused() -> Kept:
  """What each wrong config is told."""
  words = {}
  for name, make in REFUSED.items():
    config = make()
    said = [f'{" ".join(one.keys)}: {one}' for one in problems(config)]
    if not said:
      try:
        plan.make_plan(config, 150)
      except ConfigError as error:
        said = [f'{" ".join(one.keys)}: {one}' for one in error.problems]
    words[name] = '\n'.join(said) or 'nothing is wrong'
  return Kept({}, words)
