"""What of a study was measured and how, in sentences for its paragraph on method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.config.running_keys import MATCHED
from bsjax.format import joined
from bsjax.plan import batch_size_rules

Config = Mapping[str, Any]


def batch_norm(config: Config, plan_rows: Sequence[Row]) -> str:
  if config.get('model', {}).get('normalization') != 'batch' or not plan_rows:
    return ''
  seen = sorted({row['micro_batch'] for row in plan_rows})
  whole = all(row['micro_batch'] == row['batch_size'] for row in plan_rows)
  what = 'whole batches' if whole else f'micro-batches of {joined(seen)} examples'
  return (
    f'BatchNorm normalized over {what}; {judged().metric.plural} were also measured with its '
    'statistics re-estimated on training data.'
  )


def evaluation(config: Config, plan_rows: Sequence[Row]) -> str:
  """How often and how; evaluations fall where all lanes have just updated, which may be fewer."""
  count, size = config.get('evaluations'), config.get('evaluation', {}).get('batch_size')
  if count is None or not plan_rows:
    return ''
  blocks = plan_rows[0]['examples'] // math.lcm(*(row['batch_size'] for row in plan_rows))
  batches = f', in batches of {size:,}' if size else ''
  times, where = min(count, blocks), ''
  if at := config.get('evaluation', {}).get('at'):
    ends = {*at, plan_rows[0]['examples']}
    times, where = len(ends), f': after {joined(f"{mark:,}" for mark in sorted(ends))} examples'
  elif config.get('evaluation', {}).get('positions') == MATCHED and not _follows(config):
    where = (
      ': where batch sizes had made equally many updates, as far as that number of evaluations '
      'allows, and else more often at first'
    )
  subset = config.get('evaluation', {}).get('subset')
  also = (
    f' There and wherever else batch sizes had made equally many updates, up to {subset:,} '
    'training and as many validation examples, the same for all runs, were evaluated besides; '
    'comparisons at equal updates rest on these where whole sets were not evaluated.'
    if subset and config['evaluation'].get('positions') == MATCHED and not _follows(config)
    else ''
  )
  half_life = config.get('averaging', {}).get('half_life')
  average = (
    f' So was an average of the weights after each update, in which those of {half_life:,g} '
    'examples ago count half as much as the last (with BatchNorm, its statistics re-estimated on '
    'training data).'
    if half_life
    else ''
  )
  return (
    f'Training and validation sets were evaluated {times} times while training, '
    f'whole, in evaluation mode{batches}{where}.{also}{average}'
  )


def _follows(config: Config) -> bool:
  """Whether batch sizes follow a measurement, and evaluations are even whatever the key says."""
  stages = config.get('stages', {})
  rules = [rule for name in stages.get('order', ()) for rule in stages[name].get('batch_size', ())]
  return any(batch_size_rules.follows(rule) for rule in rules)


def noise_scale(config: Config, plan_rows: Sequence[Row]) -> str:
  """How the gradient noise scale was measured."""
  settings = config.get('noise_scale', {})
  if not {'online', 'every', 'probe_every', 'exact_examples'} <= settings.keys():
    return ''
  sentences = []
  if settings['online']:
    every = settings['every']
    which = f'the first update that began in every {every:,} micro-batches'
    text = (
      'The gradient noise scale was measured while training, from the micro-batches of '
      f'{which if every > 1 else "every update"}'
    )
    if settings['probe_every']:
      text += (
        '; runs that update with every micro-batch took a second one once in every '
        f'{settings["probe_every"]:,}'
      )
    sentences.append(f'{text}.')
  if settings['exact_examples']:
    blocks = settings.get('curvature_blocks')
    also = f', and weighted by curvature from the Hessians of {blocks} blocks of them'
    asked, train_examples = settings['exact_examples'], math.inf
    if plan_rows:
      train_examples = round(plan_rows[0]['examples'] / plan_rows[0]['epochs'])
    measured = f'{asked:,}' if asked < train_examples else f'all {train_examples:,}'
    sentences.append(
      'At every evaluation the gradient noise scale was measured from the single gradients of '
      f'{measured} training examples{also if blocks else ""}.'
    )
  return ' '.join(sentences)
