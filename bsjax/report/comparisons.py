"""The parts of a page about conditions and about stages: their figures, tables and sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims.condition_contrasts import is_pooled
from bsjax.analysis.claims.conditions import Condition, hold, of_study
from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import joined
from bsjax.plan.stages import DEFAULTS
from bsjax.report import page
from bsjax.report.figures.comparisons import CONDITIONS, stage_figures
from bsjax.report.panels.conditions import Conditions, looks
from bsjax.report.panels.source import Source
from bsjax.report.seconds_alone import seconds_alone
from bsjax.report.stored_study import StoredStudy
from bsjax.report.text.claim_blocks import block
from bsjax.report.text.condition_words import condition_answer, pooled
from bsjax.report.text.formats import margin_number

SAME = 0.1  # of the margin: what a table shows alike
# Keys of a stage that the table shows in columns of their own; others only where they are set.
_SHOWN = ('epochs', 'examples', 'trainable', 'batch_size')


def parts(study: StoredStudy, source: Source) -> dict[str, Any]:
  """The parts 'stages' and 'conditions' of a study's page; None where it has none."""
  shown: dict[str, Any] = {'stages': None, 'conditions': None}
  if 'stages' in study.summary:
    shown['stages'] = stage_part(source)
  if 'conditions' in study.summary:
    branches = of_study(study.config, study.plan, study.rows)
    cost = study.native_cost
    costs = {branch.name: cost for branch in branches if cost}
    shown['conditions'] = condition_part(study.summary['conditions'], branches, costs, 'Branches')
  return shown


def condition_part(
  compared: Mapping[str, Any],
  conditions: Sequence[Condition],
  costs: Mapping[str, Mapping[str, Any]],
  title: str,
  own_page: bool = False,
) -> dict[str, Any]:
  """What conditions.html needs; on a page of its own the answer already stands on top.

  `costs` holds, by condition, what its study's batch sizes cost run alone.
  """
  table = compared['table']
  shown = {
    'compared': compared,
    'title': title,
    'own_page': own_page,
    'answer': condition_answer(compared),
    'table': _first_of_each(_with_seconds(table, conditions, costs)),
    'again': any(judged().reestimated_val in row for row in table),
    'balanced': any(
      abs(row[judged().val_balanced]['mean'] - row[judged().val]['mean']) > SAME * judged().margin
      for row in table
      if judged().val_balanced in row
    ),
    'colours': {name: colour for name, (colour, _) in looks(compared['names']).items()},
    'parts': _contrast_parts(compared['contrasts']),
    'margin': margin_number(judged().margin),
    'at_updates': bool(pooled(compared, clock='updates')),
    'differs': _differs(compared['differs']),
  }
  if all('reason' in row for row in table):
    return shown | {'figures': []}
  source = Conditions(compared, {condition.name: hold(condition) for condition in conditions})
  return shown | {'figures': page.figures(CONDITIONS, source, shown)}


def _with_seconds(
  table: Sequence[Row],
  conditions: Sequence[Condition],
  costs: Mapping[str, Mapping[str, Any]],
) -> list[Row]:
  """The rows with the time of a run alone, where it is known."""
  known = {
    condition.name: seconds_alone(condition, costs[condition.name])
    for condition in conditions
    if condition.name in costs
  }
  times = [known.get(row['condition'], {}).get(row['batch_size']) for row in table]
  return [
    {**row, **({'seconds': time} if time else {})} for row, time in zip(table, times, strict=True)
  ]


def stage_part(source: Source) -> dict[str, Any]:
  """What stages.html needs."""
  stages = source.summary['stages']
  first = stages['at'][0]['branch'] if stages['at'] else ''
  epochs = [row['epoch'] for row in stages['at'] if row['branch'] == first]
  claims: dict[bool, list[Row]] = {True: [], False: []}
  for row in stages['at']:
    claims[row['branch'] == first] += row['claims']
  shown = {
    'listed': [_stage(row) for row in stages['stages']],
    'claims': block('', claims[True]),
    'other_claims': block('', claims[False]),
    'again': any('reestimated_gap' in row['epochs']['slopes'] for row in stages['at']),
    'asked': f'epoch{"s" * (len(epochs) > 1)} {joined(f"{epoch:.4g}" for epoch in epochs)}',
  }
  drawings = stage_figures(source.summary) if source.any_result else []
  return shown | {'figures': page.figures(drawings, source, shown)}


def _contrast_parts(contrasts: Sequence[Row]) -> list[dict[str, Any]]:
  """Tables of contrasts: of accuracy over batch sizes, of all else over them, and one by one."""
  pooled_rows = [row for row in contrasts if is_pooled(row)]
  of_accuracy = [row for row in pooled_rows if row['quantity'] == judged().val]
  others = [row for row in pooled_rows if row['quantity'] != judged().val]
  single = [row for row in contrasts if not is_pooled(row)]
  return [
    block(title, rows)._asdict()
    | {'id': name, 'counts': block('', rows).counts, 'equal': [row['equivalent'] for row in rows]}
    for name, title, rows in (
      ('contrasts', '', of_accuracy),
      ('other_contrasts', f'{judged().train_title.capitalize()}, gap, loss and the like', others),
      ('contrasts_by_size', 'At single batch sizes', single),
    )
  ]


def _first_of_each(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """The rows of a table, with a mark on the first of each condition."""
  names = [row['condition'] for row in rows]
  return [{**row, 'first': names.index(row['condition']) == i} for i, row in enumerate(rows)]


def _stage(row: Mapping[str, Any]) -> dict[str, Any]:
  keys = row['settings']
  also = [
    f'{key}={json.dumps(value)}'
    for key, value in keys.items()
    if key not in _SHOWN and value != DEFAULTS.get(key)
  ]
  rules = joined(keys.get('batch_size', ()), 'or') or 'keep'
  return {**row, 'rules': rules, 'also': ', '.join(also)}


def _differs(by_condition: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, str]]:
  return [
    {'condition': name, 'key': key, 'baseline': json.dumps(first), 'own': json.dumps(own)}
    for name, keys in by_condition.items()
    for key, (first, own) in keys.items()
  ]
