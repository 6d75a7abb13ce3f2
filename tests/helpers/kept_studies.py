"""Made-up studies of every kind; `tests/report/test_kept.py` keeps what is said of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.runs.histories import progress, provisional
from bsjax.config import base_config
from bsjax.config.metrics import LossEntry, MetricEntry, judging, stored
from bsjax.plan import plan as plans
from bsjax.report import study_page
from bsjax.report.stored_study import StoredStudy
from bsjax.report.summaries import summarize
from bsjax.report.text import methodology
from helpers import kept_figures, planted_scaling, rounds, staged, synthetic, world_files
from helpers.halved import halved
from helpers.kept import Kept, visible
from helpers.kept_costs import native_cost, sharpness
from helpers.world_catalogue import CRITICAL_SIZES
from helpers.worlds import TRAIN_EXAMPLES, World

Rows = list[dict[str, Any]]


class Study(NamedTuple):
  """What a workdir holds."""

  config: Mapping[str, Any]
  plan: Rows
  rows: Rows
  facts: Mapping[str, Any] | None = None
  cost: Mapping[str, Any] | None = None
  sharpness: Mapping[str, Any] | None = None


def kept_study(name: str) -> Kept:
  """summary.json of a study of STUDIES, and what its page and methodology.txt say."""
  config, plan, rows, facts, cost, sharpness = _without_nan(STUDIES[name]())
  done = progress(plan, rows)
  plan = plan if done == 1 else provisional(plan, rows)
  summary = summarize(config, plan, rows, 'four made-up cores', facts)
  stored_one = StoredStudy(config, plan, rows, summary, done, sharpness, cost)
  with kept_figures.noted(name in DRAWN) as figures:
    page, plain = study_page.render(stored_one)
  with judging(stored_one.judged):
    method = methodology.topics(config, plan, summary, cost)
  words = {'page': visible(page), 'report.md': _without_versions(plain)}
  words |= {'method': '\n'.join(method.values())}
  return Kept({'summary': summary, 'views': figures}, words)


def _without_nan(study: Study) -> Any:
  """As JSON holds it: nothing where a number is none."""

  def known(tree: Any) -> Any:
    if isinstance(tree, Mapping):
      return {key: known(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
      return [known(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree

  return [known(part) for part in study]


def _without_versions(plain: str) -> str:
  return plain.split('## Plan and versions')[0]


def grid(
  sizes: tuple[int, ...] = (8, 32, 128),
  rates: tuple[float, ...] = (0.03, 0.1, 0.3),
  trials: int = 3,
  seed: int = 0,
  keys: Mapping[str, Any] = {},
  **truth: Any,
) -> world_files.Made:
  """A study of a world; `keys` are those of its config, such as 'axes.momentum'."""
  world = World('kept', batch_sizes=sizes, learning_rates=rates, **truth)
  config = world_files.config_of(world, trials)
  config.evaluations = 12
  config.update_from_flattened_dict(dict(keys))
  planned = plans.make_plan(config, TRAIN_EXAMPLES)
  lanes, examples = plans.lane_rows(planned), np.array(planned.first.evaluations)
  runs = world_files.simulate(world, lanes, examples, (seed, 7))
  rows = list(world_files.rows(runs, lanes, examples))
  return world_files.Made(config, lanes, rows, world_files.facts(5000))


def of(made: world_files.Made, **beside: Any) -> Study:
  """The files of one that was simulated."""
  return Study(json.loads(made.config.to_json()), made.lanes, made.rows, made.facts, **beside)


def noisy() -> Study:
  """Noise scales of every kind; those of the largest batch size have no upper bound."""
  config = synthetic.config() | {'optimizer': {'name': 'adam', 'b1': 0.9, 'b2': 0.999}}
  plan = synthetic.plan((8, 32, 128), (0.05, 0.1), 3)
  random, rows = np.random.default_rng(0), []

  def window(size: int, count: int, factor: float) -> dict[str, Any]:
    trace = factor * 40 * math.exp(random.normal(0, 0.1))
    grad_sq = 2.0 + random.normal(0, 0.1) if size < 128 else random.normal(0.1, 1.5)
    spread = {'trace_var': 9.0, 'grad_sq_var': 4.0, 'cov': 0.5, 'negative': 0.25}
    moments = {'count': count, 'trace': trace, 'grad_sq': grad_sq} | spread
    return moments | {'spans': moments | {'count': count // 8}}

  def probe(size: int, factor: float) -> dict[str, Any]:
    kept_of = window(size, 100, factor)
    ratio = kept_of['trace'] / kept_of['grad_sq']
    known = {key: kept_of[key] for key in ('trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov')}
    return known | {'noise_scale': ratio if ratio > 0 else None, 'n': 100}

  for row in synthetic.realistic(plan, evaluations=6):
    size = plan[row['lane']]['batch_size']
    if row['examples']:
      row['noise'], row['noise_early'] = window(size, 80, 1.0), window(size, 4 * (size > 8), 1.2)
      row['preconditioned_noise'] = window(size, 80, 2.0)
      row['preconditioned_noise_early'] = window(size, 10, 2.5)
    if size != 32:
      kinds = {'plain': probe(size, 1.1), 'preconditioned': probe(size, 2.2)}
      row['exact'] = {'examples': 100, **kinds, 'curvature': probe(size, 0.7)}
    rows.append(row)
  return Study(config, plan, rows)


def long_tail(normalization: str = 'group', **data: Any) -> Study:
  """Accuracies by class, of which small batches are better at the rare ones."""
  plan, random = synthetic.plan((8, 16, 32), (0.1,), 4), np.random.default_rng(1)
  base = np.array([0.9, 0.85, 0.8, 0.7, 0.6, 0.4, 0.3])
  lucky, rows = random.normal(0, 0.05, (4, 7)), []
  for lane in plan:
    doublings = np.log2(lane['batch_size'] / 16)
    slopes = np.array([0.0, 0.0, 0.01, 0.0, 0.0, -0.03, -0.04])
    found = base + slopes * doublings + lucky[lane['trial']] + random.normal(0, 0.004, 7)
    fresh = found - 0.01 * doublings * np.eye(7)[[5, 6]].sum(0)
    values = {'val_class_accuracy': found.tolist(), 'val_balanced_accuracy': float(found.mean())}
    values |= {'val_accuracy': float(found.mean()), 'train_accuracy': 0.9}
    if normalization == 'batch':
      values |= {'reestimated_val_class_accuracy': fresh.tolist()}
      values |= {f'reestimated_{split}_accuracy': 0.5 for split in ('val', 'train')}
      values |= {f'reestimated_{split}_loss': 0.5 for split in ('val', 'train')}
    rows += [synthetic.record(lane, 0.0), synthetic.record(lane, 1.0, **values)]
  counts = {'train': [400, 200, 100, 50, 25, 12, 6], 'validation': [20] * 7}
  seen = {'batch_size': 8, 'mean': 3.5, 'percentile_5': 2.0, 'share_lacking': 1.0, 'batches': 9}
  facts = {'class_names': list('abcdefg'), 'class_counts': counts}
  facts['classes_per_batch'] = [seen | {'classes': 7}]
  return Study(synthetic.config(normalization, **data), plan, rows, facts)


def tokens(metric: MetricEntry, name: str, best: float) -> Study:
  """A model of language from outside, judged by another metric than accuracy."""
  config = json.loads(base_config().to_json())
  task = stored(metric, LossEntry('cross entropy', 'nats', 0))
  data = {'name': "Python's reference", 'images': False}
  config |= {'own': {'task': task, 'model': {'name': 'Decoder'}, 'data': data}, 'epochs': 2.0}
  config['model'] |= {'name': 'own', 'normalization': 'none'}
  config['data'] |= {'source': 'own', 'name': data['name']}
  plan, rows = synthetic.plan((8, 16, 64), (0.002, 0.004, 0.008), 3, 8192, 2.0), []
  random = np.random.default_rng(3)
  for lane in plan:
    off = math.log(lane['learning_rate'] / 0.004) - 0.1 * math.log2(lane['batch_size'] / 16)
    luck = random.normal(0, 0.01) + 0.02 * lane['trial']
    for index in range(9):
      share = index / 8
      loss = 3.3 * math.exp(-1.5 * share**0.5) + (0.05 * off**2 + luck) * share
      value = best * loss
      row = synthetic.record(lane, share, train_loss=loss, val_loss=1.05 * loss)
      row = {key: row[key] for key in row if not key.endswith('accuracy')}
      rows.append(row | {f'train_{name}': value, f'val_{name}': 1.05 * value})
  return Study(config, plan, rows)


BITS = MetricEntry('bits', 'bits per character', 'bits per character', False, 'bits', 0)
SCORE = MetricEntry('score', 'log likelihood', 'log likelihoods', True)


def of_stages(**keys: Any) -> Study:
  """A slope that turns after the first stage, and of two branches the second better."""

  def turning(lane: Mapping[str, Any], updates: int, epoch: float) -> dict[str, Any]:
    row = staged.grows(lane, updates, epoch)
    row['val_accuracy'] += (0.01 + 0.002 * lane['trial']) * (lane['branch'] == 'multiply:2')
    again = {'reestimated_val_accuracy': 1.4 - row['val_accuracy']}
    return row | again | {'reestimated_train_accuracy': 0.9}

  branches = tuple(keys.get('batch_size', ('',)))
  config = staged.config(report=(2.0,), **keys)
  return Study(config, *staged.made(turning, branches=branches))


def scaled(power: float, diverges: Callable[[Any], bool] = lambda lane: False) -> Study:
  """Several scaling rules, of which the one with this power is true."""
  config = planted_scaling.config()
  plan = planted_scaling.plan(config, trials=4)
  rows = planted_scaling.records(plan, power, evaluations=6, diverges=diverges)
  return Study(config, plan, rows)


def decided(**asks: Any) -> Study:
  """Rounds until a question is decided."""
  sizes, worse = (16, 32, 64), (0.0, 0.0, 1.2)
  three = World('three', batch_sizes=sizes, learning_rates=(0.03, 0.1, 0.3), worse=worse)
  found = rounds.study(three, 1, **asks)
  return Study(found.config, found.plan, found.records, world_files.facts(5000))


# Of these figures are drawn too, which takes most of the time.
DRAWN = 'plain', 'halved', 'critical', 'branches', 'linear_rule', 'long_tail_stale'
DRAWN += 'noise_scales', 'bits'
WORSE = (0.0, 0.3, 1.2)
CRITICAL = {'optimum': 0.05, 'optimum_power': None, 'slowness': 1.0}
LENT = {'pretrain': {'epochs': 1.0, 'trials': 1, 'data': {'train_examples': 512}}}
STUDIES: dict[str, Callable[[], Study]] = {
  'plain': lambda: of(grid(worse=WORSE), cost=native_cost(), sharpness=sharpness()),
  'alike_8_trials': lambda: of(grid((8, 128), trials=8, lane_sd=0.1)),
  'one_rate_2_trials': lambda: of(grid(rates=(0.1,), trials=2, worse=WORSE)),
  'two_rates': lambda: of(grid(rates=(0.03, 0.1), optimum=0.06, trials=4, worse=WORSE)),
  'edge_of_grid': lambda: of(grid(optimum=0.3, optimum_power=0.5, trials=4)),
  'updates_alone': lambda: of(grid(updates_cost=2.0, b_crit=0.0, trials=4)),
  'ceiling': lambda: of(grid(top=99.8, trials=4)),
  'stale': lambda: of(grid(stale=0.3, trials=4)),
  'diverged': lambda: of(grid(diverged_per_trial=1, worse=WORSE, trials=4)),
  'unstable': lambda: of(grid(unstable_above=0.2, unstable_share=0.5, valley='kink')),
  'all_diverged': lambda: of(grid(valley='cliff', optimum=0.01, optimum_power=0.6)),
  'unfinished': lambda: of(grid(unfinished=2, trials=2)),
  'halved': lambda: of(halved(grid(rates=(0.01, 0.03, 0.1, 0.3, 1.0)), (0.25, 0.5))),
  'critical': lambda: of(grid(CRITICAL_SIZES, (0.01, 0.03, 0.1, 0.3, 1.0), 4, **CRITICAL)),
  'axes': lambda: of(grid((8, 32), keys={'axes.momentum': (0.5, 0.9)}, worse=(0.0, 0.5))),
  'lent': lambda: of(grid((8, 32), (0.1,), 3))._replace(
    config=json.loads(grid((8, 32), (0.1,), 3).config.to_json()) | LENT
  ),
  'stages': of_stages,
  'branches': lambda: of_stages(batch_size=['keep', 'multiply:2'], normalization='batch'),
  'linear_rule': lambda: scaled(1.0),
  'sqrt_rule_diverged': lambda: scaled(0.5, lambda lane: lane['learning_rate'] > 1.0),
  'long_tail': lambda: long_tail(sampler='inverse_frequency'),
  'long_tail_stale': lambda: long_tail('batch', imbalance_factor=66.0),
  'noise_scales': noisy,
  'bits': lambda: tokens(BITS._replace(margin=0.02), 'bits', 1.44),
  'score': lambda: tokens(SCORE, 'score', -1.0),
  'decided': decided,
  'undecided_trend': lambda: decided(question='trend', most_trials=4),
}
