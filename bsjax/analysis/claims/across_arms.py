"""Scaling rules compared over several studies, such as one an architecture: arms are the sample.

Within a study the trials say how sure a distance is; over studies it is asked whether one rule
stays closer to the base batch size than another, whatever the architecture: one number from each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims import verdicts
from bsjax.analysis.claims.scaling_rules import NAMES
from bsjax.stats.intervals import mean_interval


def rules_across(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
  """The content of summary['scaling_rules'] of a study of arms; None where no arm compares rules.

  `summaries` are those of the arms. {'base_batch_size', 'rules', 'arms', 'rows': [{'arm',
  'batch_size', 'rule', 'learning_rate', 'distance', 'val_accuracy'}] at each arm's best base rate,
  both as {'mean', 'ci95', 'n'} over its trials; 'distances': claims on pairs of rules, whose effect
  is the geometric mean over arms of the ratio of their distances; 'accuracies': [{'batch_size',
  'rule', 'mean', 'ci95', 'n'}], the mean over arms of the final validation accuracy less that of
  the base}. Claims hold at 95% together. Arms without a value at some rule are left out.
  """
  found = {
    name: each['scaling_rules']
    for name, each in summaries.items()
    if 'rates' in each.get('scaling_rules', {})
  }
  if not found:
    return None
  first = next(iter(found.values()))
  same = lambda each: all(each[key] == first[key] for key in ('base_batch_size', 'rules'))
  found = {name: each for name, each in found.items() if same(each)}
  rows = [row for name, each in found.items() for row in _rows(name, each)]
  result = {key: first[key] for key in ('base_batch_size', 'rules')}
  result |= {'arms': list(found), 'rows': rows, 'distances': _distances(rows, first)}
  return result | {'accuracies': _accuracies(rows, first['rules'])}


def _rows(name: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
  rate = found['rates'][found['shown']]
  keys = 'batch_size', 'rule', 'learning_rate', 'distance', 'val_accuracy'
  return [{'arm': name} | {key: run.get(key) for key in keys} for run in rate['runs']]


def _by_arm(rows: Sequence[Mapping[str, Any]], size: int, rule: str, key: str) -> dict[str, float]:
  own = [row for row in rows if (row['batch_size'], row['rule']) == (size, rule)]
  known = {row['arm']: row[key]['mean'] for row in own if row[key]}
  return {arm: value for arm, value in known.items() if value is not None}


def _distances(rows: Sequence[Mapping[str, Any]], first: Mapping[str, Any]) -> list[dict[str, Any]]:
  """A claim for each batch size and pair of rules: the first stays closer than the second."""
  sizes = sorted({row['batch_size'] for row in rows})
  pairs = list(itertools.combinations(reversed(first['rules']), 2))
  confidence = 1 - 0.05 / max(1, len(sizes) * len(pairs))
  claims = []
  for size, (one, other) in itertools.product(sizes, pairs):
    own, theirs = (_by_arm(rows, size, rule, 'distance') for rule in (one, other))
    arms = [arm for arm in own if theirs.get(arm, 0) > 0 and own[arm] > 0]
    logs = mean_interval([math.log(own[arm] / theirs[arm]) for arm in arms], confidence)
    text = (
      f'with {NAMES[one]}, the training curve of batch size {size} stays closer to that of '
      f'{first["base_batch_size"]} than with {NAMES[other]}'
    )
    ratio = logs.map(math.exp)
    nearer = sum(own[arm] < theirs[arm] for arm in arms)
    why = [f'So it is in {nearer} of {len(arms)} arms.']
    row = verdicts.claim(text, verdicts.below(logs), ratio, 'ratio of distances', why)
    keys = {'batch_size': size, 'first': one, 'second': other, 'confidence': confidence}
    claims.append(row | keys | {'about': 'scaling rules'})
  return claims


def _accuracies(rows: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> list[dict[str, Any]]:
  sizes = sorted({row['batch_size'] for row in rows})
  found = []
  for size, rule in itertools.product(sizes, rules):
    mean = mean_interval(list(_by_arm(rows, size, rule, 'val_accuracy').values()))
    row = {'batch_size': size, 'rule': rule} | mean.to_json()
    found.append(row)
  return found
