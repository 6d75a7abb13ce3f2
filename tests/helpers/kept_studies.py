"""Made-up studies of every kind; `tests/report/test_kept.py` keeps what is said of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bsjax.analysis.runs.histories import progress, provisional
from bsjax.config.metrics import judging
from bsjax.plan import plan as plans
from bsjax.report import study_page
from bsjax.report.stored_study import StoredStudy
from bsjax.report.summaries import summarize
from bsjax.report.text import methodology
from helpers import kept_figures, planted_scaling, rounds, staged, synthetic, world_files
from helpers.halved import halved
from helpers.kept import Kept, visible
from helpers.kept_costs import native_cost
from helpers.kept_records import BITS, SCORE, Study, long_tail, noisy, tokens
from helpers.world_catalogue import CRITICAL_SIZES
from helpers.worlds import TRAIN_EXAMPLES, World


def kept_study(name: str) -> Kept:
  """What is said of a study of STUDIES."""
  return kept_of(STUDIES[name](), name in DRAWN, name in PLAIN)


def kept_of(study: Study, drawn: bool = False, plain: bool = False) -> Kept:
  """summary.json of a study, and what its page and methodology.txt say.

  With what its figures show, if they are `drawn`, and with report.md, if that is asked for.
  """
  config, plan, rows, facts, cost, sharpness = _without_nan(study)
  done = progress(plan, rows)
  plan = plan if done == 1 else provisional(plan, rows)
  summary = summarize(config, plan, rows, 'four made-up cores', facts)
  stored_one = StoredStudy(config, plan, rows, summary, done, sharpness, cost)
  with kept_figures.noted(drawn) as figures:
    page, plain_text = study_page.render(stored_one)
  with judging(stored_one.judged):
    method = methodology.topics(config, plan, summary, cost)
  words = {'page': visible(page)}
  if plain:
    words['report.md'] = _without_versions(plain_text)
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


def of_stages(**keys: Any) -> Study:
  """A slope that turns after the first stage, and of two branches the second better."""
  branches = tuple(keys.get('batch_size', ('',)))
  config = staged.config(report=(2.0,), **keys)
  return Study(config, *staged.made(staged.turning, branches=branches))


def scaled(
  power: float, diverges: Callable[[Any], bool] = lambda lane: False, again: bool = False
) -> Study:
  """Several scaling rules, of which the one with this power is true; `again`: with BatchNorm."""
  config = planted_scaling.config(normalization='batch' if again else 'group')
  plan = planted_scaling.plan(config, trials=4)
  rows = planted_scaling.records(plan, power, evaluations=6, diverges=diverges)
  for row in rows if again else ():
    lag = 1e-4 * plan[row['lane']]['batch_size'] * (row['examples'] > 0)
    row |= {f'reestimated_{key}': row[key] for key in ('train_loss', 'val_loss', 'train_accuracy')}
    row['reestimated_val_accuracy'] = row['val_accuracy'] + lag
  return Study(config, plan, rows)


def of_stages_alone() -> Study:
  """With branches that last longer or shorter, as measured run alone in each stage."""
  study, cost = of_stages(batch_size=['keep', 'multiply:2'], normalization='batch'), native_cost()
  rows = [
    row | {'stage': stage, 'batch_size': size}
    for stage in ('head', 'tail')
    for row, size in zip(cost['rows'] * 2, (8, 16, 32, 64, 128), strict=False)
  ]
  return study._replace(cost=cost | {'rows': rows})


def lent() -> Study:
  """Whose lanes begin with the weights of a pretraining."""
  study = of(grid((8, 32), (0.1,), 3))
  return study._replace(config={**study.config, **LENT})


def decided(**asks: Any) -> Study:
  """Rounds until a question is decided."""
  sizes, worse = (16, 32, 64), (0.0, 0.0, 1.2)
  three = World('three', batch_sizes=sizes, learning_rates=(0.03, 0.1, 0.3), worse=worse)
  found = rounds.study(three, 1, **asks)
  return Study(found.config, found.plan, found.records, world_files.facts(5000))


# Of these figures are drawn too, which takes most of the time; of others report.md is kept.
DRAWN = 'plain', 'halved', 'critical', 'branches', 'linear_rule', 'long_tail_stale'
DRAWN += 'noise_scales', 'bits'
PLAIN = 'plain', 'branches', 'decided'
WORSE = (0.0, 0.3, 1.2)
CRITICAL = {'optimum': 0.05, 'optimum_power': None, 'slowness': 1.0}
SHARPNESS = synthetic.sharpness((8, 32), 0.03, 81920)
LENT = {'pretrain': {'epochs': 1.0, 'trials': 1, 'data': {'train_examples': 512}}}
MANY = {
  **{'data.crop': 2, 'data.flip': True, 'data.validation': 'test', 'data.max_per_class': 500},
  **{'optimizer.name': 'adamw', 'optimizer.weight_decay': 0.01, 'optimizer.decay_all': True},
  **{'schedule.name': 'step', 'schedule.warmup_epochs': 0.5, 'scaling.base_batch_size': 32},
  **{'noise_scale.exact_examples': 64, 'noise_scale.curvature_blocks': 4},
  **{'evaluation.subset': 512, 'scaling.hyperparameters': 'keep,half_life', 'model.width': 24},
  **{'axes.weight_decay': (0.0, 0.1), 'averaging.half_life': 0.5, 'micro_batch': 8},
}
STUDIES: dict[str, Callable[[], Study]] = {
  'plain': lambda: of(grid(worse=WORSE), cost=native_cost(), sharpness=SHARPNESS),
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
  'lent': lent,
  'stages': of_stages,
  'branches': lambda: of_stages(batch_size=['keep', 'multiply:2'], normalization='batch'),
  'linear_rule': lambda: scaled(1.0),
  'long_tail': lambda: long_tail(sampler='inverse_frequency'),
  'long_tail_stale': lambda: long_tail('batch', imbalance_factor=66.0),
  'noise_scales': noisy,
  'bits': lambda: tokens(BITS._replace(margin=0.02), 'bits', 1.44),
  'score': lambda: tokens(SCORE, 'score', -1.0),
  'decided': decided,
  'equivalent_asked': lambda: decided(question='equivalent:16,64'),
  'best_rate_asked': lambda: decided(question='best_learning_rate'),
  'undecided': lambda: decided(most_trials=5),
  'sqrt_rule_stale': lambda: scaled(0.5, lambda lane: lane['learning_rate'] > 1.0, again=True),
  'stages_alone': of_stages_alone,
  'many_keys': lambda: of(grid((8, 32), keys=MANY, worse=(0.0, 0.5))),
  'undecided_trend': lambda: decided(question='trend', most_trials=4),
}
