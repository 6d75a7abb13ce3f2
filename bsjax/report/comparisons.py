"""The parts of a page about conditions and about stages: their figures, tables and sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bsjax.analysis.claims.claim import MARGIN
from bsjax.analysis.claims.condition_contrasts import is_pooled
from bsjax.analysis.claims.conditions import Condition, hold, of_study
from bsjax.analysis.runs.histories import Row, Setting, by_branch, settings
from bsjax.analysis.summary import reported
from bsjax.format import by_reason, joined
from bsjax.plan.stages import DEFAULTS
from bsjax.report.figures import comparison_plots, plots
from bsjax.report.panels.conditions import look
from bsjax.report.seconds_alone import seconds_alone
from bsjax.report.text.claim_blocks import block
from bsjax.report.text.condition_words import condition_answer, pooled

SAME = 5e-4  # accuracies that a table shows alike
# Keys of a stage that the table shows in columns of their own; others only where they are set.
_SHOWN = ('epochs', 'examples', 'trainable', 'batch_size')


def parts(
  config: Mapping[str, Any],
  plan: Sequence[Row],
  rows: Sequence[Row],
  summary: Mapping[str, Any],
  draw: bool,
  cost: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """The parts 'stages' and 'conditions' of a study's page; None where it has none.

  `cost` is what its batch sizes cost run alone, where that was measured.
  """
  found: dict[str, Any] = {'stages': None, 'conditions': None}
  if 'stages' in summary:
    branches = by_branch(plan, rows)
    chosen = {branch: reported(settings(*part)) for branch, part in branches.items()}
    found['stages'] = stage_part(summary, chosen, draw)
  if 'conditions' in summary:
    branches = of_study(config, plan, rows)
    costs = {each.name: cost for each in branches if cost}
    found['conditions'] = condition_part(summary['conditions'], branches, costs, 'Branches')
  return found


def condition_part(
  found: Mapping[str, Any],
  conditions: Sequence[Condition],
  costs: Mapping[str, Mapping[str, Any]],
  title: str,
  own_page: bool = False,
) -> dict[str, Any]:
  """What conditions.html needs; on a page of its own the answer already stands on top.

  `costs` holds, by condition, what its study's batch sizes cost run alone.
  """
  return {
    'found': found,
    'title': title,
    'own_page': own_page,
    'answer': condition_answer(found),
    'table': _first_of_each(_with_seconds(found['table'], conditions, costs)),
    'balanced': any(
      abs(row['val_balanced_accuracy']['mean'] - row['val_accuracy']['mean']) > SAME
      for row in found['table']
      if 'val_balanced_accuracy' in row
    ),
    'colours': {name: colour for name, (colour, _) in look(found['names']).items()},
    'parts': _contrast_parts(found['contrasts']),
    'figures': _condition_figures(found, conditions),
    'margin': f'{100 * MARGIN:g}',
    'at_updates': bool(pooled(found, clock='updates')),
    'differs': _differs(found['differs']),
  }


def _with_seconds(
  table: Sequence[Row],
  conditions: Sequence[Condition],
  costs: Mapping[str, Mapping[str, Any]],
) -> list[Row]:
  """The rows with the time of a run alone, where it is known."""
  known = {
    each.name: seconds_alone(each, costs[each.name]) for each in conditions if each.name in costs
  }
  times = [known.get(row['condition'], {}).get(row['batch_size']) for row in table]
  return [
    {**row, **({'seconds': time} if time else {})} for row, time in zip(table, times, strict=True)
  ]


def stage_part(
  summary: Mapping[str, Any], chosen: Mapping[str, Mapping[int, Setting]], draw: bool
) -> dict[str, Any]:
  """What stages.html needs; `chosen` holds the reported runs of each branch."""
  found = summary['stages']
  by_branch: dict[str, list[Mapping[str, Any]]] = {}
  for row in found['at']:
    by_branch.setdefault(row['branch'], []).append(row)
  first, others = list(by_branch.values())[:1], list(by_branch.values())[1:]
  epochs = [row['epoch'] for rows in first for row in rows]
  return {
    'listed': [_stage(row) for row in found['stages']],
    'claims': block('', [each for rows in first for row in rows for each in row['claims']]),
    'other_claims': block('', [each for rows in others for row in rows for each in row['claims']]),
    'again': any('reestimated_gap' in row['epochs']['slopes'] for row in found['at']),
    'asked': f'epoch{"s" * (len(epochs) > 1)} {joined(f"{epoch:.4g}" for epoch in epochs)}',
    'figures': _stage_figures(summary, chosen, by_branch) if draw else {},
  }


def _contrast_parts(contrasts: Sequence[Row]) -> list[dict[str, Any]]:
  """Tables of contrasts: of accuracy over batch sizes, of all else over them, and one by one."""
  pooled_rows = [row for row in contrasts if is_pooled(row)]
  of_accuracy = [row for row in pooled_rows if row['quantity'] == 'val_accuracy']
  others = [row for row in pooled_rows if row['quantity'] != 'val_accuracy']
  single = [row for row in contrasts if not is_pooled(row)]
  return [
    block(title, rows)._asdict()
    | {'id': name, 'counts': block('', rows).counts, 'equal': [row['equivalent'] for row in rows]}
    for name, title, rows in (
      ('contrasts', '', of_accuracy),
      ('other_contrasts', 'Training accuracy, gap, loss and the like', others),
      ('contrasts_by_size', 'At single batch sizes', single),
    )
  ]


def _condition_figures(
  found: Mapping[str, Any], conditions: Sequence[Condition]
) -> dict[str, Markup]:
  """None where no condition has any result."""
  if all('reason' in row for row in found['table']):
    return {}
  held = {condition.name: hold(condition) for condition in conditions}
  drawn = {
    'forest': comparison_plots.forest(found),
    'sizes': comparison_plots.condition_sizes(found),
    'curves': comparison_plots.condition_curves(held),
  }
  return {name: _svg(figure, f'condition_{name}') for name, figure in drawn.items()}


def _stage_figures(
  summary: Mapping[str, Any],
  chosen: Mapping[str, Mapping[int, Setting]],
  by_branch: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
  figures = [
    {
      'branch': branch,
      'clock': clock,
      'svg': _svg(comparison_plots.at_epochs(summary, rows, clock), f'stage_{clock}_{number}'),
      'missing': _missing(rows, clock),
    }
    for number, (branch, rows) in enumerate(by_branch.items())
    for clock in ('epochs', 'updates')
  ]
  drawn = _svg(comparison_plots.stage_curves(summary, chosen), 'stage_curves')
  return {'curves': drawn, 'epochs': figures}


def _missing(rows: Sequence[Mapping[str, Any]], clock: str) -> list[str]:
  """A sentence for each epoch at which some batch size has nothing to show."""
  lines = []
  for row in rows:
    sizes = row[clock].get('batch_sizes', ())
    why = {each['batch_size']: each['undefined'] for each in sizes if 'undefined' in each}
    if why:
      lines.append(f'Crosses, of epoch {row["epoch"]:.4g}: {"; ".join(by_reason(why))}.')
  return lines


def _svg(figure: Any, name: str) -> Markup:
  return Markup(plots.svg(figure, name))


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


def _differs(found: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, str]]:
  return [
    {'condition': name, 'key': key, 'baseline': json.dumps(first), 'own': json.dumps(own)}
    for name, keys in found.items()
    for key, (first, own) in keys.items()
  ]
