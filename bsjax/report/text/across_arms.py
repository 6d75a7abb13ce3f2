"""What a comparison of scaling rules over several arms says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED
from bsjax.config.metrics import judged
from bsjax.format import joined
from bsjax.report.text.formats import RULES, change, in_points

UNDECIDED = 'No scaling rule is shown to keep the training curve closest.'
FEW = 'The scaling rules are compared in one arm only.'


def headline(compared: Mapping[str, Any]) -> str:
  """Which rule keeps the training curve closest, if the arms show it at every batch size."""
  if len(compared['arms']) < 2:
    return FEW
  sizes = sorted({row['batch_size'] for row in compared['distances']})
  closest = {}
  for size in sizes:
    at_size = [row for row in compared['distances'] if row['batch_size'] == size]
    for rule in compared['rules']:
      others = [row for row in at_size if rule in (row['first'], row['second'])]
      if others and all(_wins(row, rule) for row in others):
        closest[size] = rule
  best = set(closest.values())
  if len(best) != 1:
    return UNDECIDED
  name = RULES[best.pop()]
  where = '' if len(closest) == len(sizes) else f' at batch size {joined(sorted(closest))}'
  return f'{name[0].upper()}{name[1:]} keeps the training curve closest{where}.'


def detail(compared: Mapping[str, Any]) -> str:
  """The accuracies behind the headline, in a sentence."""
  parts = []
  for row in compared[judged().metric.plural]:
    if row['mean'] is not None and row['ci95'][0] is not None:
      value, low, high = (change(x) for x in (row['mean'], *row['ci95']))
      parts.append(f'{RULES[row["rule"]]} {value} [{low}, {high}] at {row["batch_size"]}')
  if not parts:
    return ''
  return (
    f'Final {judged().val_title} less that of batch size {compared["base_batch_size"]}'
    f'{in_points()}, mean and 95% interval over {len(compared["arms"])} arms: {joined(parts)}.'
  )


def _wins(row: Mapping[str, Any], rule: str) -> bool:
  return row['verdict'] == (SUPPORTED if row['first'] == rule else REFUTED)
