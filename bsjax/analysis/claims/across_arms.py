"""Scaling rules compared over several studies, such as one an architecture: arms are the sample.

Within a study the trials say how sure a distance is; over studies it is asked whether one rule
stays closer to the base batch size than another, whatever the architecture: one number from each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bsjax.analysis.claims.claim import BELOW, Claim, Family, Kind, judge
from bsjax.analysis.measures.contrast import exact
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import simultaneous


def rules_across(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
  """The content of summary['scaling_rules'] of a study of arms; None where no arm compares rules.

  `summaries` are those of the arms. {'base_batch_size', 'rules', 'arms', 'rows': [{'arm',
  'batch_size', 'rule', 'learning_rate', 'distance', 'val_accuracy'}] at each arm's best base rate,
  both as {'mean', 'ci95', 'n'} over its trials; 'distances': claims on pairs of rules, whose effect
  is the geometric mean over arms of the ratio of their distances; 'accuracies': [{'batch_size',
  'rule', 'mean', 'ci95', 'n'}], the mean over arms of the final validation accuracy less that of
  the base}. Claims hold at 95% together. Arms without a value at some rule are left out.
  """
  compared = {
    name: summary['scaling_rules']
    for name, summary in summaries.items()
    if 'rates' in summary.get('scaling_rules', {})
  }
  if not compared:
    return None
  first = next(iter(compared.values()))
  shared = {key: first[key] for key in ('base_batch_size', 'rules')}
  compared = {name: one for name, one in compared.items() if shared.items() <= one.items()}
  rows = [row for name, one in compared.items() for row in _rows(name, one)]
  return shared | {
    'arms': list(compared),
    'rows': rows,
    'distances': _distances(rows, **shared),
    judged().metric.plural: _accuracies(rows, first['rules']),
  }


def _rows(name: str, compared: Mapping[str, Any]) -> list[dict[str, Any]]:
  rate = compared['rates'][compared['shown']]
  keys = 'batch_size', 'rule', 'learning_rate', 'distance', judged().val
  return [{'arm': name} | {key: run.get(key) for key in keys} for run in rate['runs']]


def _by_arm(rows: Sequence[Mapping[str, Any]], size: int, rule: str, key: str) -> dict[str, float]:
  at_rule = [row for row in rows if (row['batch_size'], row['rule']) == (size, rule)]
  known = {row['arm']: row[key]['mean'] for row in at_rule if row[key] and 'mean' in row[key]}
  return {arm: value for arm, value in known.items() if value is not None}


def _distances(
  rows: Sequence[Mapping[str, Any]], base_batch_size: int, rules: Sequence[str]
) -> list[Claim]:
  """A claim for each batch size and pair of rules: the first stays closer than the second."""
  sizes = sorted({row['batch_size'] for row in rows})
  pairs = list(itertools.combinations(reversed(rules), 2))
  confidence = simultaneous(len(sizes) * len(pairs))
  claims = []
  for size, (rule, other) in itertools.product(sizes, pairs):
    near, far = (_by_arm(rows, size, name, 'distance') for name in (rule, other))
    arms = [arm for arm in near if far.get(arm, 0) > 0 and near[arm] > 0]
    logs = mean_interval([math.log(near[arm] / far[arm]) for arm in arms], confidence)
    logs = replace(logs, over='arms', confidence=confidence)
    nearer = Reason('nearer_in_arms', nearer=sum(near[a] < far[a] for a in arms), arms=len(arms))
    about = {
      'kind': Kind.ARMS,
      'family': Family.ARMS,
      'subject': (rule, other, size, base_batch_size),
      'unit': 'ratio',
    }
    about |= {'quantity': 'train_loss', 'budget': 'examples'}
    about['columns'] = {'batch_size': size, 'first': rule, 'second': other}
    claims.append(judge(BELOW, exact(logs), None, [nearer], **about))
  return claims


def _accuracies(rows: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> list[dict[str, Any]]:
  sizes = sorted({row['batch_size'] for row in rows})
  return [
    {'batch_size': size, 'rule': rule}
    | mean_interval(list(_by_arm(rows, size, rule, judged().val).values())).to_json()
    for size, rule in itertools.product(sizes, rules)
  ]
