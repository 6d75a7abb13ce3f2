"""Plans of configs; `tests/report/test_kept.py` keeps their lanes and what a dry run says."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.plan import arms, halving, plan, rounds, stages, table
from bsjax.plan.lanes import StudyPlan
from bsjax.train.decide import foreseen
from bsjax.writers.lanes import changed
from helpers.kept import Kept, text
from helpers.small import small_config

CONFIGS = sorted((Path(__file__).parents[2] / 'configs').glob('*.py'))
# Training examples of each, as many as its data would leave.
EXAMPLES = {'cactus': 14_000, 'char_lm': 6_540, 'cifar': 45_000, 'critical_batch_size': 10_000}
EXAMPLES |= {'fashion_mnist': 48_000, 'final_phase': 6_400, 'flat_minima': 2_000, 'mnist': 48_000}
EXAMPLES |= {'light_check': 10_000, 'long_tail': 11_163, 'noise_scale': 10_000}
DIGITS = 1_438


def of_file(path: Path) -> Kept:
  """The plan of a config file, of each of its arms where it has some, and the keys it changes."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config()
  keys = {name: str(value) for name, value in changed(config).items()}
  if 'data.path' in keys:
    keys['data.path'] = Path(keys['data.path']).name  # in a folder of the machine
  made = planned(config, EXAMPLES.get(path.stem, DIGITS))
  return made._replace(numbers=made.numbers | {'keys': keys})


def planned(config: ConfigDict, train_examples: int) -> Kept:
  """Lanes and stages as numbers, and the tables of a dry run as words."""
  numbers: dict[str, Any] = {}
  words: dict[str, str] = {}
  for name, each in (arms.configs(config) or {'': config}).items():
    made = plan.make_plan(each, train_examples)
    numbers[name] = _numbers(each, made)
    words[name] = text(table.table(each, made), table.stages_table(made) or '')
    if each.decide.question:
      words[name] += '\n'.join(foreseen(each, 'no such folder'))
  return Kept(numbers, words)


def _numbers(config: ConfigDict, made: StudyPlan) -> dict[str, Any]:
  lanes = plan.lane_rows(made)
  parts = [
    {
      **{'start': part.start, 'end': part.end, 'origin': part.origin, 'stream': part.stream},
      **{'train': part.train_examples, 'block': part.block_examples, 'epoch': part.start_epoch},
      **{'evaluations': part.evaluations, 'further': part.further},
      'groups': [[group.micro_batch, group.block_ticks, len(group.lanes)] for group in part.groups],
      'lanes': [[*_of_lane(lane)] for lane in _first_trials(part.lanes)],
    }
    for part in made.stages
  ]
  few = _first_trials(made.lanes)
  rows = [row for row in lanes if row['lane'] in {lane.lane for lane in few}]
  columns = [[key, *_shortened(row[key] for row in rows)] for key in rows[0]]
  return {'lanes': len(lanes), 'columns': columns, 'stages': parts,
          'rungs': halving.rungs(config, made)}  # fmt: skip


def _of_lane(lane: Any) -> Iterator[Any]:
  yield from (lane.lane, lane.batch_size, lane.learning_rate, lane.accumulation)
  yield from itertools.chain(*lane.hyperparameters)


def _first_trials(lanes: list[Any]) -> list[Any]:
  """One trial of each setting, and all of the first: the others differ in their number alone."""
  first = lanes[0]
  same = first.batch_size, first.learning_rate, first.branch
  return [x for x in lanes if not x.trial or (x.batch_size, x.learning_rate, x.branch) == same]


def _shortened(values: Iterator[Any]) -> list[Any]:
  """A column as (value, how often it follows itself)."""
  return [[value, len(list(run))] for value, run in itertools.groupby(values)]


def small(**overrides: Any) -> Callable[[], Kept]:
  """The plan of a small study."""
  return lambda: planned(small_config(**overrides), 150)


def of_stages(*parts: Mapping[str, Any], **overrides: Any) -> Callable[[], Kept]:
  """That of one with stages, the names of which are their numbers."""

  def make() -> Kept:
    config = small_config(**overrides)
    for number, keys in enumerate(parts):
      stages.add(config, f's{number}', **keys)
    return planned(config, 150)

  return make


def of_rounds() -> Kept:
  return planned(rounds.extended(small_config(), [((8, 64), (0.2,), 4), ((32,), (0.1,), 7)]), 150)


GROWS = {'batch_size': ('noise:0.3', 'cabs'), 'smallest_batch_size': 8, 'largest_batch_size': 64}
SEVERAL = {'batch_size': ('keep', 'multiply:2', 'grow:3', 'set:16'), 'largest_batch_size': 64}
PLANS: dict[str, Callable[[], Kept]] = {
  **{path.stem: functools.partial(of_file, path) for path in CONFIGS},
  'whole_batches': small(micro_batch='batch', model__normalization='batch', trials=1),
  'given_positions': small(evaluation__at=(96, 192, 288), evaluation__positions='even'),
  'subset': small(evaluation__subset=64, epochs=8.0, evaluations=3, batch_sizes=(2, 4, 64)),
  'even_test': small(evaluation__positions='even', data__validation='test', evaluations=50),
  'warm_up': small(schedule__warmup_epochs=0.4, report__epochs=(0.5, 1.5), batch_sizes=(1, 64)),
  'halving': small(
    halving__rungs=(0.25, 0.5),
    halving__keep=0.4,
    learning_rates=(0.1, 0.2, 0.4, 0.8),
    epochs=9.0,
    evaluations=6,
  ),
  'axes': small(
    axes__b2=(0.9, 0.99), optimizer__name='adamw', scaling__hyperparameters='keep,half_life'
  ),
  'rules': small(scaling__rule='none,sqrt,linear', scaling__base_batch_size=16),
  'stages': of_stages({'epochs': 4.0}, {'epochs': 3.0} | SEVERAL, batch_sizes=(8, 32)),
  'following': of_stages(
    {'epochs': 2.0, 'data_share': 0.5, 'learning_rate_factor': 0.1} | GROWS,
    {'examples': 640, 'image_size': 4, 'reset_optimizer': True, 'trainable': ('Dense_1/*',)},
    batch_sizes=(16,),
  ),
  'rounds': of_rounds,
  'asked': small(
    decide__question='best_batch_size', decide__spread=0.006, decide__most_trials=12, trials=3
  ),
}
